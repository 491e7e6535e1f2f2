"""Waking: all actors that are wanted in memory at about the same time are acquired and loaded together."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from actors.database import LOST, Database
from actors.errors import ActorUnavailable, DatabaseUnavailable
from actors.faults import FaultPoints
from actors.messages import ActorId
from actors.placement import PATIENCE, PAUSE, Fence, Placement, changing_hands, columns
from actors.queries import Queries
from actors.turn import ScheduleRow

MAX_BATCH = 200
"""Actors of one load: enough to share the round trips, few enough that what they all do then holds nobody up."""

SMALL_KEYS = 256
"""An actor with no more keys than this, and no more bytes than `SMALL_BYTES`, is loaded whole."""

SMALL_BYTES = 64 << 10
"""Bytes of all values of an actor that is loaded whole."""


class Woken:
    """An actor that this node owns now, as it is stored. `values` is None for one too large to be loaded whole."""

    __slots__ = ("fence", "schedules", "values")

    def __init__(self, fence: Fence, schedules: dict[str, ScheduleRow], values: dict[str, bytes] | None) -> None:
        self.fence = fence
        self.schedules = schedules
        self.values = values


class _Wish:
    """An actor that somebody waits for, until a time on the event loop's clock."""

    __slots__ = ("id", "until", "woken")

    def __init__(self, id: ActorId) -> None:
        loop = asyncio.get_running_loop()
        self.id = id
        self.until = loop.time() + PATIENCE
        self.woken: asyncio.Future[Woken] = loop.create_future()

    def fail(self, error: Exception) -> None:
        if not self.woken.done():
            self.woken.set_exception(error)


class Waking:
    """Wakes actors in batches, one at a time: while one is under way the next gathers.

    One statement acquires a batch, in one commit, and one loads it. An actor whose row is locked delays none of the
    others: it is tried again with the batches that follow.
    """

    def __init__(self, *, database: Database, queries: Queries, placement: Placement, faults: FaultPoints) -> None:
        self._database = database
        self._queries = queries
        self._placement = placement
        self._faults = faults
        self._wishes: deque[_Wish] = deque()
        self._again: list[_Wish] = []
        self._wanted = asyncio.Event()
        self._stopped = False

    async def wake(self, id: ActorId) -> Woken:
        """Own an actor under its next epoch, and load it.

        Raises `Moved`, `LeaseLost`, what a lost database raises, or `ActorUnavailable` while the actor changes hands,
        or before the node has started.
        """
        if not self._placement.started:
            raise ActorUnavailable("the node has not started: actors are called inside its 'async with'", ran="no")
        wish = _Wish(id)
        if self._stopped:
            raise _stopped()
        self._wishes.append(wish)
        self._wanted.set()
        return await wish.woken

    async def run(self) -> None:
        """Wake who is wanted, for ever."""
        batch: list[_Wish] = []
        try:
            while True:
                await self._wait()
                batch = self._take()
                await self._wake(batch)
        finally:
            self._stopped = True
            for wish in (*batch, *self._again, *self._wishes):
                wish.fail(_stopped())

    async def _wait(self) -> None:
        """Wait for the first wish; those that failed for the moment are wished again after a pause."""
        if self._again:
            await asyncio.sleep(PAUSE)
            self._wishes.extend(self._again)
            self._again.clear()
        if not self._wishes:
            self._wanted.clear()
            await self._wanted.wait()

    def _take(self) -> list[_Wish]:
        """The next batch, an actor once in it."""
        batch: dict[ActorId, _Wish] = {}
        while self._wishes and len(batch) < MAX_BATCH:
            wish = self._wishes.popleft()
            if wish.woken.done():
                continue
            if wish.id in batch:
                self._again.append(wish)
            else:
                batch[wish.id] = wish
        return list(batch.values())

    async def _wake(self, batch: list[_Wish]) -> None:
        """Answer all wishes of a batch, or note them to be tried again."""
        try:
            outcome = await self._placement.take([wish.id for wish in batch])
            fences = [fence for fence in outcome.values() if isinstance(fence, Fence)]
            self._faults.reach("activation_acquired")
            woken = await self._load(fences) if fences else {}
        except LOST as error:
            self._retry(batch, error)
        except Exception as error:  # the border of those in it: an impossible name, a lease that is over
            if len(batch) > 1:
                for wish in batch:
                    await self._wake([wish])
            else:
                for wish in batch:
                    wish.fail(error)
        else:
            locked = []
            for wish in batch:
                found = woken.get(wish.id) or outcome.get(wish.id)
                if isinstance(found, Woken):
                    if not wish.woken.done():
                        wish.woken.set_result(found)
                elif isinstance(found, Exception):
                    wish.fail(found)
                else:
                    locked.append(wish)
            self._retry(locked, None)

    async def _load(self, fences: list[Fence]) -> dict[ActorId, Woken]:
        rows = await self._database.many(
            self._queries["actor_load"],
            **columns([fence.id for fence in fences]),
            max_keys=SMALL_KEYS,
            max_bytes=SMALL_BYTES,
        )
        by_id = {fence.id: fence for fence in fences}
        woken = {}
        for row in rows:
            fence = by_id[ActorId(namespace=row["namespace"], name=row["name"])]
            values = dict(zip(row["keys"] or (), row["values"] or (), strict=True)) if row["whole"] else None
            woken[fence.id] = Woken(fence, _schedules(row), values)
        return woken

    def _retry(self, batch: list[_Wish], error: Exception | None) -> None:
        """Try again in a moment whoever has time left. A database that stays away has taken all of it."""
        now = asyncio.get_running_loop().time()
        for wish in batch:
            if now < wish.until and not isinstance(error, DatabaseUnavailable):
                self._again.append(wish)
            else:
                wish.fail(error or changing_hands(wish.id))


def _schedules(row: Any) -> dict[str, ScheduleRow]:
    if row["schedules"] is None:
        return {}
    columns = (row["schedules"], row["due_ats"], row["attempts"], row["states"], row["errors"])
    return {
        name: ScheduleRow(due_at=due_at, attempt=attempt, state=state, error=error)
        for name, due_at, attempt, state, error in zip(*columns, strict=True)
    }


def _stopped() -> ActorUnavailable:
    return ActorUnavailable("the node has stopped; the call did not run", ran="no")
