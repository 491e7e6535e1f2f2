"""Whether a build's log is all that was written, and nothing else."""

from __future__ import annotations

import asyncio
from uuid import UUID

from buildsys.core.archive import BadArchive, foot
from buildsys.core.blobs import BlobMissing, Blobs
from buildsys.core.build import State
from buildsys.core.logs import BadFrame, LogReader, LogRecord, unfold
from buildsys.core.seal import Verdict, Verifier
from buildsys.objects.log_archive import digest
from buildsys.store.archives import Archives
from buildsys.store.builds import Builds

PAGE = 64
"""Records that are read and checked at once; each may stand for 1 MiB."""


class LogVerification:
    """Reads whole logs and follows their chains, beside the event loop; and of an archived one the object."""

    def __init__(self, *, builds: Builds, logs: LogReader, archives: Archives, blobs: Blobs | None, key: bytes) -> None:
        self._builds = builds
        self._logs = logs
        self._archives = archives
        self._blobs = blobs
        self._key = key

    async def verify(self, build: UUID) -> Verdict:
        """What the build's log is worth. Raises `NotFound`, `LogDeleted` and `BlobsUnavailable`."""
        stopped = (await self._builds.get(build)).state == State.STOPPED  # asked first: it stops with its log's end
        verifier = Verifier(key=self._key, build=build)
        try:
            await self._follow(build, verifier)
            await self._check_object(build)
        except (BadArchive, BlobMissing) as error:
            if await self._is_deleted(build):
                return await self.verify(build)  # which says so: retention deleted it meanwhile
            verifier.give_up(str(error))
        return verifier.verdict(stopped=stopped)

    async def _follow(self, build: UUID, verifier: Verifier) -> None:
        after = 0
        while page := await self._logs.read(build, after=after, size=PAGE):
            await asyncio.to_thread(_take, verifier, page)
            after = page[-1].last

    async def _check_object(self, build: UUID) -> None:
        """Compare the object of an archived log with what its row says of it, also where no reader looks."""
        archive = await self._archives.get(build)
        if archive is None or archive.key is None or archive.deleted_at is not None or self._blobs is None:
            return
        key, size, end = archive.key, archive.size, foot(archive.root)
        begin = size - len(end)
        if begin < 0 or await self._blobs.read(key, begin, len(end)) != end:
            raise BadArchive(f"{key} does not end with its root from byte {max(begin, 0)} on")
        if await self._is_longer(key, size):
            raise BadArchive(f"{key} has more than the {size} bytes that were written")
        if await digest(self._blobs, key, size) != archive.sha256:
            raise BadArchive(f"{key} has another SHA-256 than what was written")

    async def _is_longer(self, key: str, size: int) -> bool:
        assert self._blobs is not None
        try:
            await self._blobs.read(key, size, 1)
        except BlobMissing:
            return False
        return True

    async def _is_deleted(self, build: UUID) -> bool:
        try:
            archive = await self._archives.get(build)
        except BadArchive:
            return False
        return archive is not None and archive.deleted_at is not None


def _take(verifier: Verifier, page: list[LogRecord]) -> None:
    for record in page:
        verifier.take(record, _printed(record))


def _printed(record: LogRecord) -> bytes | None:
    try:
        return unfold(record)
    except BadFrame:
        return None
