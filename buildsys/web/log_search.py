"""Search in a log: the lines with matches, as a page of JSON or line by line as they are found.

Records are unfolded and searched in threads of their own, a few logs at a time. A search ends at its limit of hits or
of time, and says where to go on; once nobody waits for it, it ends within a piece of text.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal, TypeVar

import msgspec
from aiohttp import web

from buildsys.core.logs import END, LINES, LogRecord, unfold
from buildsys.errors import Unavailable
from buildsys.web.codec import json_response
from buildsys.web.encoding import Coding, pack, packed, packer, stream
from buildsys.web.log_events import behind, breaks_line
from buildsys.web.log_pattern import Found, Pattern, Span
from buildsys.web.log_reading import LogQuery, LogSource, Reading

USUAL = 100
"""Hits of an answer where the request does not say."""

AT_ONCE, WAITING = 2, 8
"""Searches that run, and that wait for one to end; more are told to come again."""

FIRST_LINE = 1.0
"""Seconds beyond its time that a search may take for its first line, so that it gets on."""

CARRIED = 4 << 10
"""Last bytes of a line without a newline that are searched again, with what the step printed next."""

SHOWN = 2000
"""Bytes of a long line that a hit shows, beginning `BEFORE` its first match."""

BEFORE = 200

T = TypeVar("T")

NDJSON = "application/x-ndjson"


class Hit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line with matches, which are spans of characters of `text`: [from, to).

    `before` and `behind` say how many bytes of a long line stand left and right of `text`. A line that came in parts is
    as many entries: each is searched together with the end of what it continues, and `cursor` is where a match ends.
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

    `end` says that nothing will ever come behind `next`. `cut`: the line `next` was so long that the time ended in it.
    """

    next: int
    end: bool
    stopped: Literal["hits", "time"] | None
    cut: bool = False


class LogHits(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hits."""

    hits: list[Hit]
    next: int
    end: bool
    stopped: Literal["hits", "time"] | None
    cut: bool


class LogSearch:
    """Searches logs, `AT_ONCE` at a time."""

    def __init__(self, *, source: LogSource) -> None:
        self._source = source
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="log-search")
        self._waiting = 0

    async def answer(
        self, request: web.Request, reading: Reading, query: LogQuery, coding: Coding
    ) -> web.StreamResponse:
        """Hits behind the cursor; as NDJSON they are followed by a line that says where to go on.

        Raises `BadRequest` for a pattern that is none, and `Unavailable` where too many search.
        """
        pattern = Pattern(query.q or "", regex=query.regex, ignore_case=query.ignore_case)
        async with self._slot():
            limit = query.limit or USUAL
            found = _Search(self._source, self._threads, reading, pattern, limit=limit, seconds=query.seconds)
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


class _Carried(msgspec.Struct, frozen=True):
    """The end of a line that has no newline yet, and how many bytes of it stand before."""

    text: bytes = b""
    dropped: int = 0


class _Over(Exception):
    """The time is up, or nobody waits any more; searched is all up to a cursor."""

    def __init__(self, cursor: int, *, cut: bool = False) -> None:
        self.cursor = cursor
        self.cut = cut


class _Search:
    """One search; `ended` is how it ended."""

    ended: Searched

    def __init__(
        self,
        source: LogSource,
        threads: ThreadPoolExecutor,
        reading: Reading,
        pattern: Pattern,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        self._source = source
        self._threads = threads
        self._reading = reading
        self._pattern = pattern
        self._limit = limit
        self._deadline = time.monotonic() + seconds
        self._carried: dict[tuple[str | None, int | None], _Carried] = {}
        self._is_left = False

    async def hits(self) -> AsyncGenerator[list[Hit], None]:
        self.ended = Searched(next=self._reading.after, end=self._reading.ended, stopped=None)
        async with contextlib.aclosing(self._source.before(self._reading)) as pages:
            async for page in pages:
                await self._run(self._carry_all, page)
        async with contextlib.aclosing(self._source.pages(self._reading)) as pages:
            async for page in pages:
                found = await self._run(self._page, page)
                self._limit -= len(found)
                yield found
                if self.ended.stopped:
                    return

    async def _run(self, work: Callable[[list[LogRecord]], T], records: list[LogRecord]) -> T:
        """Work in a thread, which has ended when this has: whoever is cancelled waits for a piece of text at most."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, work, records)
        try:
            return await asyncio.shield(running)
        finally:
            if not running.done():
                self._is_left = True
                await asyncio.gather(running, return_exceptions=True)

    def _carry_all(self, records: list[LogRecord]) -> None:
        for record in records:
            if record.kind == LINES and self._reading.wanted.admits(record):
                carried = self._take_carried(record)
                self._carry(record, carried.text + unfold(record), carried)
            elif breaks_line(record):
                self._take_carried(record)

    def _page(self, page: list[LogRecord]) -> list[Hit]:
        """The hits of a page, as many as are wanted still. Searches one piece of text at least."""
        hits = list[Hit]()
        for record in page:
            if record.kind == LINES and self._reading.wanted.admits(record):
                try:
                    cursor = self._record(record, hits)
                except _Over as over:
                    return self._stop(hits, over.cursor, "time", cut=over.cut)
                if cursor < record.last:
                    return self._stop(hits, cursor, "hits")
            elif breaks_line(record):
                self._take_carried(record)
            self.ended = Searched(next=record.last, end=record.kind == END, stopped=None)
            if len(hits) == self._limit:
                return self._stop(hits, record.last, "hits")
            if not self.ended.end and time.monotonic() > self._deadline:
                return self._stop(hits, record.last, "time")
        return hits

    def _record(self, record: LogRecord, hits: list[Hit]) -> int:
        """Add the hits of a record, up to the cursor that is returned. Raises `_Over`."""
        piece = behind(record, self._reading.after)
        carried = self._take_carried(record)
        if piece.first > record.first:
            carried = _Carried()
        printed = carried.text + piece.printed

        def look(position: int) -> None:
            if self._is_left or time.monotonic() > self._deadline:
                self._end_within(piece.first + printed.count(b"\n", 0, position), is_begun=position > 0)

        searched = self._pattern.search(
            printed, look=look, carried=len(carried.text), begin=1 if carried.dropped else 0
        )
        for found in searched:
            dropped = 0 if found.number else carried.dropped
            hits.append(_hit(record, piece.first + found.number, found, dropped))
            if len(hits) == self._limit:
                return hits[-1].cursor
        self._carry(record, printed, carried)
        return record.last

    def _end_within(self, cursor: int, *, is_begun: bool) -> None:
        """End before the line at the cursor, or in the first line of all once it has taken too long."""
        if self._is_left or cursor - 1 > self._reading.after:
            raise _Over(cursor - 1)
        if is_begun and time.monotonic() > self._deadline + FIRST_LINE:
            raise _Over(cursor, cut=True)

    def _take_carried(self, record: LogRecord) -> _Carried:
        return self._carried.pop((record.job, record.step), _Carried())

    def _carry(self, record: LogRecord, printed: bytes, carried: _Carried) -> None:
        """Keep the end of the last line, if it goes on."""
        begin = printed.rfind(b"\n") + 1
        if begin < len(printed):
            kept = printed[max(begin, len(printed) - CARRIED) :]
            dropped = len(printed) - begin - len(kept) + (0 if begin else carried.dropped)
            self._carried[record.job, record.step] = _Carried(kept, dropped)

    def _stop(self, hits: list[Hit], cursor: int, why: Literal["hits", "time"], *, cut: bool = False) -> list[Hit]:
        self.ended = Searched(next=cursor, end=False, stopped=why, cut=cut)
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


def _hit(record: LogRecord, cursor: int, found: Found, dropped: int) -> Hit:
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
        before=dropped + begin,
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
