"""The durable objects on a real database, with a runner that does as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import zstandard

from actors import Clock, Context, Database, Namespace, Node, NodeSettings, SystemClock
from actors.testing import Cluster, run_alarm, run_in_actor
from buildsys.core.assignment import (
    Assignment,
    ContainerStarted,
    Item,
    JobStopped,
    LogBatch,
    Poll,
    PollReply,
    Report,
    ReportReply,
    StepStarted,
    StepStopped,
)
from buildsys.core.blobs import Blobs
from buildsys.core.build import Build, Outcome, State
from buildsys.core.definition import Workflow
from buildsys.core.events import Event
from buildsys.core.project import Project, ProjectSettings
from buildsys.core.workflow_file import decode_workflow
from buildsys.objects import scheduler
from buildsys.objects.build_buddy import BuildBuddy, BuildLimits
from buildsys.objects.dispatcher import Dispatcher
from buildsys.objects.log_archive import LogArchive
from buildsys.objects.log_verification import LogVerification
from buildsys.objects.provisions import Provisions
from buildsys.objects.scheduler import Scheduler
from buildsys.store.archives import Archives
from buildsys.store.assignments import Assignments
from buildsys.store.builds import Builds
from buildsys.store.cipher import Cipher
from buildsys.store.hints import Hints
from buildsys.store.logs import Logs
from buildsys.store.projects import Projects
from buildsys.store.secrets import Secrets
from buildsys.testing import queue_build

SEAL_KEY = b"a seal"
INSTALLATION = "this-installation"

LIMITS = BuildLimits(startup=120.0, silence=120.0, grace=1.0)


def workflow_of(**needs: tuple[str, ...]) -> Workflow:
    """A workflow of jobs with one step each, which need each other as given."""
    steps = [{"name": "say", "run": "echo hello"}]
    jobs = {id: {"runs-on": "linux", "needs": list(need), "steps": steps} for id, need in needs.items()}
    return decode_workflow(json.dumps({"on": "push", "jobs": jobs}), file="ci.yml")


ONE_JOB = workflow_of(a=())


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What the condition, or the awaitable that it returns, gives once that is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Objects:
    """One node's namespaces, and what runners of this node talk to."""

    node: Node
    builds: Namespace[BuildBuddy]
    schedulers: Namespace[Scheduler]
    dispatcher: Dispatcher

    @property
    def scheduler(self) -> Scheduler:
        return self.schedulers.get(scheduler.SINGLETON)

    def buddy(self, build: UUID) -> BuildBuddy:
        return self.builds.get(str(build))

    async def ring(self) -> None:
        """Let the Scheduler look at the queue, once or more often: it goes on by itself."""

        async def set_alarm(scheduler: Scheduler) -> None:
            scheduler.ctx.set_alarm(scheduler.ctx.clock.now())

        await run_in_actor(self.scheduler, set_alarm)
        await run_alarm(self.scheduler)


class Bench:
    """Stores on one database, and nodes in this process."""

    def __init__(self, database: Database, hints: Hints) -> None:
        self.database = database
        self.hints = hints
        self.projects = Projects(database=database, cipher=Cipher(key=bytes(32)))
        self.builds = Builds(database=database)
        self.secrets = Secrets(database=database, cipher=Cipher(key=bytes(32)))
        self.assignments = Assignments(database=database)
        self.logs = Logs(database=database)
        self.archives = Archives(database=database, key=SEAL_KEY)

    def archive(self, blobs: Blobs | None = None) -> LogArchive:
        return LogArchive(logs=self.logs, archives=self.archives, blobs=blobs, installation=INSTALLATION)

    def verification(self, blobs: Blobs | None = None, *, key: bytes = SEAL_KEY) -> LogVerification:
        return LogVerification(
            builds=self.builds, logs=self.archive(blobs), archives=self.archives, blobs=blobs, key=key
        )

    async def project(self, name: str = "shop", *, max_running: int | None = None) -> Project:
        return await self.projects.create(
            name, ProjectSettings(repository="https://git.example/shop.git", max_running=max_running)
        )

    async def queue(
        self,
        project: Project,
        *,
        workflow: Workflow = ONE_JOB,
        called: Mapping[str, Workflow] | None = None,
        event: Event | None = None,
        priority: int = 0,
        time_limit: float = 1200.0,
    ) -> UUID:
        return await queue_build(
            self.builds,
            project.id,
            workflow,
            called=called,
            event=event,
            commit="c" * 40,
            title="Change",
            time_limit=time_limit,
            priority=priority,
        )

    async def state(self, build: UUID) -> tuple[State, Outcome | None]:
        found = await self.builds.get(build)
        return found.state, found.outcome

    async def states(self) -> dict[UUID, State]:
        rows = await self.database.pool.fetch("SELECT id, state FROM builds")
        return {row["id"]: State(row["state"]) for row in rows}

    async def started(self) -> set[UUID]:
        return {build for build, state in (await self.states()).items() if state != State.QUEUED}

    async def stopped(self, build: UUID) -> Build:
        await until(lambda: self._is_stopped(build))
        return await self.builds.get(build)

    async def kinds(self, build: UUID) -> list[str]:
        """The kinds of the log's records; their cursors have neither hole nor overlap."""
        records = await self.logs.read(build, after=0, size=10_000)
        for before, after in pairwise(records):
            assert after.first == before.last + 1
        assert not records or records[0].first == 1
        return [record.kind for record in records]

    @asynccontextmanager
    async def nodes(
        self,
        size: int = 1,
        *,
        buddy: type[BuildBuddy] = BuildBuddy,
        limits: BuildLimits = LIMITS,
        max_running: int = 100,
        clock: Clock | None = None,
        blobs: Blobs | None = None,
        **settings: Any,
    ) -> AsyncIterator[Cluster[Objects]]:
        clock = clock or SystemClock()
        archive = self.archive(blobs)

        def make(ctx: Context) -> BuildBuddy:
            return buddy(
                ctx,
                provisions=Provisions(projects=self.projects, secrets=self.secrets),
                assignments=self.assignments,
                hints=self.hints,
                limits=limits,
                seal_key=SEAL_KEY,
                archive=archive,
            )

        def declare(node: Node) -> Objects:
            builds = node.namespace("build", buddy, make)
            schedulers = node.namespace(
                "scheduler",
                Scheduler,
                lambda ctx: Scheduler(
                    ctx,
                    buddies=builds,
                    hints=self.hints,
                    max_running=max_running,
                    start_concurrency=6,
                    seal_key=SEAL_KEY,
                ),
            )
            dispatcher = Dispatcher(assignments=self.assignments, buddies=builds, hints=self.hints, clock=clock)
            return Objects(node=node, builds=builds, schedulers=schedulers, dispatcher=dispatcher)

        node_settings = NodeSettings(**settings)
        async with Cluster(self.database, size, declare=declare, clock=clock, settings=node_settings) as cluster:
            yield cluster

    async def _is_stopped(self, build: UUID) -> bool:
        return (await self.state(build))[0] == State.STOPPED


@asynccontextmanager
async def bench_on(database: Database) -> AsyncIterator[Bench]:
    async with Hints(database=database) as hints:
        yield Bench(database, hints)


class Hand:
    """A runner that pulls when it is told to, and reports what it is told to of one job."""

    assignment: Assignment

    def __init__(
        self, objects: Objects, *, id: UUID | None = None, incarnation: int = 1, token: UUID | None = None
    ) -> None:
        self.objects = objects
        self.token = token
        self.id = id or uuid4()
        self.incarnation = incarnation
        self.holding: tuple[UUID, ...] = ()
        self.ending: tuple[UUID, ...] = ()

    async def poll(self, *, slots: int = 1, wait: float = 0.0, labels: tuple[str, ...] = ("linux",)) -> PollReply:
        reply = await self.objects.dispatcher.poll(
            Poll(
                runner=str(self.id),
                name="hand",
                incarnation=self.incarnation,
                drivers=("process",),
                labels=labels,
                slots=slots,
                holding=self.holding,
                ending=self.ending,
                wait=wait,
            ),
            token=self.token,
        )
        self.holding = (*self.holding, *(one.id for one in reply.assignments))
        return reply

    async def take(self) -> Assignment:
        """The next job, once there is one: from now on it is the one that is reported on."""
        while not (found := (await self.poll(wait=20.0)).assignments):
            pass
        self.assignment = found[0]
        return self.assignment

    def words(self, *items: Item) -> Report:
        return Report(
            assignment=self.assignment.id,
            build=self.assignment.build,
            runner=str(self.id),
            incarnation=self.incarnation,
            items=items,
        )

    async def report(self, *items: Item) -> ReportReply:
        return await self.objects.dispatcher.report(self.words(*items), token=self.token)

    async def run(self, outcome: Outcome = Outcome.SUCCESS) -> None:
        """Report the whole job, which prints one line."""
        await self.report(*begun(), output(0, b"hello\n"), *ended(outcome))


def begun() -> tuple[Item, ...]:
    """From the first item of a job's reports to its first step's output."""
    return (
        StepStarted(step=0, at=datetime.now(UTC)),
        ContainerStarted(container="c1", driver="process", at=datetime.now(UTC)),
        StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=None, at=datetime.now(UTC)),
        StepStarted(step=1, at=datetime.now(UTC)),
    )


def output(offset: int, text: bytes, *, step: int = 1) -> LogBatch:
    return LogBatch(
        step=step,
        offset=offset,
        end=offset + len(text),
        lines=text.count(b"\n") + (not text.endswith(b"\n")),
        frame=zstandard.compress(text),
        at=datetime.now(UTC),
    )


def ended(outcome: Outcome = Outcome.SUCCESS) -> tuple[Item, ...]:
    """The last items of a job whose step ended so."""
    exit_code = {Outcome.SUCCESS: 0, Outcome.FAILED: 1}.get(outcome)
    return (
        StepStopped(step=1, outcome=outcome, exit_code=exit_code, at=datetime.now(UTC)),
        JobStopped(outcome=outcome, at=datetime.now(UTC)),
    )
