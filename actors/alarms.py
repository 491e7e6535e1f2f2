"""When actors are due: those of this node from memory and to the moment, those of nobody by looking each second."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

import structlog

from actors.clock import Clock
from actors.database import TROUBLE, Database
from actors.lease import Lease
from actors.messages import ActorId
from actors.queries import Queries

LOOK = 1.0
"""Seconds between two looks for actors that are not in memory."""

AHEAD = 2.5
"""Seconds that a look reads ahead, so that what falls due between two looks is on time."""

SIZE = 1000
"""Schedules of one look; the rest comes with the next, at once."""

logger = structlog.get_logger(__name__)


class Alarms:
    """Rings an actor when a time that was noted for it has come. Ringing is a hint: the actor's schedules decide."""

    def __init__(self, *, database: Database, queries: Queries, clock: Clock, lease: Lease) -> None:
        self._database = database
        self._queries = queries
        self._clock = clock
        self._lease = lease
        self._noted: list[tuple[datetime, ActorId]] = []
        self._changed = asyncio.Event()
        self.exhausted = 0

    def note(self, at: datetime, id: ActorId) -> None:
        """Ring the actor at this time, never before."""
        heapq.heappush(self._noted, (at, id))
        if self._noted[0] == (at, id):
            self._changed.set()

    async def ring(self, ring: Callable[[ActorId], None]) -> None:
        """Ring whoever is due, for ever."""
        while True:
            now = self._clock.now()
            due = set()
            while self._noted and self._noted[0][0] <= now:
                due.add(heapq.heappop(self._noted)[1])
            for id in due:
                ring(id)
            self._changed.clear()
            pause = (self._noted[0][0] - now).total_seconds() if self._noted else None
            try:
                async with self._clock.timeout(pause) as limit:
                    await self._changed.wait()
            except TimeoutError:
                if not limit.expired():
                    raise

    async def look(self, namespaces: Callable[[], list[str]], is_active: Callable[[ActorId], bool]) -> None:
        """Note what is due soon and not in this node's memory, each second, for ever."""
        while True:
            found = 0
            if self._lease.trusted:
                try:
                    found = await self._look(namespaces(), is_active)
                except TROUBLE as error:
                    logger.warning("schedules_not_read", error=str(error))
            await self._clock.sleep(LOOK if found < SIZE else LOOK / 10)

    async def _look(self, namespaces: list[str], is_active: Callable[[ActorId], bool]) -> int:
        rows = await self._database.many(
            self._queries["schedule_due"],
            node=self._lease.node,
            namespaces=namespaces,
            ahead=AHEAD,
            size=SIZE,
        )
        for row in rows:
            id = ActorId(namespace=row["namespace"], name=row["name"])
            if not is_active(id):
                self.note(row["due_at"], id)
        count = await self._database.one(self._queries["schedule_count_exhausted"], namespaces=namespaces)
        self.exhausted = count["count"] if count else 0
        return len(rows)
