"""`hashFiles`: one hash of the workspace's files that fit patterns.

It is the SHA-256 of the SHA-256s of the files, one after the other in the order in which GitHub finds them: by where
their patterns start, and from there folder by folder, the names in the order of their bytes. So it is the same as on
GitHub. Links to folders are not followed; a link to a file counts as the file if that is in the workspace, too, and is
not there otherwise.

The workspace is the job's, which may change it meanwhile, even to do harm: nothing outside of it is opened, nothing
that blocks is waited for, and time and numbers are bounded.

Source: `hashFiles` in GitHub's expressions reference; the order and the limit of time are those of its runner.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from buildsys.core.expressions import ExpressionError
from buildsys.runner.beneath import open_file, open_folder
from buildsys.runner.file_patterns import Pattern, read_patterns

MOST_SECONDS = 120.0
MOST_ENTRIES = 1_000_000
DEEPEST = 200
MOST_LINKS = 8
PIECE = 1 << 20


class FileHasher:
    """Hashes files of one workspace, on this host at `folder`, and where steps see it at `seen_at`."""

    def __init__(self, *, folder: Path, seen_at: PurePosixPath, seconds: float = MOST_SECONDS) -> None:
        self._folder = folder
        self._seen_at = seen_at
        self._seconds = seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have a call that is under way in another thread end with an error."""
        self._stopped.set()

    def hash(self, texts: Sequence[str]) -> str:
        """The hash in hexadecimal, empty where no file fits. Raises `ExpressionError` where a limit is reached."""
        patterns = read_patterns(texts, workspace=self._seen_at)
        return _Walk(self._folder, patterns, until=time.monotonic() + self._seconds, stopped=self._stopped).hash()


class _Walk:
    def __init__(self, root: Path, patterns: Sequence[Pattern], *, until: float, stopped: threading.Event) -> None:
        self._root = root
        self._patterns = patterns
        self._until = until
        self._stopped = stopped
        self._entries = 0

    def hash(self) -> str:
        whole = hashlib.sha256()
        found = False
        for start in _starts(self._patterns):
            for digest in self._below(start):
                found = True
                whole.update(digest)
        return whole.hexdigest() if found else ""

    def _below(self, start: tuple[str, ...]) -> Iterator[bytes]:
        """The digests of the files that fit, at a place and below it."""
        before = at = [pattern.begin() for pattern in self._patterns]
        for name in start:
            before = at
            at = [pattern.step(places, name) for pattern, places in zip(self._patterns, at, strict=True)]
        yield from self._visit(start, before, at)

    def _visit(self, path: tuple[str, ...], before: list[frozenset[int]], at: list[frozenset[int]]) -> Iterator[bytes]:
        self._check()
        kind = self._kind(path)
        if kind is None:
            return
        if not stat.S_ISDIR(kind):
            if self._fits(before, at) and (digest := self._digest(path, kind)) is not None:
                yield digest
            return
        if len(path) >= DEEPEST:
            raise ExpressionError(f"hashFiles() goes {DEEPEST} folders deep at most", at=0)
        for name in self._names(path):
            below = [pattern.step(places, name) for pattern, places in zip(self._patterns, at, strict=True)]
            wanted = (bool(b) and not p.excludes for p, b in zip(self._patterns, below, strict=True))
            if any(wanted):
                yield from self._visit((*path, name), at, below)

    def _fits(self, before: list[frozenset[int]], at: list[frozenset[int]]) -> bool:
        fits = False
        for pattern, was, now in zip(self._patterns, before, at, strict=True):
            if pattern.fits(was, now, folder=False):
                fits = not pattern.excludes
        return fits

    def _kind(self, path: tuple[str, ...]) -> int | None:
        try:
            folder = open_folder(self._root, path[:-1])
        except OSError:
            return None
        try:
            return os.stat(path[-1] if path else ".", dir_fd=folder, follow_symlinks=False).st_mode
        except (OSError, ValueError):
            return None
        finally:
            os.close(folder)

    def _names(self, path: tuple[str, ...]) -> list[str]:
        try:
            folder = open_folder(self._root, path)
        except OSError:
            return []
        names = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._check()
                    names.append(entry.name)
        finally:
            os.close(folder)
        return sorted(names, key=os.fsencode)

    def _digest(self, path: tuple[str, ...], kind: int) -> bytes | None:
        file = self._open_linked(path) if stat.S_ISLNK(kind) else self._open(path)
        if file is None:
            return None
        digest = hashlib.sha256()
        try:
            while data := os.read(file, PIECE):
                digest.update(data)
                self._check(entries=0)
        finally:
            os.close(file)
        return digest.digest()

    def _open(self, path: tuple[str, ...]) -> int | None:
        try:
            folder = open_folder(self._root, path[:-1])
        except OSError:
            return None
        try:
            return open_file(folder, path[-1])
        except OSError:
            return None
        finally:
            os.close(folder)

    def _open_linked(self, path: tuple[str, ...]) -> int | None:
        """The file that a link leads to, through links to files only, while that stays in the workspace."""
        for _ in range(MOST_LINKS):
            try:
                folder = open_folder(self._root, path[:-1])
            except OSError:
                return None
            try:
                target = os.readlink(path[-1], dir_fd=folder)
            except OSError:  # no link any more
                return self._open(path)
            finally:
                os.close(folder)
            inside = _within(path[:-1], target)
            if inside is None:
                return None
            path = inside
        return None

    def _check(self, entries: int = 1) -> None:
        self._entries += entries
        if self._entries > MOST_ENTRIES:
            raise ExpressionError(f"hashFiles() looks at {MOST_ENTRIES:,} files at most", at=0)
        if self._stopped.is_set() or time.monotonic() > self._until:
            raise ExpressionError("hashFiles() took too long", at=0)


def _starts(patterns: Sequence[Pattern]) -> list[tuple[str, ...]]:
    """Where to look, in the order of the patterns, but nowhere that is within another place."""
    starts = list(dict.fromkeys(pattern.start for pattern in patterns if not pattern.excludes))
    return [start for start in starts if not any(start[:length] in starts for length in range(len(start)))]


def _within(folder: tuple[str, ...], target: str) -> tuple[str, ...] | None:
    """Where a relative link of a folder leads; None if that is not within."""
    if target.startswith("/"):
        return None
    path = list(folder)
    for part in target.split("/"):
        if part == "..":
            if not path:
                return None
            path.pop()
        elif part not in ("", "."):
            path.append(part)
    return tuple(path) or None
