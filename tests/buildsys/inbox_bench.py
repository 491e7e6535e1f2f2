"""A project with a repository, its inbox of deliveries, and what works that off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from git_server import Repository
from objects_bench import LIMITS, SEAL_KEY, Bench, bench_on, until

from actors import Clock, Database, Namespace, Node, SystemClock
from buildsys.adapters.git import GitReader
from buildsys.adapters.github import GitHub
from buildsys.core.build import Build
from buildsys.core.own_events import FORGE, OwnEvents
from buildsys.core.planning import PlanSettings
from buildsys.core.project import Delivery, Project, ProjectSettings
from buildsys.objects import triggers
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.objects.builder import Builder, PlanDefaults
from buildsys.objects.provisions import Provisions
from buildsys.objects.schedules import Schedules
from buildsys.objects.triggers import Triggers
from buildsys.store.cipher import Cipher
from buildsys.store.deliveries import Deliveries
from buildsys.store.secrets import Variables

FILE = ".github/workflows/ci.yml"
WORKFLOW = "on:\n  push:\n    branches: [main]\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: echo hi\n"


@dataclass
class Inbox:
    """A project whose repository is at `repository`, and a running Triggers actor."""

    bench: Bench
    deliveries: Deliveries
    repository: Repository
    project: Project
    variables: Variables
    builder: Builder = field(init=False)
    schedules: Namespace[Schedules] = field(init=False)
    builds: Namespace[BuildBuddy] = field(init=False)

    async def push(self, commit: str, *, id: str | None = None, branch: str = "main", **changed: Any) -> str:
        """Keep the delivery of a push; its id."""
        payload = {
            "ref": f"refs/heads/{branch}",
            "after": commit,
            "repository": {"full_name": "tests/shop"},
            "head_commit": {"message": "Open the shop\n\nAt nine."},
        }
        return await self.keep("push", json.dumps(payload | changed).encode(), id=id)

    async def keep(self, event: str, body: bytes, *, id: str | None = None, forge: str = "github") -> str:
        id = id or uuid4().hex
        await self.deliveries.keep(self.project.id, forge=forge, delivery=id, event=event, body=body)
        self.bench.hints.send("deliveries")
        return id

    async def find(self, id: str) -> Delivery:
        (found,) = [one for one in await self.deliveries.list(self.project.id) if one.delivery == id]
        return found

    async def settled(self, id: str) -> Delivery:
        async def is_settled() -> bool:
            return (await self.find(id)).outcome is not None

        await until(is_settled)
        return await self.find(id)

    async def built(self, id: str) -> list[Build]:
        delivery = await self.settled(id)
        assert (delivery.outcome, delivery.reason) == ("built", None), delivery.reason
        return [await self.bench.builds.get(build) for build in delivery.builds]

    async def attempts(self, id: str, count: int) -> None:
        """Let so many attempts begin, without the pauses between them: all but the last are over."""
        await until(lambda: self._pressed(id, count))

    async def _pressed(self, id: str, count: int) -> bool:
        row = await self.bench.database.pool.fetchrow(
            "UPDATE deliveries SET due_at = now() WHERE delivery = $1 RETURNING attempts", id
        )
        self.bench.hints.send("deliveries")
        return bool(row["attempts"] >= count)


@asynccontextmanager
async def inbox_on(database: Database, tmp_path: Path, *, clock: Clock | None = None) -> AsyncIterator[Inbox]:
    """An inbox on one node; `clock` is what its objects go by."""
    async with bench_on(database) as bench:
        repository = Repository(tmp_path / "shop")
        project = await bench.projects.create("shop", ProjectSettings(repository=str(repository.path)))
        variables = Variables(database=database, cipher=Cipher(key=bytes(32)))
        inbox = Inbox(bench, Deliveries(database=database), repository, project, variables)
        async with _running(inbox, tmp_path, clock or SystemClock()):
            yield inbox


@asynccontextmanager
async def inbox_again(database: Database, tmp_path: Path, clock: Clock, before: Inbox) -> AsyncIterator[Inbox]:
    """The same project on another node, after the one before has ended."""
    async with bench_on(database) as bench:
        inbox = Inbox(bench, before.deliveries, before.repository, before.project, before.variables)
        async with _running(inbox, tmp_path, clock):
            yield inbox


@asynccontextmanager
async def _running(inbox: Inbox, tmp_path: Path, clock: Clock) -> AsyncIterator[None]:
    bench = inbox.bench
    node = Node(database=bench.database, id="one", address="http://127.0.0.1:1", cluster_key="k", clock=clock)
    builds = inbox.builds = node.namespace(
        "build",
        BuildBuddy,
        lambda ctx: BuildBuddy(
            ctx,
            provisions=Provisions(projects=bench.projects, secrets=bench.secrets),
            assignments=bench.assignments,
            hints=bench.hints,
            limits=LIMITS,
            seal_key=SEAL_KEY,
            archive=bench.archive(),
        ),
    )
    reader = GitReader(cache=tmp_path / "cache", allow_local=True)
    builder = inbox.builder = Builder(
        builds=bench.builds,
        variables=inbox.variables,
        buddies=builds,
        repository=reader,
        hints=bench.hints,
        defaults=PlanDefaults(settings=PlanSettings(), time_limit=60.0),
    )
    schedules = inbox.schedules = node.namespace(
        "schedules",
        Schedules,
        lambda ctx: Schedules(
            ctx, deliveries=inbox.deliveries, projects=bench.projects, repository=reader, hints=bench.hints
        ),
    )
    inboxes = node.namespace(
        "triggers",
        Triggers,
        lambda ctx: Triggers(
            ctx,
            deliveries=inbox.deliveries,
            projects=bench.projects,
            builder=builder,
            schedules=schedules,
            forges={"github": GitHub(), FORGE: OwnEvents()},
            hints=bench.hints,
        ),
    )
    async with node:
        await inboxes.ensure(triggers.SINGLETON)
        yield
