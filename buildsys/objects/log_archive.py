"""Where logs are read from, and how they leave the database for the blob store.

A build's log is in the database until its object is in the blob store, was read back, and the row that says so is
committed; only then the records are deleted. So whoever looks first into the database and then for the archive finds
the log in one of them, at any moment and after any crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

import msgspec
import structlog

from buildsys.core.archive import ArchiveWriter, BadArchive, Page, Place, Root, read_page, records, span
from buildsys.core.blobs import Blobs, BlobsUnavailable
from buildsys.core.logs import READ, LogReader, LogRecord
from buildsys.errors import BuildsysError
from buildsys.store.archives import Archive, Archives

PAGE = 64
"""Records that are archived at once; each may stand for 1 MiB."""

READ_BACK = 4 << 20
"""Bytes that are read back at once."""

DROP = 500
"""Records that are deleted at once, so that no statement takes long."""

CLEANING = 30.0
"""Seconds that an attempt which is over may take to remove its object."""

AT_ONCE = 2
"""Logs that a node archives at a time: there is no hurry, and a read may have to wait for the disk."""

REMEMBERED = 64
"""Index pages kept in memory, each of up to 512 records."""

log = structlog.get_logger(__name__)

_KEY = re.compile(r"[^/]+/logs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[0-9a-f]{32}")


class LogDeleted(BuildsysError):
    """The log was deleted by a rule of retention, which the message names."""

    code = "log_deleted"
    status = 410


class StoredLogs(LogReader, Protocol):
    """Logs in the database."""

    async def drop(self, build: UUID, *, size: int) -> int:
        """Delete the first records of an archived log, at most `size`; how many there were."""


class LogObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that holds a build's log, or is what a late or ended attempt to archive it left."""

    build: UUID
    key: str
    made_at: datetime


class LogArchive:
    """Reads logs wherever they are, and archives them. Without `blobs` it archives none.

    Several installations may share a store: `installation` begins the keys of all that is this one's, and is the same
    on all of its nodes.
    """

    def __init__(self, *, logs: StoredLogs, archives: Archives, blobs: Blobs | None, installation: str) -> None:
        self._logs = logs
        self._archives = archives
        self._blobs = blobs
        self._ours = f"{installation}/logs/"
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._pages: OrderedDict[tuple[str, int], list[Place]] = OrderedDict()

    @property
    def is_read_only(self) -> bool:
        """Whether logs stay where they are."""
        return self._blobs is None

    async def read(self, build: UUID, *, after: int, size: int = 64) -> list[LogRecord]:
        """At most `size` records holding entries behind the cursor `after`, or `READ` bytes of them.

        The first may begin before the cursor. None only at the log's end. Raises `LogDeleted`,
        `BlobsUnavailable` and `BadArchive`.
        """
        stored = await self._logs.read(build, after=after, size=size)
        if stored and stored[0].first <= after + 1:
            return stored
        kept = await self._kept(build)
        return stored if kept is None else await self._read(*kept, after, size)

    async def last(self, build: UUID) -> int:
        """The cursor of the last entry; 0 where there is none. Raises `LogDeleted`."""
        if stored := await self._logs.last(build):
            return stored
        kept = await self._kept(build)
        return 0 if kept is None else kept[1].last

    async def write(self, build: UUID) -> Archive | None:
        """Put the stored log into the blob store and read it back; None where there is a committed archive by then.

        Deletes nothing but its own failed or late attempt: whoever is later still may not know that another archive has
        been committed meanwhile. Raises `BlobsUnavailable`, `BlobExists`, `BlobMissing` and `BadArchive`.
        """
        async with self._slots:
            if await self._archives.get(build) is not None:
                return None
            blobs = self._store()
            writing = _Writing(build, self._logs)
            key = f"{self._ours}{build}/{uuid4().hex}"
            try:
                size = await _put(blobs, key, writing)
                is_late = await self._archives.get(build) is not None
            except BaseException:
                await self._clean(key)
                raise
            if is_late:
                await self._clean(key)
                return None
            return Archive(key=key, size=size, sha256=writing.hash.digest(), records=writing.records, root=writing.root)

    async def discard(self, build: UUID, archive: Archive, *, is_over: bool) -> None:
        """Delete the object of an archive whose commit failed, unless it did not after all.

        Where no archive is committed, and it may yet be this one (not `is_over`), the object is left to Retention, and
        where this takes longer than `CLEANING`.
        """
        assert archive.key is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANING):
                committed = await self._archives.get(build)
                is_stray = is_over if committed is None else committed.key != archive.key
                if is_stray:
                    await self._clean(archive.key)

    async def drop(self, build: UUID) -> None:
        """Delete from the database the records that the committed archive has by now."""
        while await self._logs.drop(build, size=DROP) == DROP:
            pass

    async def delete(self, build: UUID) -> None:
        """Delete all objects of a build's log: those as well that attempts left which came too late."""
        async for found in self._objects(f"{self._ours}{build}/"):
            await self.delete_object(found)

    def objects(self) -> AsyncIterator[LogObject]:
        """All objects of this installation's logs; what others have put beside them is passed over."""
        return self._objects(self._ours)

    async def delete_object(self, found: LogObject) -> None:
        """Delete one object of `objects`, for good."""
        await self._store().delete(found.key)

    async def _objects(self, prefix: str) -> AsyncIterator[LogObject]:
        async for blob in self._store().objects(prefix):
            if name := _KEY.fullmatch(blob.key):
                yield LogObject(build=UUID(name[1]), key=blob.key, made_at=blob.made_at)

    async def _kept(self, build: UUID) -> tuple[str, Root] | None:
        """The key and the root of the log's object, once there is one."""
        archive = await self._archives.get(build)
        if archive is None:
            return None
        if archive.key is None or archive.deleted_at is not None:
            when = f"{archive.deleted_at:%Y-%m-%d %H:%M} UTC"
            raise LogDeleted(f"the log was deleted at {when}, by the rule about {archive.rule}")
        return archive.key, archive.root

    async def _clean(self, key: str) -> None:
        """Delete an object of this attempt; where the store does not, Retention finds it."""
        with contextlib.suppress(BlobsUnavailable):
            await self._store().delete(key)

    def _store(self) -> Blobs:
        if self._blobs is None:
            raise BlobsUnavailable("this node has no blob store: give all nodes the same one with --blobs")
        return self._blobs

    async def _read(self, key: str, root: Root, after: int, size: int) -> list[LogRecord]:
        found: list[LogRecord] = []
        room = READ
        for page in root.pages_behind(after):
            places = list[Place]()
            for place in await self._page(key, page):
                if place.last > after and len(found) + len(places) < size and room > 0:
                    places.append(place)
                    room -= _weight(place)
            start, length = span(places)
            found += records(places, await self._store().read(key, start, length))
            if len(found) == size or room <= 0:
                break
        return found

    async def _page(self, key: str, page: Page) -> list[Place]:
        known = self._pages.get((key, page.offset))
        if known is None:
            known = read_page(await self._store().read(key, page.offset, page.length))
            self._pages[key, page.offset] = known
            if len(self._pages) > REMEMBERED:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end((key, page.offset))
        return known


class _Writing:
    """One attempt to archive a log: its bytes, and what is known of them once they are through."""

    root: Root

    def __init__(self, build: UUID, logs: StoredLogs) -> None:
        self._build = build
        self._logs = logs
        self.hash = hashlib.sha256()
        self.records = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        writer = ArchiveWriter(self._build)
        after = 0
        while page := await self._logs.read(self._build, after=after, size=PAGE):
            for record in page:
                yield self._counted(writer.add(record))
            self.records += len(page)
            after = page[-1].last
        rest, self.root = writer.finish()
        yield self._counted(rest)

    def _counted(self, piece: bytes) -> bytes:
        self.hash.update(piece)
        return piece


def _weight(place: Place) -> int:
    """The bytes of a record's frame, or of what an event carries."""
    return place.length or (0 if place.data is None else len(msgspec.json.encode(place.data)))


async def _put(blobs: Blobs, key: str, writing: _Writing) -> int:
    """Write the object and read it back; how many bytes it has."""
    size = await blobs.put(key, writing.pieces())
    if await digest(blobs, key, size) != writing.hash.digest():
        raise BadArchive(f"{key} reads back other than it was written to {blobs!r}")
    return size


async def digest(blobs: Blobs, key: str, size: int) -> bytes:
    """The SHA-256 of an object's first bytes. Raises as `Blobs.read` does."""
    found = hashlib.sha256()
    for start in range(0, size, READ_BACK):
        found.update(await blobs.read(key, start, min(READ_BACK, size - start)))
    return found.digest()
