"""Hints: "something of this topic is new", told at once in this process and to all others of the same database.

A hint may be lost, doubled or come for nothing. It only saves waiting: whoever listens looks into the store again
now and then without one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Self
from uuid import uuid4

import structlog

from actors import Database
from actors.database import TROUBLE

CHANNEL = "buildsys_hints"

AGAIN = 1.0
"""Seconds after which a connection that could not be had is tried for again."""

DEBOUNCE = 0.05
"""Seconds in which further hints of all topics wait for the next NOTIFY: it takes a lock of the whole database."""

logger = structlog.get_logger(__name__)


class Hints:
    """Sends and receives hints. In this process they arrive at once; elsewhere a NOTIFY carries them."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._origin = uuid4().hex
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._outgoing: set[str] = set()
        self._pending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._notify(), name="hints-notify"),
            asyncio.create_task(self._listen(), name="hints-listen"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, topic: str) -> None:
        """Tell all who listen to the topic; never waits and never fails."""
        self._tell(topic)
        self._outgoing.add(topic)
        self._pending.set()

    @contextlib.contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that every hint of the topic sets; the reader clears it before it looks."""
        event = asyncio.Event()
        listeners = self._listeners.setdefault(topic, set())
        listeners.add(event)
        try:
            yield event
        finally:
            listeners.discard(event)
            if not listeners:
                self._listeners.pop(topic, None)

    def _tell(self, topic: str) -> None:
        for event in self._listeners.get(topic, ()):
            event.set()

    async def _notify(self) -> None:
        while True:
            await self._pending.wait()
            self._pending.clear()
            topics, self._outgoing = self._outgoing, set()
            with contextlib.suppress(*TROUBLE):
                for payload in _payloads(self._origin, topics):
                    await self._database.pool.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
            await asyncio.sleep(DEBOUNCE)

    async def _listen(self) -> None:
        while True:
            try:
                connection = await self._database.connect()
            except TROUBLE as error:
                logger.info("hints_not_connected", error=str(error))
                await asyncio.sleep(AGAIN)
                continue
            try:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                with contextlib.suppress(*TROUBLE):  # lost at once
                    await connection.add_listener(CHANNEL, self._received)
                    for topic in list(self._listeners):
                        self._tell(topic)  # what was sent while nobody listened is lost
                    await lost.wait()
            finally:
                connection.terminate()

    def _received(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        origin, *topics = payload.split("\n")
        if origin != self._origin:
            for topic in topics:
                self._tell(topic)


def _payloads(origin: str, topics: set[str]) -> Iterator[str]:
    """The topics in as few payloads as fit the 8,000 bytes that NOTIFY takes."""
    lines, size = [origin], len(origin)
    for topic in topics:
        if size + len(topic) + 1 > 7900:
            yield "\n".join(lines)
            lines, size = [origin], len(origin)
        lines.append(topic)
        size += len(topic) + 1
    yield "\n".join(lines)
