"""Triggers: one actor that works off the webhook inbox. A delivery is settled once, with its builds or a reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from actors import Actor, Context, Namespace
from buildsys.core.event_kinds import PUSH
from buildsys.core.events import BRANCHES, Event
from buildsys.core.forge import Decoder, Ignored
from buildsys.core.project import PendingDelivery
from buildsys.errors import BuildsysError, SourceError
from buildsys.objects.builder import Builder
from buildsys.objects.schedules import Schedules
from buildsys.store.deliveries import Deliveries
from buildsys.store.hints import Hints
from buildsys.store.projects import Projects

LOOK_AGAIN = 5.0
"""Seconds between two looks at the inbox when no hint comes."""

AT_ONCE = 12
"""How many projects' deliveries are worked on at a time, one of each."""

ATTEMPTS = 5
"""How often a repository that cannot be read is tried, with pauses of 2, 4, 8 and 16 seconds between."""

SINGLETON = "triggers"
"""The name of the one Triggers actor."""


class Triggers(Actor):
    """Reads each delivery, asks the Builder for what it wants, and records what became of it.

    `forges` read what came, by the name that it was kept under.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        deliveries: Deliveries,
        projects: Projects,
        builder: Builder,
        schedules: Namespace[Schedules],
        forges: Mapping[str, Decoder],
        hints: Hints,
    ) -> None:
        super().__init__(ctx)
        self._deliveries = deliveries
        self._projects = projects
        self._builder = builder
        self._schedules = schedules
        self._forges = forges
        self._hints = hints
        self._busy: set[UUID] = set()

    async def on_activate(self) -> None:
        self.ctx.spawn(self._listen(), name="delivery-hints")

    async def alarm(self) -> None:
        """Take the oldest deliveries in hand, one a project, so that a slow repository holds up only its own."""
        for delivery in await self._deliveries.pending(AT_ONCE - len(self._busy), busy=self._busy):
            self._busy.add(delivery.project)
            self.ctx.spawn(self._work_off(delivery), name=f"delivery-{delivery.id}")
        async with self.ctx.turn():
            self.ctx.set_alarm(self.ctx.clock.now() + timedelta(seconds=LOOK_AGAIN))

    async def _work_off(self, delivery: PendingDelivery) -> None:
        try:
            attempt = await self._deliveries.attempt(delivery.id)
            if attempt > ATTEMPTS:
                await self._deliveries.settle(
                    delivery.id, outcome="failed", reason=f"gave up after {ATTEMPTS} attempts"
                )
            elif attempt:
                await self._process(delivery, last=attempt == ATTEMPTS)
        finally:
            self._busy.discard(delivery.project)
            self.ctx.wake()

    async def _process(self, delivery: PendingDelivery, *, last: bool) -> None:
        try:
            made = await self._builds_of(delivery)
        except BuildsysError as error:
            if last or not isinstance(error, SourceError):
                await self._deliveries.settle(delivery.id, outcome="failed", reason=str(error))
            return
        if isinstance(made, Ignored):
            await self._deliveries.settle(delivery.id, outcome="skipped", reason=made.reason)
        else:
            await self._deliveries.settle(delivery.id, outcome="built")

    async def _builds_of(self, delivery: PendingDelivery) -> list[UUID] | Ignored:
        event = self._forges[delivery.forge].decode(delivery.event, delivery.body)
        if isinstance(event, Ignored):
            return event
        project = await self._projects.by_id(delivery.project)
        if _moves_default_branch(event):
            await self._schedules.get(str(project.id)).look()
        return await self._builder.trigger(project, event, delivery=delivery.id)

    async def _listen(self) -> None:
        with self._hints.subscribe("deliveries") as kept:
            while True:
                await kept.wait()
                kept.clear()
                self.ctx.wake()


def _moves_default_branch(event: Event) -> bool:
    """Whether it is a push to the default branch, or may be: not every sender says which that is."""
    repository = event.payload.get("repository")
    name = repository.get("default_branch") if isinstance(repository, dict) else None
    return event.name == PUSH and event.ref.startswith(BRANCHES) and name in (None, event.ref.removeprefix(BRANCHES))
