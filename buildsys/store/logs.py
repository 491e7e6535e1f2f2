"""The log store, read side: records by cursor. Only a build's actor appends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from actors import Database
from buildsys.core.logs import READ, LogRecord
from buildsys.store.queries import QUERIES


class Logs:
    """Reads what is durable, the same way for a running build and for an old one."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read(self, build: UUID, *, after: int, size: int = 64) -> list[LogRecord]:
        """At most `size` records holding entries behind the cursor `after`, or `READ` bytes of them.

        The first may begin before the cursor. None only at the log's end.
        """
        rows = await self._database.many(QUERIES["log_read"], build=build, after=after, size=size, bytes=READ)
        return [_record(row) for row in rows]

    async def last(self, build: UUID) -> int:
        """The cursor of the last entry; 0 where there is none."""
        row = await self._database.one(QUERIES["log_last"], build=build)
        return 0 if row is None else int(row["last"])

    async def drop(self, build: UUID, *, size: int) -> int:
        """Delete the first records of an archived log, at most `size`; how many there were."""
        row = await self._database.one(QUERIES["log_drop"], build=build, size=size)
        assert row is not None
        return int(row["count"])


def log_columns(build: UUID, record: LogRecord) -> dict[str, Any]:
    """The record as the query `log_append` takes it."""
    source_from, source_to = record.source or (None, None)
    columns = msgspec.structs.asdict(record)
    del columns["source"]
    return {"build": build, **columns, "source_from": source_from, "source_to": source_to}


def _record(row: Any) -> LogRecord:
    columns = dict(row)
    source_from, source_to = columns.pop("source_from"), columns.pop("source_to")
    return LogRecord(**columns, source=None if source_from is None else (source_from, source_to))
