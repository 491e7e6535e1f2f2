"""Which logs are in the blob store, and which were deleted by which rule."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from actors import Database
from buildsys.core.archive import Root
from buildsys.store.queries import QUERIES


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An archived log; `key` is None, and `deleted_at` and `rule` are set, once it was deleted."""

    key: str | None
    size: int
    records: int
    root: Root
    archived_at: datetime | None = None
    deleted_at: datetime | None = None
    rule: str | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Kept are logs younger than `age` seconds, the latest `count` of a project, and its latest in `size` bytes."""

    age: float | None = None
    count: int | None = None
    size: int | None = None


class Archives:
    """Rows of archives. Only a build's actor inserts its one."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, build: UUID) -> Archive | None:
        row = await self._database.one(QUERIES["archive_get"], build=build)
        if row is None:
            return None
        return Archive(**{**row, "root": msgspec.msgpack.decode(row["root"], type=Root)})

    async def expire(self, rules: Rules) -> list[tuple[UUID, str]]:
        """Declare those logs deleted that the rules do not keep; which, and by which rule."""
        rows = await self._database.many(QUERIES["archive_expire"], **msgspec.structs.asdict(rules))
        return [(row["build"], row["rule"]) for row in rows]

    async def deleted(self, size: int = 100) -> list[UUID]:
        """Builds whose log is declared deleted, and whose objects may still be there."""
        return [row["build"] for row in await self._database.many(QUERIES["archive_deleted"], size=size)]

    async def forget(self, build: UUID) -> None:
        """Record that the object of a deleted log is gone."""
        await self._database.execute(QUERIES["archive_forget"], build=build)

    async def strays(self, keys: list[str], *, builds: list[UUID]) -> set[str]:
        """Those of the objects, each with its build, that are no archived log of that build."""
        return {row["key"] for row in await self._database.many(QUERIES["archive_strays"], keys=keys, builds=builds)}


def archive_columns(build: UUID, archive: Archive) -> dict[str, Any]:
    """The archive as the query `archive_insert` takes it."""
    root = msgspec.msgpack.encode(archive.root)
    return {"build": build, "key": archive.key, "size": archive.size, "records": archive.records, "root": root}
