"""A job on disk: `folder/`, which the container sees (`buildsys.core.driver`), and the runner's own files beside it.

    JOBS/ASSIGNMENT/           0711: a job's own user passes through it, and sees nothing
        runner                 the id of the runner whose job this is, and the marker of its steps' logs
        setup/log              what the set-up says, kept in the shape of a step
        container              the id of the container, once the set-up is over
        folder/                the job's folder, 0777; there once it is complete

What a container could have touched is hostile. So everything in `folder/` is written before the container starts, and
from then on it is only read, by descriptors that follow no link and wait for no FIFO.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from buildsys.errors import DriverError
from buildsys.runner.removal import remove_tree

SETUP = 0
"""The number of the set-up among a job's steps."""

LARGEST_STATUS = 255
"""Of an exit status a parent sees eight bits (POSIX, wait())."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STATUS = re.compile(rb"(\d{1,3}) ([0-9a-f-]{8,64})\n")
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A step as files: `run`, which the init starts, and the user's `script`."""

    run: bytes
    script: bytes


class JobFolder:
    """The files of one assignment. Every question about how far a job got is answered here, whoever asks again."""

    def __init__(self, *, jobs: Path, assignment: UUID) -> None:
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

    def create(self, programs: Mapping[int, Program], *, log_limit: int) -> None:
        """Write everything that the container needs, all or nothing."""
        (self.private / "container").unlink(missing_ok=True)
        fresh = self.private / "folder.new"
        remove_tree(fresh)
        limits = f"log_blocks={max(log_limit // 512, 1)}\nmarker={self.marker.decode()}\n".encode()
        for name in ("", "workspace", "home", "tmp", "steps"):
            _make_open(fresh / name)
        for number, program in programs.items():
            step = fresh / "steps" / str(number)
            _make_open(step)
            for name, content in (("run", program.run), ("script", program.script), ("limits", limits)):
                (step / name).write_bytes(content)
                (step / name).chmod(0o755 if name == "run" else 0o644)
        fresh.rename(self.path)

    @property
    def marker(self) -> bytes:
        """What each step's log ends with, a nonce aside; empty in a folder that nobody claimed: it has no logs."""
        path = self.private / "runner"
        return path.read_bytes().split()[1] if path.exists() else b""

    def has_workspace(self) -> bool:
        return os.path.lexists(self.path / "workspace" / ".git")

    def adopt_workspace(self, source: Path) -> None:
        """Put a fetched commit in the workspace's place, in one move; an image that already wrote there is refused."""
        try:
            source.rename(self.path / "workspace")
        except OSError as error:
            raise DriverError(f"the image changed the workspace before the first step: {error.strerror}") from error

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

    def finish_setup(self, container: str) -> None:
        """Remember the container's id, and with it that the set-up is over."""
        _put(self.private / "container", container)

    @property
    def container(self) -> str:
        return (self.private / "container").read_text()

    def delete(self) -> None:
        """Remove all of it, whatever the job made of its part. Raises `OSError` for what cannot be removed."""
        remove_tree(self.private)

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


def _put(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.rename(path)
