"""/builds/{id}/logs: the one log route, as JSON, as text, or live."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from aiohttp import web

from buildsys.core.logs import END, LINES, LogEntry, LogRecord
from buildsys.web.auth import ADMIN, Authentication
from buildsys.web.builds import build_id
from buildsys.web.codec import BadRequest, Text, decode_query, json_response
from buildsys.web.log_events import Event, Filter, Piece, behind, entries
from buildsys.web.log_feed import LogFeed
from buildsys.web.services import Stores, Verification

PART = 8 << 20
"""Bytes of log after which a limited answer ends before its limit; it says where to go on."""

WRITE = 256 << 10
"""Bytes of streamed text that are handed over at once."""

PAGE = 2 << 20
"""Compressed bytes of log that one query is meant to bring."""

USUAL, MOST = 1000, 10_000
"""Entries of a limited answer where the request does not say, and at most."""

LOOK_AGAIN = 5.0
"""Seconds of a lively stream between two looks at its reader's token; a quiet one looks with each heartbeat."""

CURSORS = 1 << 63
"""Cursors are below this: Postgres counts them in a bigint."""


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`format` is for links, which cannot say what they accept."""

    format: Literal["text"] | None = None
    after: Text = "0"
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] | None = None
    job: Text | None = None
    step: int | None = None


class LogPart(msgspec.Struct, frozen=True, kw_only=True):
    """Entries behind a cursor; `next` is where to go on, `end` says that nothing will ever come behind it."""

    entries: list[LogEntry]
    next: int
    end: bool


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is read: behind which cursor, and which records. `ended`: the log ends at the cursor."""

    build: UUID
    after: int
    ended: bool
    wanted: Filter

    def admits(self, record: LogRecord | Event) -> bool:
        return self.wanted.admits(record.kind, record.job, record.step)


class LogRoutes:
    def __init__(
        self, *, stores: Stores, feed: LogFeed, authentication: Authentication, verification: Verification
    ) -> None:
        self._builds = stores.builds
        self._logs = stores.logs
        self._feed = feed
        self._authentication = authentication
        self._verification = verification

    async def read(self, request: web.Request) -> web.StreamResponse:
        """The log behind a cursor, in the form that `Accept` names; JSON where it names none of ours."""
        build = (await self._builds.get(build_id(request))).id
        query = decode_query(request, LogQuery)
        accept = request.headers.get("Accept", "")
        text = query.format == "text" or "text/plain" in accept
        live = not text and "text/event-stream" in accept
        after = _cursor(request.headers.get("Last-Event-ID", query.after) if live else query.after)
        wanted = Filter(job=query.job, step=query.step)
        reading = Reading(build=build, after=after, ended=await self._is_end(build, after), wanted=wanted)
        if live:
            return await self._follow(request, reading)
        if text and query.limit is None:
            return await self._stream(request, reading)
        if text and query.limit is not None:
            return await self._text(reading, query.limit)
        return await self._entries(reading, query.limit or USUAL)

    async def verify(self, request: web.Request) -> web.Response:
        """Whether the log is complete, incomplete, broken (and where), or still open."""
        return json_response(await self._verification.verify(build_id(request)))

    async def _follow(self, request: web.Request, reading: Reading) -> web.StreamResponse:
        """Events as they come, up to the end; 204 keeps a browser that has seen the end from asking again.

        Ends as well once its reader's token is valid no more, which is looked at with every heartbeat at the latest.
        """
        if reading.ended:
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        async with contextlib.aclosing(self._feed.events(reading.build, after=reading.after)) as batches:
            looked = time.monotonic()
            async for batch in batches:
                if not batch or time.monotonic() - looked >= LOOK_AGAIN:
                    if not await self._authentication.still_admits(request, ADMIN):
                        break
                    looked = time.monotonic()
                chosen = b"".join(event.encoded for event in batch if reading.admits(event))
                await response.write(chosen or b":\n\n")
        await response.write_eof()
        return response

    async def _stream(self, request: web.Request, reading: Reading) -> web.StreamResponse:
        """All that is printed behind the cursor, byte for byte, up to now."""
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        chunks, size = list[bytes](), 0
        async with contextlib.aclosing(self._records(reading)) as records:
            async for record in records:
                if record.kind == LINES and reading.admits(record):
                    chunks.append(behind(record, reading.after).printed)
                    size += len(chunks[-1])
                if size >= WRITE:
                    await response.prepare(request)
                    await response.write(b"".join(chunks))
                    chunks, size = [], 0
        await response.prepare(request)
        await response.write_eof(b"".join(chunks))
        return response

    async def _text(self, reading: Reading, limit: int) -> web.Response:
        pieces, next, _ = await self._part(reading, limit, kind=LINES)
        return web.Response(
            body=b"".join(piece.printed for piece in pieces),
            content_type="text/plain",
            charset="utf-8",
            headers={"X-Next-Cursor": str(next)},
        )

    async def _entries(self, reading: Reading, limit: int) -> web.Response:
        pieces, next, end = await self._part(reading, limit)
        found = [entry for piece in pieces for entry in entries(piece)]
        return json_response(LogPart(entries=found, next=next, end=end))

    async def _part(self, reading: Reading, limit: int, *, kind: str | None = None) -> tuple[list[Piece], int, bool]:
        """At most `limit` entries behind the cursor, the cursor of the last one seen, and whether it is the end."""
        pieces, found, size = list[Piece](), 0, 0
        cursor, end = reading.after, reading.ended
        async with contextlib.aclosing(self._records(reading)) as records:
            async for record in records:
                if found >= limit or size >= PART:
                    break
                cursor, end = record.last, record.kind == END
                if kind in (None, record.kind) and reading.admits(record):
                    piece = behind(record, reading.after, size=limit - found)
                    pieces.append(piece)
                    found, size, cursor = found + piece.last - piece.first + 1, size + piece.size, piece.last
        return pieces, cursor, end

    async def _is_end(self, build: UUID, cursor: int) -> bool:
        """Whether the log ends at this cursor. Raises `BadRequest` for one that the log has not reached."""
        if cursor == 0:
            return False
        at_cursor = await self._logs.read(build, after=cursor - 1, size=1)
        if not at_cursor:
            raise BadRequest(f"the log has not reached the cursor {cursor}")
        return at_cursor[0].kind == END

    async def _records(self, reading: Reading) -> AsyncGenerator[LogRecord, None]:
        """All records behind the cursor, in queries that bring about `PAGE` compressed bytes each."""
        after, size = reading.after, 32
        while page := await self._logs.read(reading.build, after=after, size=size):
            for record in page:
                yield record
            if len(page) < size:
                return
            after = page[-1].last
            brought = sum(len(record.frame or b"") for record in page)
            size = max(16, min(1024, size * PAGE // max(1, brought)))


def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < CURSORS):
        raise BadRequest("a cursor is the number of an entry")
    return int(text)
