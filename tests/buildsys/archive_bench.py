"""Builds with logs to archive, and blob stores that fail, stand still, or let the database stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from objects_bench import LIMITS, Bench, Hand, Objects, begun, ended, output, until
from postgres_server import pause, resume

from actors.testing import run_in_actor
from buildsys.core.blobs import Blob, Blobs, BlobsUnavailable
from buildsys.core.logs import LogRecord
from buildsys.objects.log_archive import LogArchive

ARCHIVING = msgspec.structs.replace(LIMITS, archive_after=0.001)
BATCHES = 130
STILL = 2.0
"""Seconds that the database stands still."""


class Failing:
    """A blob store that fails where it is told to."""

    def __init__(self, blobs: Blobs) -> None:
        self.behind = blobs
        self.broken: set[str] = set()
        self.reads = 0

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        self._check("put")
        size = await self.behind.put(key, pieces)
        self._check("after put")
        return size

    async def read(self, key: str, start: int, length: int) -> bytes:
        self._check("read")
        self.reads += 1
        return await self.behind.read(key, start, length)

    async def delete(self, key: str) -> None:
        self._check("delete")
        await self.behind.delete(key)

    def objects(self, prefix: str) -> AsyncIterator[Blob]:
        self._check("objects")
        return self.behind.objects(prefix)

    def _check(self, place: str) -> None:
        if place in self.broken:
            raise BlobsUnavailable(f"broken at {place}")


class Slow(Failing):
    """Lets the database stand still for a while once the first piece of an object has come."""

    def __init__(self, blobs: Failing, cluster: Path) -> None:
        super().__init__(blobs.behind)
        self._cluster = cluster

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        async def slowly() -> AsyncIterator[bytes]:
            yield await anext(pieces)
            pause(self._cluster)
            asyncio.get_running_loop().call_later(STILL, resume, self._cluster)
            async for piece in pieces:
                yield piece

        return await super().put(key, slowly())


class Late(Failing):
    """Stands still at whatever it is asked first."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__(blobs)
        self.asked, self.free = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        await self._wait()
        return await super().put(key, pieces)

    async def objects(self, prefix: str) -> AsyncIterator[Blob]:
        await self._wait()
        async for blob in super().objects(prefix):
            yield blob

    async def _wait(self) -> None:
        self.asked.set()
        await self.free.wait()


async def build_log(bench: Bench, one: Objects, *, project: Any = None) -> tuple[UUID, list[LogRecord]]:
    """A build that is over, and its records as they were a moment before the end."""
    project = project or await bench.project(f"shop-{uuid4().hex[:8]}")
    build = await bench.queue(project)
    await one.buddy(build).start_build()
    hand = Hand(one)
    await hand.take()
    batches = [output(10 * number, b"line %04d\n" % number) for number in range(BATCHES)]
    await hand.report(*begun(), *batches)
    before = await bench.logs.read(build, after=0, size=10_000)
    await hand.report(*ended())
    return build, before


async def in_database(bench: Bench, build: UUID) -> int:
    found: int = await bench.database.pool.fetchval("SELECT count(*) FROM log_records WHERE build = $1", build)
    return found


async def archived(bench: Bench, build: UUID) -> None:
    """Wait until the log has left the database."""

    async def left() -> bool:
        return await in_database(bench, build) == 0

    await until(left)


async def keys(blobs: Blobs) -> list[str]:
    return [blob.key async for blob in blobs.objects("")]


async def whole(archive: LogArchive, build: UUID, size: int = 37) -> list[LogRecord]:
    found: list[LogRecord] = []
    while page := await archive.read(build, after=found[-1].last if found else 0, size=size):
        found += page
    return found


def archive_of(bench: Bench, blobs: Blobs) -> LogArchive:
    return bench.archive(blobs)


async def due(bench: Bench, build: UUID) -> float:
    """In how many seconds the log is to be archived; -1: it is not."""
    seconds: float | None = await bench.database.pool.fetchval(
        "SELECT extract(epoch FROM due_at - now())::float8 FROM actors.schedules"
        " WHERE name = $1 AND schedule = 'archive_log'",
        str(build),
    )
    return -1 if seconds is None else seconds


async def ring(one: Objects, build: UUID) -> None:
    async def now(buddy: Any) -> None:
        buddy.ctx.schedule("archive_log", buddy.ctx.clock.now())

    await run_in_actor(one.buddy(build), now)


async def put_off(bench: Bench, build: UUID) -> bool:
    return await due(bench, build) > 1
