"""The live log: one reader a followed build, however many watch it.

A reader takes from the store what is past its position, on a hint or every 2 seconds, and keeps the latest events,
encoded once, in a window of bounded size. Followers share those bytes, but each has only its own cursor: one that joins
late, comes back or is slow reads from the store until it stands inside the window, and cursors alone decide what it has
seen. So nobody misses an entry or gets one twice, nobody waits for another, and nothing grows with a slow one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from buildsys.core.logs import END, LogReader
from buildsys.errors import NotFound
from buildsys.web.log_events import Event
from buildsys.web.log_sharing import SharedEvents

LOOK_AGAIN = 2.0
"""Seconds after which a reader looks into the store without a hint."""

HEARTBEAT = 15.0
"""Seconds of silence after which followers are told that there is nothing new."""

WINDOW = 1 << 20
"""Bytes of encoded events kept for each followed build."""

SHARE = 128 << 10
"""Bytes of events after which a follower gets no further one at once: until it takes them, they are copied for it."""

RECORDS = 16
"""How many records are read at first; each may stand for 1 MiB."""

MOST = 512
"""How many are read at once by who has much before him; `READ` bytes end a read before."""


class Subscriber(Protocol):
    def subscribe(self, topic: str) -> AbstractContextManager[asyncio.Event]:
        """An event that every hint of the topic sets; the reader clears it before it looks."""


class LogFeed:
    """Follows builds for as long as anybody watches them; when nobody does, nothing is read."""

    def __init__(
        self, *, logs: LogReader, hints: Subscriber, window: int = WINDOW, heartbeat: float = HEARTBEAT
    ) -> None:
        self._logs = logs
        self._hints = hints
        self._window = window
        self._heartbeat = heartbeat
        self._shared = SharedEvents()
        self._followed: dict[UUID, _Followed] = {}
        self._closed = False

    async def events(self, build: UUID, *, after: int) -> AsyncGenerator[Sequence[Event], None]:
        """All events behind the cursor, as they come; nothing but an empty batch when it is quiet for long.

        `after` must be 0 or the cursor of a stored entry; inside a batch, the rest of the batch comes first. Ends
        with the end of the log, and when the feed is closed: who wants more comes back with its last cursor.
        """
        cursor, fell_behind, size = after, False, RECORDS
        while not self._closed:
            records = await self._logs.read(build, after=cursor, size=size)
            if records:
                size = min(2 * size, MOST)
                for record in records:
                    for event in await self._shared.behind(build, record, cursor):
                        yield (event,)
                        cursor = event.last
                if records[-1].kind == END:
                    return
            elif fell_behind:
                raise NotFound(f"the log of build {build} has been removed")
            else:
                async with self._follow(build, cursor) as followed:
                    while not self._closed and (batch := await followed.behind(cursor)) is not None:
                        yield batch
                        if batch:
                            cursor = batch[-1].last
                            if batch[-1].kind == END:
                                return
            fell_behind = not records

    def close(self) -> None:
        """End all streams of events."""
        self._closed = True
        for followed in self._followed.values():
            followed.wake()

    @contextlib.asynccontextmanager
    async def _follow(self, build: UUID, position: int) -> AsyncIterator[_Followed]:
        """Share the build's reader; the first to come starts it at its own cursor, the last to leave ends it."""
        followed = self._followed.get(build)
        if followed is None or followed.reader.done():
            followed = self._followed[build] = _Followed(position, window=self._window, heartbeat=self._heartbeat)
            followed.reader = asyncio.create_task(
                followed.read(build, logs=self._logs, hints=self._hints, shared=self._shared), name=f"log-feed-{build}"
            )
        followed.followers += 1
        try:
            yield followed
        finally:
            followed.followers -= 1
            if not followed.followers:
                if self._followed.get(build) is followed:
                    del self._followed[build]
                followed.reader.cancel()
                await asyncio.gather(followed.reader, return_exceptions=True)


class _Followed:
    """A build's latest events: all those in (`_start`, `_position`]."""

    reader: asyncio.Task[None]

    def __init__(self, position: int, *, window: int, heartbeat: float) -> None:
        self.followers = 0
        self._start = self._position = position
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._window = window
        self._heartbeat = heartbeat
        self._changed = asyncio.Event()

    async def read(self, build: UUID, *, logs: LogReader, hints: Subscriber, shared: SharedEvents) -> None:
        """Take in what is stored, as soon as it is, until the end of the log; wake who waits for long, too."""
        try:
            woken = time.monotonic()
            with hints.subscribe(f"log:{build}") as hint:
                while True:
                    hint.clear()
                    records = await logs.read(build, after=self._position, size=RECORDS)
                    for record in records:
                        self._append(await shared.behind(build, record, self._position))
                    if records and records[-1].kind == END:
                        return
                    if records or time.monotonic() - woken >= self._heartbeat:
                        self.wake()
                        woken = time.monotonic()
                    if not records:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(min(LOOK_AGAIN, self._heartbeat)):
                                await hint.wait()
        finally:
            self.wake()

    async def behind(self, cursor: int) -> Sequence[Event] | None:
        """The next events behind the cursor once there are any, none after a quiet time, None: they left the window.

        Raises what ended the reader, if it failed.
        """
        if cursor >= self._position:
            await self._changed.wait()
        if self.reader.done():
            self.reader.result()
        if cursor < self._start:
            return None
        missed: deque[Event] = deque()
        for each in reversed(self._events):
            if each.last <= cursor:
                break
            missed.appendleft(each)
        batch, size = list[Event](), 0
        while missed and size < SHARE:
            batch.append(missed.popleft())
            size += len(batch[-1].encoded)
        return batch

    def wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _append(self, events: Sequence[Event]) -> None:
        for event in events:
            self._events.append(event)
            self._bytes += len(event.encoded)
            self._position = event.last
        while self._bytes > self._window and len(self._events) > 1:
            oldest = self._events.popleft()
            self._bytes -= len(oldest.encoded)
            self._start = oldest.last
