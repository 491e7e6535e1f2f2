"""Objects as files in a folder of ours.

An object is written beside its place, flushed to the disk, and then linked into it: the link fails where another object
is, and a crash leaves a file under `.writing` that the next start sweeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from buildsys.core.blobs import Blob, BlobExists, BlobMissing, BlobsUnavailable, check_key

WRITING = ".writing"


class FileBlobs:
    """Objects in `folder`, which is this process's alone; others' permissions end at its door."""

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
                await asyncio.to_thread(_publish, file, writing, target)
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
        with self._named_errors(key), contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(self._path(key).unlink)

    async def objects(self, prefix: str) -> AsyncIterator[Blob]:
        with self._named_errors(prefix):
            found = await asyncio.to_thread(self._objects, prefix)
        for blob in found:
            yield blob

    def sweep(self) -> None:
        """Remove what a crash left half written."""
        for left in (self._folder / WRITING).glob("*"):
            left.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _objects(self, prefix: str) -> list[Blob]:
        found: list[Blob] = []
        for path in self._folder.rglob("*"):
            key = str(path.relative_to(self._folder))
            if key.startswith(prefix) and path.is_file() and path.parent.name != WRITING:
                found.append(Blob(key=key, made_at=datetime.fromtimestamp(path.stat().st_mtime, UTC)))
        return found

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


def _publish(file: int, writing: Path, target: Path) -> None:
    os.fsync(file)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.link(writing, target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, start)
