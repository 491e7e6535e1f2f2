"""The Scheduler: one actor that starts queued builds as the limits allow.

Its alarm rings every second, and at once when a hint says that the queue or a limit has changed. An alarm claims and
goes: the starts it makes run beside it, each with a deadline, so that one that hangs holds up nothing.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from actors import Actor, Context, Namespace, Transaction
from buildsys.core.build import Outcome
from buildsys.core.logs import END, LogChange
from buildsys.core.seal import Chain
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.store.hints import Hints
from buildsys.store.logs import log_columns
from buildsys.store.queries import QUERIES

TICK = 1.0
"""Seconds between two looks at the queue when no hint comes."""

START_DEADLINE = 10.0
"""Seconds that a start may take; one that took longer is made again, which is harmless: a start is idempotent."""

STALE = 1.5 * START_DEADLINE
"""Seconds after which a claim that led to no start is made again."""

STARTS = 5
"""How many claims a build gets. Only what its actor cannot even load uses them up; it ends as errored then."""

MOST_WAITING = 100
"""How many may wait for one concurrency group where they all may, as on GitHub."""

SINGLETON = "scheduler"
"""The name of the one Scheduler."""


class Scheduler(Actor):
    """Claims queued builds within the limits of system, account and project, and starts at most so many at a time.

    It gives out the projects' concurrency groups, too, to builds and jobs alike, and tells the builds' actors until
    they know.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        buddies: Namespace[BuildBuddy],
        hints: Hints,
        max_running: int,
        start_concurrency: int,
        seal_key: bytes,
    ) -> None:
        super().__init__(ctx)
        self._buddies = buddies
        self._hints = hints
        self._max_running = max_running
        self._start_concurrency = start_concurrency
        self._seal_key = seal_key
        self._starting: set[UUID] = set()
        self._telling: set[UUID] = set()

    async def on_activate(self) -> None:
        self.ctx.spawn(self._listen(), name="queue-hints")

    async def alarm(self) -> None:
        """Claim what may start now, give out concurrency groups, say of the others why they wait; start, and tell."""
        async with self.ctx.transaction() as tx:
            await self._give_up(tx)
            room = self._start_concurrency - len(self._starting)
            stale = await tx.many(QUERIES["queue_stale"], seconds=STALE, size=room)
            claimed = await tx.many(QUERIES["queue_claim"], max_running=self._max_running, size=room - len(stale))
            untold = await self._give_out_groups(tx)
            await tx.execute(QUERIES["queue_explain"], max_running=self._max_running)
            self.ctx.set_alarm(self.ctx.clock.now() + timedelta(seconds=TICK))
        for build in untold - self._telling:
            self._telling.add(build)
            self.ctx.spawn(self._tell(build), name=f"tell-{build}")
        for row in (*stale, *claimed):
            if row["build"] not in self._starting:
                self._starting.add(row["build"])
                self.ctx.spawn(self._start(row["build"]), name=f"start-{row['build']}")

    async def _give_up(self, tx: Transaction) -> None:
        """End the builds that cannot be started, and seal their logs."""
        reason = "it could not be started; see the log of the server"
        for row in await tx.many(QUERIES["queue_give_up"], starts=STARTS, seconds=STALE, reason=reason):
            data = {"outcome": Outcome.ERRORED, "reason": reason}
            end = Chain(key=self._seal_key, build=row["id"]).append(
                LogChange(kind=END, at=row["stopped_at"], data=data)
            )
            await tx.execute(QUERIES["log_append"], **log_columns(row["id"], end))

    async def _give_out_groups(self, tx: Transaction) -> set[UUID]:
        """Give free groups to those that wait, order out whom a newer one leaves no place for; who is to be told."""
        await tx.execute(QUERIES["group_grant"])
        await tx.execute(QUERIES["group_supersede"])
        await tx.execute(QUERIES["group_overfull"], size=MOST_WAITING)
        return {row["build"] for row in await tx.many(QUERIES["group_untold"])}

    async def _start(self, build: UUID) -> None:
        try:
            async with asyncio.timeout(START_DEADLINE):
                await self._buddies.get(str(build)).start_build()
        finally:
            held_up = len(self._starting) >= self._start_concurrency
            self._starting.discard(build)
            if held_up:
                self.ctx.wake()

    async def _tell(self, build: UUID) -> None:
        try:
            async with asyncio.timeout(START_DEADLINE):
                await self._buddies.get(str(build)).look_at_groups()
        finally:
            self._telling.discard(build)

    async def _listen(self) -> None:
        with self._hints.subscribe("queue") as changed:
            while True:
                await changed.wait()
                changed.clear()
                self.ctx.wake()
