"""What of a log is asked for, and its records from the store: all, a part, or the last ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from buildsys.core.logs import END, LINES, LogEntry, LogReader, LogRecord, unfold
from buildsys.web.codec import BadRequest, Text
from buildsys.web.log_events import Filter, Piece, behind, breaks_line, entries

PART = 8 << 20
"""Bytes of log after which a limited answer or an outline ends before its limit; it says where to go on."""

FEW = 4
"""Records that the first query brings where a part is asked for: they often hold all of it."""

MANY = 1024
"""Records that a query asks for at most; `READ` bytes end it before."""

USUAL, MOST = 1000, 10_000
"""Entries of a limited answer where the request does not say, and at most."""

OUTLINED = 20_000
"""Runs and events of an outline, which then says where to go on."""

WIDEST = 100_000
"""Entries that are looked through at once from the end, where a filter leaves few of them."""

LOOK_BACK = 64
"""Entries before a cursor in which the beginning of a line is looked for that goes on behind it."""

CURSORS = 1 << 63
"""Cursors are below this: Postgres counts them in a bigint."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Size = Annotated[int, msgspec.Meta(ge=1, le=MOST)]


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`format` is for links, which cannot say what they accept. With `q` the log is searched, for `seconds`."""

    format: Literal["text"] | None = None
    after: Text = "0"
    limit: Size | None = None
    tail: Size | None = None
    outline: bool = False
    job: Text | None = None
    step: int | None = None
    since: Moment | None = None
    until: Moment | None = None
    q: Text | None = None
    regex: bool = False
    ignore_case: bool = False
    seconds: Annotated[float, msgspec.Meta(gt=0, le=30)] = 5.0

    @property
    def wanted(self) -> Filter:
        return Filter(job=self.job, step=self.step, since=self.since, until=self.until)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is read: behind which cursor, and which records. `ended`: the log ends at the cursor."""

    build: UUID
    after: int
    ended: bool
    wanted: Filter


class LogOutline(msgspec.Struct, frozen=True, kw_only=True):
    """All but the text: which entries [first, last] are lines of which job and step, and the events.

    `next` and `end` as in a part.
    """

    runs: list[tuple[int, int, str | None, int | None]]
    events: list[LogEntry]
    next: int
    end: bool


class LogSource:
    """Reads of the log store."""

    def __init__(self, *, logs: LogReader) -> None:
        self._logs = logs

    async def reading(self, build: UUID, *, after: int, wanted: Filter) -> Reading:
        """Raises `BadRequest` for a cursor that the log has not reached."""
        ended = False
        if after:
            last = await self._logs.last(build)
            if after > last:
                raise BadRequest(f"the log has not reached the cursor {after}")
            if after == last:
                ended = any(record.kind == END for record in await self._logs.read(build, after=after - 1, size=1))
        return Reading(build=build, after=after, ended=ended, wanted=wanted)

    async def tail(self, reading: Reading, count: int, *, kind: str | None = None) -> Reading:
        """What is left of the reading once all but the last `count` of its entries (of a kind) are passed over.

        Of lines, the first is whole: what the same step printed of it before belongs to it, at most `LOOK_BACK` entries
        back. Looks from the end backwards, at first no farther than they can be, and wider where a filter leaves few.
        """
        end, width = await self._logs.last(reading.build), count
        while end > reading.after:
            begin = max(reading.after, end - width)
            found = list[tuple[int, int, LogRecord]]()
            window = msgspec.structs.replace(reading, after=begin)
            async with contextlib.aclosing(self.records(window, size=FEW)) as records:
                async for record in records:
                    if kind in (None, record.kind) and reading.wanted.admits(record):
                        place = msgspec.structs.replace(record, frame=None, data=None)
                        found.append((max(record.first, begin + 1), min(record.last, end), place))
                    if record.last >= end:
                        break
            for first, last, place in reversed(found):
                count -= last - first + 1
                if count <= 0:
                    after = first - count - 1
                    if kind == LINES and after + 1 == place.first:
                        after = await self._line_begin(reading, place)
                    return msgspec.structs.replace(reading, after=after, ended=False)
            end, width = begin, min(4 * width, WIDEST)
        return reading

    async def _line_begin(self, reading: Reading, place: LogRecord) -> int:
        """The cursor before the line that the record's first entry is of."""
        begun: int | None = None
        window = msgspec.structs.replace(reading, after=place.first - 1)
        async with contextlib.aclosing(self.before(window)) as pages:
            async for page in pages:
                own = [each for each in page if (each.job, each.step) == (place.job, place.step)]
                begun = await asyncio.to_thread(_begun, [each for each in own if reading.wanted.admits(each)], begun)
        return place.first - 1 if begun is None else max(begun - 1, reading.after)

    async def before(self, reading: Reading) -> AsyncGenerator[list[LogRecord], None]:
        """The records of the last `LOOK_BACK` entries up to the cursor, query by query, whatever is asked for."""
        window = msgspec.structs.replace(reading, after=max(0, reading.after - LOOK_BACK))
        if reading.after:
            async with contextlib.aclosing(self.pages(window, size=LOOK_BACK)) as pages:
                async for page in pages:
                    yield [record for record in page if record.last <= reading.after]
                    if page[-1].last >= reading.after:
                        return

    async def part(self, reading: Reading, limit: int, *, kind: str | None = None) -> tuple[list[Piece], int, bool]:
        """At most `limit` entries behind the cursor, the cursor of the last one seen, and whether it is the end."""
        pieces, found, size = list[Piece](), 0, 0
        cursor, end = reading.after, reading.ended
        async with contextlib.aclosing(self.records(reading, size=FEW)) as records:
            async for record in records:
                if found >= limit or size >= PART:
                    break
                cursor, end = record.last, record.kind == END
                if kind in (None, record.kind) and reading.wanted.admits(record):
                    piece = behind(record, reading.after, size=limit - found)
                    pieces.append(piece)
                    found, size, cursor = found + piece.last - piece.first + 1, size + piece.size, piece.last
        return pieces, cursor, end

    async def outline(self, reading: Reading) -> LogOutline:
        """What is behind the cursor, up to `OUTLINED` runs and events; neighbouring lines of a step are one run."""
        runs, events = list[tuple[int, int, str | None, int | None]](), list[LogEntry]()
        cursor, end, size = reading.after, reading.ended, 0
        async with contextlib.aclosing(self.records(reading)) as records:
            async for record in records:
                if len(runs) + len(events) >= OUTLINED or size >= PART:
                    break
                first, cursor, end = max(record.first, cursor + 1), record.last, record.kind == END
                if not reading.wanted.admits(record):
                    continue
                if record.kind != LINES:
                    piece = behind(record, reading.after)
                    events += entries(piece)
                    size += piece.size
                elif runs and runs[-1][1:] == (first - 1, record.job, record.step):
                    runs[-1] = (runs[-1][0], record.last, record.job, record.step)
                else:
                    runs.append((first, record.last, record.job, record.step))
        return LogOutline(runs=runs, events=events, next=cursor, end=end)

    async def lines(self, reading: Reading) -> AsyncGenerator[Piece, None]:
        """All lines behind the cursor that are asked for, record by record."""
        async with contextlib.aclosing(self.records(reading)) as records:
            async for record in records:
                if record.kind == LINES and reading.wanted.admits(record):
                    yield behind(record, reading.after)

    async def records(self, reading: Reading, *, size: int = 32) -> AsyncGenerator[LogRecord, None]:
        """All records behind the cursor, no more than a query's at a time."""
        async with contextlib.aclosing(self.pages(reading, size=size)) as pages:
            async for page in pages:
                for record in page:
                    yield record

    async def pages(self, reading: Reading, *, size: int = 32) -> AsyncGenerator[list[LogRecord], None]:
        """The same, query by query, each for four times as many as the one before it."""
        after = reading.after
        while page := await self._logs.read(reading.build, after=after, size=size):
            after, size = page[-1].last, min(4 * size, MANY)
            ended = page[-1].kind == END
            yield page
            del page
            if ended:
                return


def _begun(records: list[LogRecord], begun: int | None) -> int | None:
    """The cursor where the line begins that a step's records leave open, if they leave one open."""
    for record in records:
        printed = unfold(record)
        if breaks_line(record) or printed.endswith(b"\n"):
            begun = None
        elif printed and (begun is None or b"\n" in printed):
            begun = record.last
    return begun


def parse_cursor(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < CURSORS):
        raise BadRequest("a cursor is the number of an entry")
    return int(text)
