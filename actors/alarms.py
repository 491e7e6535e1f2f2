"""When actors are due: those in memory to the moment, others by looking ahead each second and waking them in time."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

import structlog

from actors.clock import Clock
from actors.database import TROUBLE, Database
from actors.lease import Lease
from actors.messages import ActorId
from actors.queries import Queries

LOOK = 1.0
"""Seconds between two looks for actors that are not in memory."""

AHEAD = 5.0
"""Seconds that a look reads ahead: who falls due is woken before, so that thousands at one instant are on time."""

LATE = 2.0
"""Seconds overdue from which on a schedule without an owner falls to any node, as its own one seems to be unwell."""

PAGE = 1000
"""Schedules that are read at a time."""

PAGES = 10
"""Pages of one look; the next look goes on behind them."""

AT_ONCE = 1000
"""Actors that are rung before other work has its turn."""

BURST = 10_000
"""Actors that are rung before the runs of the first are settled, if there are so many due at once."""

logger = structlog.get_logger(__name__)

Place = tuple[datetime, str, str, str]

_START: Place = (datetime.min.replace(tzinfo=UTC), "", "", "")


class Alarms:
    """Rings an actor when a time that was noted for it has come. Ringing is a hint: the actor's schedules decide.

    A run that is over settles when `all_rung` is set: of many that are due at once all begin before that.
    """

    def __init__(self, *, database: Database, queries: Queries, clock: Clock, lease: Lease) -> None:
        self._database = database
        self._queries = queries
        self._clock = clock
        self._lease = lease
        self._noted: dict[ActorId, datetime] = {}
        self._queue: list[tuple[datetime, ActorId]] = []
        self._changed = asyncio.Event()
        self._free = asyncio.Event()
        self._place = _START
        self.all_rung = asyncio.Event()
        self.all_rung.set()
        self.exhausted = 0

    def note(self, at: datetime, id: ActorId) -> None:
        """Ring the actor at this time, never before; its earliest one counts. Rung, it notes the next itself."""
        noted = self._noted.get(id)
        if noted is not None and noted <= at:
            return
        self._noted[id] = at
        if len(self._queue) > 2 * len(self._noted) + 100:
            self._queue = [(at, id) for id, at in self._noted.items()]
            heapq.heapify(self._queue)
        else:
            heapq.heappush(self._queue, (at, id))
        if self._queue[0] == (at, id):
            self._changed.set()

    def forget(self, id: ActorId) -> None:
        """The actor has left the memory; a look will find it when it is due."""
        self._noted.pop(id, None)

    def is_soon(self, id: ActorId) -> bool:
        """Whether the next look would wake the actor."""
        at = self._noted.get(id)
        return at is not None and at <= self._clock.now() + timedelta(seconds=AHEAD)

    def look_now(self) -> None:
        """Other nodes' actors may have become free: look for them now."""
        self._place = _START
        self._free.set()

    async def ring(self, ring: Callable[[ActorId], None]) -> None:
        """Ring whoever is due, for ever."""
        rung = 0
        try:
            while True:
                due = self._due(self._clock.now())
                for id in due:
                    ring(id)
                rung += len(due)
                if len(due) < AT_ONCE or rung >= BURST:
                    rung = 0
                    self.all_rung.set()
                if len(due) < AT_ONCE:
                    await self._wait()
                else:
                    self.all_rung.clear()
                    await asyncio.sleep(0)
        finally:
            self.all_rung.set()

    async def look(
        self,
        namespaces: Collection[str],
        is_active: Callable[[ActorId], bool],
        ring: Callable[[ActorId], None],
    ) -> None:
        """Wake who is due soon and not in this node's memory, each second, for ever."""
        while True:
            if self._lease.trusted:
                try:
                    await self._look(list(namespaces), is_active, ring)
                except TROUBLE as error:
                    logger.warning("schedules_not_read", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(LOOK if self._place == _START else LOOK / 10):
                    await self._free.wait()
            self._free.clear()

    async def _wait(self) -> None:
        """Wait until the next may be due."""
        self._changed.clear()
        pause = (self._queue[0][0] - self._clock.now()).total_seconds() if self._queue else None
        try:
            async with self._clock.timeout(pause) as limit:
                await self._changed.wait()
        except TimeoutError:
            if not limit.expired():
                raise

    def _due(self, now: datetime) -> list[ActorId]:
        """The next whose time has come, at most `AT_ONCE`."""
        due: list[ActorId] = []
        while self._queue and self._queue[0][0] <= now and len(due) < AT_ONCE:
            at, id = heapq.heappop(self._queue)
            if self._noted.get(id) == at:
                del self._noted[id]
                due.append(id)
        return due

    async def _look(
        self, namespaces: list[str], is_active: Callable[[ActorId], bool], ring: Callable[[ActorId], None]
    ) -> None:
        for _ in range(PAGES):
            at, namespace, name, schedule = self._place
            rows = await self._database.many(
                self._queries["schedule_due"],
                node=self._lease.node,
                namespaces=namespaces,
                ahead=AHEAD,
                late=LATE,
                at=at,
                namespace=namespace,
                name=name,
                schedule=schedule,
                size=PAGE,
            )
            for row in rows:
                id = ActorId(namespace=row["namespace"], name=row["name"])
                if not is_active(id):
                    ring(id)
            if len(rows) < PAGE:
                self._place = _START
                break
            last = rows[-1]
            self._place = (last["due_at"], last["namespace"], last["name"], last["schedule"])
        count = await self._database.one(self._queries["schedule_count_exhausted"], namespaces=namespaces)
        self.exhausted = count["count"] if count else 0
