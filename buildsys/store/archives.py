"""Which logs are in the blob store, and which were deleted by which rule."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from actors import Database
from buildsys.core.archive import BadArchive, Root, decode_root
from buildsys.core.seal import deletion
from buildsys.store.queries import QUERIES


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An archived log; `key` is None, and `deleted_at` and `rule` are set, once it was deleted."""

    key: str | None
    size: int
    sha256: bytes
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
    """Rows of archives. Only a build's actor inserts its one. `key` is that of the seal: deletions are signed."""

    def __init__(self, *, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key

    async def get(self, build: UUID) -> Archive | None:
        """The build's archive, if there is one. Raises `BadArchive` for a row that is not as it was written."""
        row = await self._database.one(QUERIES["archive_get"], build=build)
        if row is None:
            return None
        columns = dict(row)
        if not self._is_ours(build, columns["deleted_at"], columns["rule"], columns.pop("deletion")):
            raise BadArchive("the log is said to be deleted, by a record that retention did not make")
        return Archive(**columns | {"root": decode_root(row["root"])})

    async def expire(self, rules: Rules) -> list[tuple[UUID, str]]:
        """Declare those logs deleted that the rules do not keep; which, and by which rule."""
        found = await self._database.many(QUERIES["archive_expired"], **msgspec.structs.asdict(rules))
        rows = await self._database.many(
            QUERIES["archive_delete"],
            builds=[row["build"] for row in found],
            moments=[row["at"] for row in found],
            rules=[row["rule"] for row in found],
            deletions=[deletion(self._key, row["build"], row["at"], row["rule"]) for row in found],
        )
        return [(row["build"], row["rule"]) for row in rows]

    async def deleted(self) -> list[UUID]:
        """Builds whose log was declared deleted by us, and whose objects may still be there."""
        return [
            row["build"]
            for row in await self._database.many(QUERIES["archive_deleted"])
            if self._is_ours(row["build"], row["deleted_at"], row["rule"], row["deletion"])
        ]

    async def forget(self, build: UUID) -> None:
        """Record that the object of a deleted log is gone."""
        await self._database.execute(QUERIES["archive_forget"], build=build)

    async def strays(self, keys: list[str], *, builds: list[UUID]) -> set[str]:
        """Those of the objects, each with its build, that are no archived log of that build."""
        return {row["key"] for row in await self._database.many(QUERIES["archive_strays"], keys=keys, builds=builds)}

    def _is_ours(self, build: UUID, at: datetime | None, rule: str | None, mac: bytes | None) -> bool:
        """Whether the record of a deletion, if there is one, was made under our key."""
        if at is None or rule is None or mac is None:
            return at is None and rule is None and mac is None
        return hmac.compare_digest(deletion(self._key, build, at, rule), mac)


def archive_columns(build: UUID, archive: Archive) -> dict[str, Any]:
    """The archive as the query `archive_insert` takes it."""
    root = msgspec.msgpack.encode(archive.root)
    return {
        "build": build,
        "key": archive.key,
        "size": archive.size,
        "sha256": archive.sha256,
        "records": archive.records,
        "root": root,
    }
