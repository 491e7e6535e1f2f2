"""Schedules: an actor a project that keeps the times its workflows name, and puts each into the inbox when it comes.

It learns them from the files at the head of the default branch: when the project is added or changed, after pushes to
that branch, and whenever one has come. So a schedule is gone once its file is. What comes is kept as a delivery, once
for each time, and builds what the branch's head has then.

What came while nobody was there is not made up for, but for the newest time of each schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from actors import Actor, Context, scheduled
from buildsys.core.cron import newest, next_after
from buildsys.core.definition import Schedule
from buildsys.core.event_kinds import SCHEDULE
from buildsys.core.own_events import FORGE, Slot
from buildsys.core.project import Project
from buildsys.core.repository import Repository
from buildsys.core.trigger import Commit
from buildsys.errors import NoSuchCommit, NotFound
from buildsys.store.deliveries import Deliveries
from buildsys.store.hints import Hints
from buildsys.store.projects import Projects

SETTLING = timedelta(seconds=2)
"""Between a push and the look at what it changed: many may come at once."""

Which = tuple[str, Schedule]
"""A workflow's path, and one of its schedules."""


class Schedules(Actor):
    """The schedules of the project whose id is the actor's name. `next` is stored: when each comes the next time."""

    def __init__(
        self, ctx: Context, *, deliveries: Deliveries, projects: Projects, repository: Repository, hints: Hints
    ) -> None:
        super().__init__(ctx)
        self._project = UUID(ctx.name)
        self._deliveries = deliveries
        self._projects = projects
        self._repository = repository
        self._hints = hints

    async def on_activate(self) -> None:
        stored = await self.ctx.storage.get("next", list[Slot]) or []
        self._next = {(slot.workflow, slot.schedule): slot.at for slot in stored}

    async def look(self) -> None:
        """Learn the schedules anew, soon."""
        now = self.ctx.clock.now()
        planned = self.ctx.schedules().get("learn")
        if planned is None or not now < planned <= now + SETTLING:
            self.ctx.schedule("learn", now + SETTLING)

    @scheduled(deadline=600.0)
    async def learn(self) -> None:
        """Read which schedules there are. Those that are known already go on as they are."""
        now = self.ctx.clock.now()
        found = await self._read()
        times = await asyncio.to_thread(_first_times, found, now)
        async with self.ctx.turn():
            self._keep({which: self._next.get(which, at) for which, at in times.items()})

    async def alarm(self) -> None:
        """Put the times that have come into the inbox, and have a look whether the schedules are still there."""
        now = self.ctx.clock.now()
        due = {which: at for which, at in self._next.items() if at <= now}
        try:
            await self._projects.by_id(self._project)
        except NotFound:
            async with self.ctx.turn():
                self._keep({})
            return
        times = await asyncio.to_thread(_following_times, due, now)
        for (workflow, schedule), (at, _) in times.items():
            slot = Slot(workflow=workflow, schedule=schedule, at=at)
            await self._deliveries.keep(
                self._project, forge=FORGE, delivery=slot.id, event=SCHEDULE, body=msgspec.json.encode(slot)
            )
        self._hints.send("deliveries")
        async with self.ctx.turn():
            following = {which: after for which, (_, after) in times.items() if which in self._next}
            self._keep({**self._next, **following})
            self.ctx.schedule("learn", now)

    async def _read(self) -> set[Which]:
        """The schedules at the head of the default branch; none where there is no project, or no branch."""
        try:
            project = await self._projects.by_id(self._project)
            commit = await self._head(project) if project.settings.repository else Commit(workflows={})
        except (NotFound, NoSuchCommit):
            return set()
        return {
            (path, schedule)
            for path, workflow in commit.workflows.items()
            if path not in commit.wrong
            for schedule in workflow.on.schedules
        }

    async def _head(self, project: Project) -> Commit:
        url, credential = project.settings.repository, project.settings.credential
        head, branch = await self._repository.resolve(url, branch=None, credential=credential)
        found = await self._repository.read_workflows(
            url, commit=head, ref=f"refs/heads/{branch}", credential=credential
        )
        return await asyncio.to_thread(Commit.of_files, found.files)

    def _keep(self, following: dict[Which, datetime]) -> None:
        """Have the times as they are now stored, and the alarm set for the first."""
        self._next = following
        slots = [Slot(workflow=workflow, schedule=schedule, at=at) for (workflow, schedule), at in following.items()]
        self.ctx.storage.put("next", slots)
        if following:
            self.ctx.set_alarm(min(following.values()))
        else:
            self.ctx.unschedule("alarm")


def _first_times(schedules: Iterable[Which], now: datetime) -> dict[Which, datetime]:
    return {(workflow, schedule): next_after(schedule, now) for workflow, schedule in schedules}


def _following_times(due: dict[Which, datetime], now: datetime) -> dict[Which, tuple[datetime, datetime]]:
    """Of each that is due: the newest time that has come, and the one after that."""
    times = {}
    for which, since in due.items():
        at = newest(which[1], since, now)
        times[which] = at, next_after(which[1], now, last=at)
    return times
