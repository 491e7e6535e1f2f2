"""The events of a log, encoded once for all who are behind at the same place."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from buildsys.core.logs import LogRecord
from buildsys.web.log_events import Event, behind, events

KEPT = 4 << 20
"""Bytes of encoded events that are kept for others who come by."""

LARGE = 32 << 10
"""Bytes of a piece that is encoded beside the event loop."""

Key = tuple[UUID, int]


class SharedEvents:
    """Encodes the records of logs, which never change once they are stored, and keeps the latest."""

    def __init__(self, *, size: int = KEPT) -> None:
        self._size = size
        self._bytes = 0
        self._kept: OrderedDict[Key, Sequence[Event]] = OrderedDict()
        self._made: dict[Key, asyncio.Future[list[Event]]] = {}

    async def behind(self, build: UUID, record: LogRecord, cursor: int) -> Sequence[Event]:
        """What of a record is behind the cursor. Who comes while it is made waits for the same. Raises `BadFrame`."""
        if cursor >= record.first:
            return await asyncio.to_thread(events, behind(record, cursor))
        key = build, record.first
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        piece = behind(record, cursor)
        if piece.size < LARGE:
            return self._keep(key, events(piece))
        if key not in self._made:
            self._made[key] = asyncio.get_running_loop().run_in_executor(None, events, piece)
            self._made[key].add_done_callback(lambda made: self._finish(key, made))
        return await asyncio.shield(self._made[key])

    def _finish(self, key: Key, made: asyncio.Future[list[Event]]) -> None:
        del self._made[key]
        if not made.cancelled() and made.exception() is None:
            self._keep(key, made.result())

    def _keep(self, key: Key, made: list[Event]) -> Sequence[Event]:
        self._kept[key] = made
        self._bytes += _size(made)
        while self._bytes > self._size:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)
        return made


def _size(made: Sequence[Event]) -> int:
    return sum(len(each.encoded) for each in made)
