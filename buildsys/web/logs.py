"""/builds/{id}/logs: the one log route, as JSON, as text, searched, or live."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec
import zstandard
from aiohttp import web

from buildsys.core.assignment import FRAME_LIMIT
from buildsys.core.logs import LINES, LogEntry
from buildsys.errors import Unauthorized
from buildsys.web.ahead import ahead
from buildsys.web.auth import ADMIN, Authentication
from buildsys.web.builds import build_id
from buildsys.web.codec import decode_query, json_response
from buildsys.web.encoding import Coding, accepted, pack, packed, packer, stream
from buildsys.web.log_events import Piece, entries
from buildsys.web.log_feed import LogFeed
from buildsys.web.log_reading import USUAL, LogQuery, LogSource, Reading, parse_cursor
from buildsys.web.log_search import LogSearch
from buildsys.web.services import Stores, Verification

TEXT = "text/plain; charset=utf-8"

WRITE = 256 << 10
"""Bytes of streamed text that are handed over at once."""

LOOK_AGAIN = 5.0
"""Most seconds of a lively stream between two looks at its reader's token; a quiet one looks with each heartbeat."""


class LogPart(msgspec.Struct, frozen=True, kw_only=True):
    """Entries behind a cursor; `next` is where to go on, `end` says that nothing will ever come behind it."""

    entries: list[LogEntry]
    next: int
    end: bool


class LogRoutes:
    def __init__(
        self, *, stores: Stores, feed: LogFeed, authentication: Authentication, verification: Verification
    ) -> None:
        self._builds = stores.builds
        self._source = LogSource(logs=stores.logs)
        self._search = LogSearch(source=self._source)
        self._feed = feed
        self._authentication = authentication
        self._verification = verification

    async def read(self, request: web.Request) -> web.StreamResponse:
        """The log behind a cursor, in the form that `Accept` names; JSON where it names none of ours."""
        build = (await self._builds.get(build_id(request))).id
        query = decode_query(request, LogQuery)
        coding = accepted(request)
        accept = request.headers.get("Accept", "")
        text = query.format == "text" or "text/plain" in accept
        live = query.q is None and not text and "text/event-stream" in accept
        seen = request.headers.get("Last-Event-ID") if live else None
        after = parse_cursor(seen or query.after)
        reading = await self._source.reading(build, after=after, wanted=query.wanted)
        if query.tail is not None and seen is None:
            lines_only = text or query.q is not None
            reading = await self._source.tail(reading, query.tail, kind=LINES if lines_only else None)
        if query.q is not None:
            return await self._search.answer(request, reading, query, coding)
        if query.outline:
            return await packed(json_response(await self._source.outline(reading)), coding)
        if live:
            return await self._follow(request, reading, coding)
        if text and query.limit is None:
            return await self._stream(request, reading, coding)
        if text and query.limit is not None:
            return await self._text(reading, query.limit, coding)
        return await self._entries(reading, query.limit or query.tail or USUAL, coding)

    async def verify(self, request: web.Request) -> web.Response:
        """Whether the log is complete, incomplete, broken (and where), or still open."""
        return json_response(await self._verification.verify(build_id(request)))

    async def _follow(self, request: web.Request, reading: Reading, coding: Coding) -> web.StreamResponse:
        """Events as they come, up to the end; 204 keeps a browser that has seen the end from asking again.

        Ends as well once its reader's token is valid no more, which is looked at with every heartbeat at the latest.
        """
        if reading.ended:
            return web.Response(status=204)
        response = stream("text/event-stream", coding, **{"X-Accel-Buffering": "no"})
        packing = packer(coding)
        await response.prepare(request)
        await response.write(packing.pack(b"retry: 1000\n\n"))
        async with contextlib.aclosing(self._feed.events(reading.build, after=reading.after)) as batches:
            look_at = _next_look()
            async for batch in batches:
                if not batch or time.monotonic() >= look_at:
                    if not await self._authentication.still_admits(request, ADMIN):
                        break
                    look_at = _next_look()
                chosen = b"".join(event.encoded for event in batch if reading.wanted.admits(event))
                await response.write(await pack(packing, chosen or b":\n\n"))
        await response.write_eof(packing.finish())
        return response

    async def _stream(self, request: web.Request, reading: Reading, coding: Coding) -> web.StreamResponse:
        """All that is printed behind the cursor, byte for byte, up to now. A reader of zstd gets the stored frames.

        Breaks off once its reader's token is valid no more.
        """
        response, packing = stream(TEXT, coding), packer("identity" if coding == "zstd" else coding)
        look_at = _next_look()
        async with (
            contextlib.aclosing(self._parts(reading, _frame if coding == "zstd" else _printed)) as parts,
            contextlib.aclosing(ahead(parts)) as ready,
        ):
            async for part in ready:
                await response.prepare(request)
                await response.write(await pack(packing, part))
                if time.monotonic() >= look_at:
                    if not await self._authentication.still_admits(request, ADMIN):
                        raise Unauthorized("the token has been revoked or has expired")
                    look_at = _next_look()
        await response.prepare(request)
        await response.write_eof(packing.finish())
        return response

    async def _parts(self, reading: Reading, form: Callable[[Piece], bytes]) -> AsyncGenerator[bytes, None]:
        """All lines behind the cursor, some pieces at a time, in a form that is made beside the event loop."""
        async with contextlib.aclosing(self._source.lines(reading)) as lines:
            some, size = list[Piece](), 0
            async for piece in lines:
                some.append(piece)
                size += piece.size
                if size >= WRITE:
                    yield await asyncio.to_thread(_joined, some, form)
                    some, size = [], 0
        if some:
            yield await asyncio.to_thread(_joined, some, form)

    async def _text(self, reading: Reading, limit: int, coding: Coding) -> web.Response:
        pieces, next, _ = await self._source.part(reading, limit, kind=LINES)
        body = await asyncio.to_thread(_joined, pieces, _printed)
        response = web.Response(body=body, headers={"Content-Type": TEXT, "X-Next-Cursor": str(next)})
        return await packed(response, coding)

    async def _entries(self, reading: Reading, limit: int, coding: Coding) -> web.Response:
        pieces, next, end = await self._source.part(reading, limit)
        return await packed(await asyncio.to_thread(_listed, pieces, next, end), coding)


def _next_look() -> float:
    """When to look at a reader's token again: the readers of a log come at once, and are not all to look at once."""
    return time.monotonic() + LOOK_AGAIN * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the load, hides nothing


def _listed(pieces: Sequence[Piece], next: int, end: bool) -> web.Response:
    return json_response(LogPart(entries=[entry for piece in pieces for entry in entries(piece)], next=next, end=end))


def _joined(pieces: Sequence[Piece], form: Callable[[Piece], bytes]) -> bytes:
    return b"".join(map(form, pieces))


def _printed(piece: Piece) -> bytes:
    return piece.printed


def _frame(piece: Piece) -> bytes:
    """The piece as a zstd frame: the stored one where all of it is wanted."""
    record = piece.record
    whole = (piece.first, piece.last) == (record.first, record.last)
    if whole and record.frame and 0 < zstandard.get_frame_parameters(record.frame).content_size <= FRAME_LIMIT:
        return record.frame
    return zstandard.compress(piece.printed, 1)
