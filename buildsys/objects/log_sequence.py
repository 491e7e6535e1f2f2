"""The log of a build as its actor appends to it: one sequence, sealed as it grows."""

from __future__ import annotations

from uuid import UUID

import msgspec

from actors import Context
from buildsys.core.logs import LogChange, LogRecord
from buildsys.core.seal import Chain
from buildsys.store.logs import log_columns
from buildsys.store.queries import QUERIES


class LogSequence:
    """Where the build's log ends. `load` reads it, once for each life of the actor."""

    def __init__(self, ctx: Context, *, build: UUID, key: bytes) -> None:
        self._ctx = ctx
        self._build = build
        self._key = key
        self._chain = Chain(key=key, build=build)

    async def load(self) -> None:
        tail = await self._ctx.database.one(QUERIES["log_tail"], build=self._build)
        if tail is not None:
            self._chain = Chain(
                key=self._key,
                build=self._build,
                last=tail["last"],
                lines=tail["lines"] or 0,
                size=tail["size"],
                head=tail["mac"],
            )

    def append(self, change: LogChange) -> LogRecord:
        """Put the next record into the turn's commit, and behind one of lines the commands among them."""
        record = self._chain.append(change)
        self._ctx.execute(QUERIES["log_append"], **log_columns(self._build, record))
        for command in change.commands:
            said = msgspec.to_builtins(command)
            data = said | {"line": record.first + command.line}
            self.append(LogChange(kind=data.pop("kind"), at=record.at, job=record.job, step=record.step, data=data))
        return record
