"""Objects as files in a folder of ours.

An object is written beside its place, flushed to the disk, and then linked into it: the link fails where another object
is, and a crash leaves a file under `.writing` that a later start sweeps. So several processes may share a folder, on
one machine or mounted by many.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from buildsys.core.blobs import Blob, BlobExists, BlobMissing, BlobsUnavailable, check_key

WRITING = ".writing"

LEFT = 3600.0
"""Seconds without a write after which a file under `.writing` is nobody's: no attempt to archive takes so long."""

LINKS = 10
"""Attempts to link an object into a folder that others delete while it is empty."""


class FileBlobs:
    """Objects in `folder`, which is our user's alone; others' permissions end at its door."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"the folder {self._folder}"

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        target = self._path(key)
        writing = self._folder / WRITING / uuid4().hex
        with self._named_errors(key):
            await asyncio.to_thread(writing.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            file = os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size = 0
            async for piece in pieces:
                with self._named_errors(key):
                    await asyncio.to_thread(_write, file, piece)
                size += len(piece)
            with self._named_errors(key):
                await asyncio.to_thread(self._publish, file, writing, target)
        finally:
            os.close(file)
            writing.unlink(missing_ok=True)
        return size

    async def read(self, key: str, start: int, length: int) -> bytes:
        with self._named_errors(key):
            data = await asyncio.to_thread(_read, self._path(key), start, length)
        if len(data) != length:
            raise BlobMissing(f"{key} ends before {start + length}")
        return data

    async def delete(self, key: str) -> None:
        with self._named_errors(key):
            await asyncio.to_thread(self._delete, self._path(key))

    async def objects(self, prefix: str) -> AsyncIterator[Blob]:
        with self._named_errors(prefix):
            found = await asyncio.to_thread(self._objects, prefix)
        for blob in found:
            yield blob

    def sweep(self) -> None:
        """Remove what a crash left half written; what others write at the moment stays."""
        for left in (self._folder / WRITING).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < time.time() - LEFT:
                    left.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _objects(self, prefix: str) -> list[Blob]:
        folder = prefix.rpartition("/")[0]
        found: list[Blob] = []
        for path, made in _files(self._path(folder) if folder else self._folder):
            key = os.path.relpath(path, self._folder)
            if key.startswith(prefix) and not key.startswith(f"{WRITING}/"):
                found.append(Blob(key=key, made_at=datetime.fromtimestamp(made, UTC)))
        return found

    def _publish(self, file: int, writing: Path, target: Path) -> None:
        os.fsync(file)
        for attempt in range(LINKS):
            try:
                # Where the folder is deleted while `mkdir` looks at what is in its way, that raises.
                with contextlib.suppress(FileExistsError):
                    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.link(writing, target)
                break
            except FileNotFoundError:
                if attempt == LINKS - 1 or not writing.exists():
                    raise
        for folder in self._folders(target):
            _sync(folder)
        _sync(self._folder)

    def _delete(self, path: Path) -> None:
        """Remove a file, and the folders that are empty then."""
        path.unlink(missing_ok=True)
        for folder in self._folders(path):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return

    def _folders(self, path: Path) -> list[Path]:
        """The folders that the path is in, up to ours, the innermost first."""
        return [folder for folder in path.parents if self._folder in folder.parents]

    @contextlib.contextmanager
    def _named_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise BlobMissing(f"there is no object {key} in {self._folder}") from error
        except FileExistsError as error:
            raise BlobExists(f"there is an object {key} in {self._folder} already") from error
        except OSError as error:
            way_out = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see to the disk"
            raise BlobsUnavailable(f"{self._folder} takes or gives nothing: {error.strerror}; {way_out}") from error


def _write(file: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _files(folder: str | Path) -> Iterator[tuple[str, float]]:
    """All files below a folder, which others may change meanwhile, and when each was written."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            with contextlib.suppress(FileNotFoundError):
                yield entry.path, entry.stat(follow_symlinks=False).st_mtime


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, start)
