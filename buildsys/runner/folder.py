"""A job on disk: `folder/`, which the container sees (`buildsys.core.driver`), and the runner's own files beside it.

    JOBS/ASSIGNMENT/           0711: a job's own user passes through it, and sees nothing
        runner                 the id of the runner whose job this is, and the marker of its steps' logs
        setup/log              what the set-up says, kept in the shape of a step
        journal                what was decided about the steps, and what came of it
        notes-N                lines of the runner's own behind the log of step N
        container              the container as it was started, once the set-up is over
        folder/                the job's folder, 0777; there once it is complete

What a container could have touched is hostile. So once it has started, `folder/` is read and written by descriptors
only that follow no link and wait for no FIFO; what is written there are new files, whatever had their names.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID

import msgspec

from buildsys.core.driver import ContainerStatus
from buildsys.errors import DriverError
from buildsys.runner.arrivals import Arrivals
from buildsys.runner.beneath import open_folder, read_bounded
from buildsys.runner.environment_files import FILES
from buildsys.runner.removal import remove_tree

FETCHED = "fetched"
"""What was fetched for a step, in its own folder."""

SETUP = 0
"""The number of the set-up among a job's steps."""

LARGEST_STATUS = 255
"""Of an exit status a parent sees eight bits (POSIX, wait())."""

LONGEST_NOTES = 32 << 10
"""Characters that the runner adds to the log of a step."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STATUS = re.compile(rb"(\d{1,3}) ([0-9a-f-]{8,64})\n")
_PIECE = 1 << 20
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A step as files: `run`, which the init starts, and the user's `script`."""

    run: bytes
    script: bytes


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of the runner's own that go on where a step's log ends, at a raw offset."""

    at: int
    text: str


class JobFolder:
    """The files of one assignment. Every question about how far a job got is answered here, whoever asks again."""

    def __init__(self, *, jobs: Path, assignment: UUID, arrivals: Arrivals | None = None) -> None:
        self._arrivals = arrivals or Arrivals()
        self.private = jobs / str(assignment)
        self.path = self.private / "folder"

    def claim(self, owner: str) -> bool:
        """Make the runner's own part; whether an earlier life had left a complete job folder."""
        self.private.mkdir(exist_ok=True)
        self.private.chmod(0o711)
        (self.private / "setup").mkdir(mode=0o700, exist_ok=True)
        if not (self.private / "runner").exists():
            _put(self.private / "runner", f"{owner} {secrets.token_hex(16)}")
        return self.path.exists()

    def create(self, *, event: bytes = b"{}") -> None:
        """Write everything that the container needs at first, all or nothing; `event` is the payload, as JSON."""
        (self.private / "container").unlink(missing_ok=True)
        fresh = self.private / "folder.new"
        remove_tree(fresh)
        for name in ("", "workspace", "home", "tmp", "tools", "steps"):
            _make_open(fresh / name)
        (fresh / "event.json").write_bytes(event)
        (fresh / "event.json").chmod(0o644)
        fresh.rename(self.path)

    @property
    def marker(self) -> bytes:
        """What each step's log ends with, a nonce aside; empty in a folder that nobody claimed: it has no logs."""
        path = self.private / "runner"
        return path.read_bytes().split()[1] if path.exists() else b""

    def add_step(self, step: int, program: Program, *, log_limit: int) -> None:
        """Write a step that is to be started, with its environment files, empty; one that is there stays.

        The container runs, so anything may be in the way: then it raises `OSError`.
        """
        steps = self._open_steps()
        try:
            with suppress(FileExistsError):
                os.mkdir(str(step), dir_fd=steps)
            folder = os.open(str(step), _DIRECTORY, dir_fd=steps)
        finally:
            os.close(steps)
        try:
            if _exists("limits", folder):
                return
            os.fchmod(folder, 0o777)
            for name in FILES.values():
                _write(name, b"", 0o666, folder)
            _write("run", program.run, 0o755, folder)
            _write("script", program.script, 0o644, folder)
            _write("limits", self._limits(log_limit), 0o644, folder)
        finally:
            os.close(folder)

    def read(self, step: int, name: str, *, limit: int) -> bytes | None:
        """A file that a step may have written, empty where there is none; None where it is longer than `limit`.

        Raises `OSError` for what is no file.
        """
        try:
            with self._directory(step) as directory:
                file = os.open(name, _READ, dir_fd=directory)
        except FileNotFoundError:
            return b""
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file any more")
            return read_bounded(file, limit)
        finally:
            os.close(file)

    def add_notes(self, step: int, lines: Iterable[str], *, log_limit: int) -> None:
        """Add lines of the runner's own to a step's log: one in which no process runs, or runs any more.

        May read all of the log. Notes replace those that were there.
        """
        at, begins_line = self._end_of_log(step, log_limit)
        text = ("" if begins_line else "\n") + "".join(f"{line}\n" for line in lines)[:LONGEST_NOTES]
        _put(self.private / f"notes-{step}", msgspec.json.encode(Notes(at=at, text=text)).decode())

    def notes(self, step: int) -> Notes | None:
        path = self.private / f"notes-{step}"
        return msgspec.json.decode(path.read_bytes(), type=Notes) if path.exists() else None

    def has_workspace(self) -> bool:
        return os.path.lexists(self.path / "workspace" / ".git")

    def adopt_workspace(self, source: Path) -> None:
        """Put a fetched commit in the workspace's place, in one move; an image that already wrote there is refused."""
        try:
            source.rename(self.path / "workspace")
        except OSError as error:
            raise DriverError(f"the image changed the workspace before the first step: {error.strerror}") from error

    def hand_over(self, step: int, source: Path) -> None:
        """Put what was fetched for a step into its folder, unless an earlier life did. Raises `OSError`."""
        with self._directory(step) as directory:
            if not _exists(FETCHED, directory):
                os.rename(source, FETCHED, dst_dir_fd=directory)

    def start(self, step: int) -> bool:
        """Tell the init to run a step; False while it does not listen. It may hear this twice: see `is_started`."""
        try:
            control = os.open(self.path / "control", os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _ABSENT | {errno.ENXIO}:
                return False
            raise
        try:
            if stat.S_ISFIFO(os.fstat(control).st_mode):
                os.write(control, f"{step}\n".encode())
        except (BrokenPipeError, BlockingIOError):
            return False
        finally:
            os.close(control)
        return True

    def is_started(self, step: int) -> bool:
        return self._has(step, "started")

    @contextmanager
    def arrival(self, step: int) -> Iterator[asyncio.Event]:
        """An event that is set when the step's status arrives, unless the job has moved something else there before."""
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self._directory(step))
            except OSError:  # the job took it away
                yield asyncio.Event()
            else:
                yield stack.enter_context(self._arrivals.next_in(folder))

    def is_truncated(self, step: int) -> bool:
        return self._has(step, "truncated")

    def status(self, step: int) -> int | None:
        """The step's exit status, None while it has none. Raises `DriverError` for what no init wrote."""
        if step == SETUP:
            return 0 if (self.private / "container").exists() else None
        text = self._status(step)
        if text is None:
            return None
        match = _STATUS.fullmatch(text)
        if match is None or int(match[1]) > LARGEST_STATUS:
            raise DriverError(f"step {step} wrote its own status, {text.decode(errors='backslashreplace')!r}")
        return int(match[1])

    def log_end(self, step: int) -> bytes | None:
        """What the step's log ends with, None where that is not known: no step could print it."""
        match = _STATUS.fullmatch(self._status(step) or b"") if step != SETUP else None
        return self.marker + match[2] if match else None

    def open_log(self, step: int) -> int | None:
        """A descriptor of the step's log, None while there is none."""
        return self._open(step, "log")

    def has_log(self, step: int) -> bool:
        """Whether the step has printed anything."""
        log = self.open_log(step)
        if log is None:
            return False
        try:
            return os.fstat(log).st_size > 0
        finally:
            os.close(log)

    def append_setup(self, text: str, *, least: int) -> None:
        """Add a line to the set-up's log, which goes on at offset `least` where the file itself was lost."""
        with (self.private / "setup" / "log").open("ab") as log:
            if log.tell() < least:
                log.truncate(least)
            log.write(text.encode(errors="replace") + b"\n")

    def finish_setup(self, container: ContainerStatus) -> None:
        """Remember the container, and with it that the set-up is over."""
        _put(self.private / "container", msgspec.json.encode(container).decode())

    @property
    def container(self) -> ContainerStatus:
        """As it was when the set-up was over."""
        return msgspec.json.decode((self.private / "container").read_bytes(), type=ContainerStatus)

    def delete(self) -> None:
        """Remove all of it, whatever the job made of its part. Raises `OSError` for what cannot be removed."""
        remove_tree(self.private)

    def _end_of_log(self, step: int, log_limit: int) -> tuple[int, bool]:
        """Where the output of a step that has ended ends, and whether that is the begin of a line."""
        file = self.open_log(step)
        if file is None:
            return 0, True
        try:
            length = min(os.fstat(file).st_size, max(log_limit // 512, 1) * 512)
            mark = self.log_end(step)
            at = _find(file, mark, length) if mark else length
            return at, at == 0 or os.pread(file, 1, at - 1) == b"\n"
        finally:
            os.close(file)

    def _limits(self, log_limit: int) -> bytes:
        return f"log_blocks={max(log_limit // 512, 1)}\nmarker={self.marker.decode()}\n".encode()

    def _open_steps(self) -> int:
        return open_folder(self.private, ("folder", "steps"))

    @contextmanager
    def _directory(self, step: int) -> Iterator[int]:
        directory = os.open(self.private, _DIRECTORY)
        try:
            for name in ("setup",) if step == SETUP else ("folder", "steps", str(step)):
                outer, directory = directory, os.open(name, _DIRECTORY, dir_fd=directory)
                os.close(outer)
            yield directory
        finally:
            os.close(directory)

    def _open(self, step: int, name: str) -> int | None:
        try:
            with self._directory(step) as directory:
                file = os.open(name, _READ, dir_fd=directory)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
        return None

    def _status(self, step: int) -> bytes | None:
        file = self._open(step, "status")
        if file is None:
            return None
        try:
            return os.read(file, 128)
        finally:
            os.close(file)

    def _has(self, step: int, name: str) -> bool:
        try:
            with self._directory(step) as directory:
                os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise
        return True


def owned(jobs: Path, owner: str) -> list[UUID]:
    """The assignments below `jobs` whose folders belong to this runner."""
    return [UUID(mark.parent.name) for mark in jobs.glob("*/runner") if _owner(mark) == owner]


def _owner(mark: Path) -> str | None:
    try:
        return mark.read_text().partition(" ")[0]
    except OSError:  # removed meanwhile
        return None


def _make_open(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _find(file: int, wanted: bytes, length: int) -> int:
    """Where some bytes are in a file, `length` if they are not in so many bytes of it."""
    at = 0
    while at < length:
        data = os.pread(file, min(_PIECE + len(wanted), length - at), at)
        if (found := data.find(wanted)) >= 0:
            return at + found
        if not data:
            break
        at += _PIECE
    return length


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write(name: str, content: bytes, mode: int, folder: int) -> None:
    """Make a file anew, whatever had its name: nothing is followed, and no other file is written to."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    try:
        os.fchmod(file, mode)
        while content:
            content = content[os.write(file, content) :]
    finally:
        os.close(file)


def _put(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.rename(path)
