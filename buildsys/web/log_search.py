"""Search in a log: the lines with matches, as a page of JSON or line by line as they are found.

Records are unfolded and searched in threads, a few logs at a time. A search ends at its limit of hits or of time, and
says where to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from aiohttp import web

from buildsys.core.logs import END, LINES, LogRecord
from buildsys.errors import Unavailable
from buildsys.web.codec import json_response
from buildsys.web.encoding import Coding, pack, packed, packer, stream
from buildsys.web.log_events import behind
from buildsys.web.log_pattern import Found, Pattern, Span
from buildsys.web.log_reading import LogQuery, LogSource, Reading

USUAL = 100
"""Hits of an answer where the request does not say."""

AT_ONCE, WAITING = 2, 8
"""Searches that run, and that wait for one to end; more are told to come again."""

BLOCK = 64 << 10
"""Bytes, and the rest of a line, that are searched between two looks at the clock."""

SHOWN = 2000
"""Bytes of a long line that a hit shows, beginning `BEFORE` its first match."""

BEFORE = 200

NDJSON = "application/x-ndjson"


class Hit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line with matches, which are spans of characters of `text`: [from, to).

    `before` and `behind` say how many bytes of a long line stand left and right of `text`.
    """

    cursor: int
    at: datetime
    job: str | None
    step: int | None
    text: str
    matches: list[Span]
    before: int = 0
    behind: int = 0


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """`next` is where to go on, `stopped` why there: the limit of `hits` or `time`, or None where all is searched.

    `end` says that nothing will ever come behind `next`.
    """

    next: int
    end: bool
    stopped: Literal["hits", "time"] | None


class LogHits(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hits."""

    hits: list[Hit]
    next: int
    end: bool
    stopped: Literal["hits", "time"] | None


class LogSearch:
    """Searches logs, `AT_ONCE` at a time."""

    def __init__(self, *, source: LogSource) -> None:
        self._source = source
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def answer(
        self, request: web.Request, reading: Reading, query: LogQuery, coding: Coding
    ) -> web.StreamResponse:
        """Hits behind the cursor; as NDJSON they are followed by a line that says where to go on.

        Raises `BadRequest` for a pattern that is none, and `Unavailable` where too many search.
        """
        pattern = Pattern(query.q or "", regex=query.regex, ignore_case=query.ignore_case)
        async with self._slot():
            found = _Search(self._source, reading, pattern, limit=query.limit or USUAL, seconds=query.seconds)
            if NDJSON in request.headers.get("Accept", ""):
                return await _stream(request, found, coding)
            hits = [hit async for batch in found.hits() for hit in batch]
            end = found.ended
            return await packed(json_response(LogHits(hits=hits, **msgspec.structs.asdict(end))), coding)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING:
            raise Unavailable("too many logs are being searched; try again")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


class _Search:
    """One search; `ended` is how it ended."""

    ended: Searched

    def __init__(self, source: LogSource, reading: Reading, pattern: Pattern, *, limit: int, seconds: float) -> None:
        self._source = source
        self._reading = reading
        self._pattern = pattern
        self._limit = limit
        self._deadline = time.monotonic() + seconds

    async def hits(self) -> AsyncGenerator[list[Hit], None]:
        self.ended = Searched(next=self._reading.after, end=self._reading.ended, stopped=None)
        async with contextlib.aclosing(self._source.pages(self._reading)) as pages:
            async for page in pages:
                found = await asyncio.to_thread(self._page, page)
                self._limit -= len(found)
                yield found
                if self.ended.stopped:
                    return

    def _page(self, page: Sequence[LogRecord]) -> list[Hit]:
        """Runs in a thread: the hits of a page, as many as are wanted still. Searches one block at least."""
        hits = list[Hit]()
        for record in page:
            if record.kind == LINES and self._reading.wanted.admits(record):
                cursor = self._record(record, hits)
                if cursor < record.last:
                    return self._stop(hits, cursor, "hits" if len(hits) == self._limit else "time")
            self.ended = Searched(next=record.last, end=record.kind == END, stopped=None)
            if len(hits) == self._limit:
                return self._stop(hits, record.last, "hits")
            if not self.ended.end and time.monotonic() > self._deadline:
                return self._stop(hits, record.last, "time")
        return hits

    def _record(self, record: LogRecord, hits: list[Hit]) -> int:
        """Add the hits of a record, up to the cursor that is returned."""
        piece = behind(record, self._reading.after)
        first = piece.first
        for block in _blocks(piece.printed):
            for found in self._pattern.search(block):
                hits.append(_hit(record, first + found.number, found))
                if len(hits) == self._limit:
                    return hits[-1].cursor
            first += block.count(b"\n")
            if time.monotonic() > self._deadline:
                return min(first - 1, record.last)
        return record.last

    def _stop(self, hits: list[Hit], cursor: int, why: Literal["hits", "time"]) -> list[Hit]:
        self.ended = Searched(next=cursor, end=False, stopped=why)
        return hits


async def _stream(request: web.Request, found: _Search, coding: Coding) -> web.StreamResponse:
    response, packing = stream(NDJSON, coding), packer(coding)
    encode = msgspec.json.Encoder().encode_lines
    async with contextlib.aclosing(found.hits()) as batches:
        async for batch in batches:
            await response.prepare(request)
            if batch:
                await response.write(await pack(packing, encode(batch)))
    await response.prepare(request)
    await response.write_eof(packing.pack(encode([found.ended])) + packing.finish())
    return response


def _blocks(printed: bytes) -> Iterator[bytes]:
    """Whole lines, together of a good size."""
    begin = 0
    while begin < len(printed):
        end = printed.find(b"\n", begin + BLOCK) + 1 or len(printed)
        yield printed[begin:end]
        begin = end


def _hit(record: LogRecord, cursor: int, found: Found) -> Hit:
    """What is shown of a line: about `SHOWN` bytes of a long one, from shortly before its first match."""
    begin, end = 0, len(found.line)
    if end > SHOWN:
        first = found.spans[0][0] if found.spans else 0
        begin = _whole(found.line, max(0, min(first - BEFORE, end - SHOWN)))
        end = _whole(found.line, min(begin + SHOWN, end))
    line = found.line[begin:end]
    return Hit(
        cursor=cursor,
        at=record.at,
        job=record.job,
        step=record.step,
        text=line.decode("utf-8", "replace"),
        matches=[_characters(line, max(0, a - begin), b - begin) for a, b in found.spans if begin <= a < end],
        before=begin,
        behind=len(found.line) - end,
    )


def _whole(line: bytes, place: int) -> int:
    """The place, or where the character that it falls into begins."""
    for begin in range(place, max(0, place - 4), -1):
        if begin == len(line) or line[begin] & 0xC0 != 0x80:
            return begin
    return place


def _characters(line: bytes, begin: int, end: int) -> Span:
    before = len(line[:begin].decode("utf-8", "replace"))
    return before, before + len(line[begin:end].decode("utf-8", "replace"))
