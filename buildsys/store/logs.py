"""The log store, read side: records by cursor. Only a build's actor appends."""

from __future__ import annotations

from uuid import UUID

from actors import Database
from buildsys.core.logs import LogRecord
from buildsys.store.queries import QUERIES


class Logs:
    """Reads what is durable, the same way for a running build and for an old one."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read(self, build: UUID, *, after: int, size: int = 64) -> list[LogRecord]:
        """At most `size` records holding entries behind the cursor `after`; the first may begin before it."""
        rows = await self._database.many(QUERIES["log_read"], build=build, after=after, size=size)
        return [
            LogRecord(
                first=row["first"],
                last=row["last"],
                kind=row["kind"],
                at=row["at"],
                job=row["job"],
                step=row["step"],
                frame=row["frame"],
                data=row["data"],
            )
            for row in rows
        ]
