"""Polls for assignments and holds one executor a job."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar
from uuid import UUID

import msgspec
import structlog

from buildsys.core.assignment import Assignment, Poll, PollReply, Position
from buildsys.core.driver import ContainerSpec, ContainerStatus, Driver, Limits
from buildsys.core.planned import PlannedJob
from buildsys.errors import BuildsysError, DriverError, Forbidden, Unauthorized, first_error
from buildsys.runner.arrivals import Arrivals
from buildsys.runner.container import JobContainer, delete
from buildsys.runner.executor import Executor, Site
from buildsys.runner.folder import JobFolder, owned
from buildsys.runner.identity import Identity
from buildsys.runner.interruption import Cause
from buildsys.runner.orchestrator import Orchestrator
from buildsys.runner.pace import backoff
from buildsys.runner.spreading import spread

POLL_WAIT = 30.0
LOOK_AT_DRIVERS = 5.0
"""Seconds between two looks at the engines, and how long an engine may take to answer one."""

CRASH_PAUSE = 1.0
"""Seconds before a job whose executor broke is let go, to be handed out again."""

LONGEST_REST = 300.0
"""Seconds, at most, between two attempts to remove what is left of a job."""

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class RunnerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner's administrator sets.

    `data` holds the runner's identity, `jobs` its jobs' folders (the process driver, as root, says where those must
    be); no two runners share either, and `jobs` goes when a runner stops and leaves no job in it. `name` is for people,
    the host's unless set; `slots` is how many jobs run at a time, `limits` hold for each.
    """

    installation: str
    data: Path
    jobs: Path
    name: str = msgspec.field(default_factory=socket.gethostname)
    slots: int = 2
    labels: tuple[str, ...] = ()
    limits: Limits = Limits()
    allow_local_repositories: bool = False


class Runner:
    """Runs the jobs that an orchestrator hands out: `async with Runner(...) as runner: await runner.run()`.

    A job goes to the driver that its `runs_on` names, else to the first of `drivers`, which stay the caller's to close.
    Cancelling `run` stops the runner and leaves the containers: the next life of the same data folder goes on with
    them. What an earlier life left behind and nobody wants any more is removed once the orchestrator has answered.
    """

    def __init__(self, *, config: RunnerConfig, drivers: tuple[Driver, ...], orchestrator: Orchestrator) -> None:
        self._config = config
        self._drivers = drivers
        self._orchestrator = orchestrator
        self._site = Site(
            installation=config.installation,
            jobs=config.jobs,
            name=config.name,
            limits=config.limits,
            allow_local_repositories=config.allow_local_repositories,
        )
        self._closing = AsyncExitStack()
        self._jobs: dict[UUID, Executor] = {}
        self._left = 0
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._problem: str | None = None
        self._pause: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        self._identity = Identity.claim(self._config.data)
        self._config.jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        spread(self._config.jobs)
        self._arrivals = await self._closing.enter_async_context(Arrivals())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()
        self._identity.release()
        with suppress(OSError):  # jobs are left in it, for the next life
            self._config.jobs.rmdir()

    @property
    def id(self) -> str:
        return self._identity.id

    @property
    def holding(self) -> tuple[UUID, ...]:
        """The assignments this runner has now; a revoked one is none of them any more."""
        return tuple(id for id, executor in self._jobs.items() if executor.cut_short is not Cause.REVOKED)

    def wake(self) -> None:
        """A hint that there is news: poll now instead of waiting out a pause."""
        if self._pause is not None and not self._pause.expired():
            self._pause.reschedule(0.0)

    async def settle(self) -> None:
        """Return when nothing is left of the jobs that were taken so far: no container, no folder."""
        await self._none_left.wait()

    async def run(self) -> None:
        """Poll and run jobs until cancelled. Raises `Unauthorized` and `Forbidden` where the orchestrator does."""
        try:
            async with asyncio.TaskGroup() as group:
                self._problem = await self._find_problem()
                group.create_task(self._watch_drivers())
                await self._serve(group)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None

    async def _serve(self, group: asyncio.TaskGroup) -> NoReturn:
        answered = False
        failures = 0
        while True:
            try:
                reply = await self._poll(wait=POLL_WAIT if answered else 0.0)
            except (Unauthorized, Forbidden):
                raise
            except BuildsysError as error:
                failures += 1
                if failures == 1:
                    log.warning("orchestrator_away", error=str(error))
                await self._or_news(asyncio.sleep(backoff(failures)))
                continue
            failures = 0
            for assignment in reply.assignments:
                self._take(assignment, group)
            for id in reply.cancel:
                self._interrupt(id, Cause.CANCELED)
            for id in reply.revoked:
                self._interrupt(id, Cause.REVOKED)
            if not answered:
                answered = True
                group.create_task(self._sweep())

    async def _watch_drivers(self) -> None:
        """Take no jobs while an engine is away: they wait for it, and say so, instead of failing here."""
        while True:
            await asyncio.sleep(LOOK_AT_DRIVERS)
            before, self._problem = self._problem, await self._find_problem()
            if self._problem != before:
                log.warning("drivers_changed", problem=self._problem)
                self.wake()

    async def _find_problem(self) -> str | None:
        for driver in self._drivers:
            try:
                async with asyncio.timeout(LOOK_AT_DRIVERS):
                    await driver.inspect(f"buildsys-{self._config.installation}-probe")
            except DriverError as error:
                return str(error)
            except TimeoutError:
                return f"the {driver.name} driver's engine has not answered in {LOOK_AT_DRIVERS:g} s"
        return None

    async def _poll(self, *, wait: float) -> PollReply:
        """Ask for work. Without a free slot the question is dropped when one gets free: nothing can be lost with it."""
        free = 0 if self._problem else max(self._config.slots - len(self._jobs), 0)
        poll = Poll(
            runner=self._identity.id,
            name=self._config.name,
            incarnation=self._identity.incarnation,
            drivers=tuple(driver.name for driver in self._drivers),
            labels=self._config.labels,
            slots=free,
            holding=self.holding,
            ending=tuple(id for id, executor in self._jobs.items() if executor.cut_short),
            problem=self._problem,
            wait=wait,
        )
        if free:
            return await self._orchestrator.poll(poll)
        return await self._or_news(self._orchestrator.poll(poll)) or PollReply()

    async def _or_news(self, waiting: Awaitable[_T]) -> _T | None:
        """The awaited, or None as soon as there is news."""
        pause = self._pause = asyncio.timeout(None)
        try:
            async with pause:
                return await waiting
        except TimeoutError:
            if pause.expired():
                return None
            raise
        finally:
            self._pause = None

    def _take(self, assignment: Assignment, group: asyncio.TaskGroup) -> None:
        if assignment.id in self._jobs:
            return
        executor = Executor(
            assignment=assignment,
            driver=self._driver(assignment.job),
            orchestrator=self._orchestrator,
            identity=self._identity,
            site=self._site,
            arrivals=self._arrivals,
        )
        self._jobs[assignment.id] = executor
        self._left += 1
        self._none_left.clear()
        group.create_task(self._log_job(assignment, executor))

    async def _log_job(self, assignment: Assignment, executor: Executor) -> None:
        """One job, between the two lines that tell the operator of it; those of its own say whose they are."""
        names = {"build": str(assignment.build), "project": assignment.project, "job": assignment.job.id}
        with structlog.contextvars.bound_contextvars(**names):
            log.info("job_taken", assignment=str(assignment.id), again=assignment.position != Position())
            await self._execute(assignment.id, executor)
            log.info("job_ended", assignment=str(assignment.id), cut_short=executor.cut_short)
        self._left -= 1
        if not self._left:
            self._none_left.set()

    async def _execute(self, id: UUID, executor: Executor) -> None:
        """One job, from which no error reaches another: what breaks here is let go, and handed out again."""
        try:
            await executor.run()
        except Exception:
            log.exception("executor_broke", assignment=str(id))
            await asyncio.sleep(CRASH_PAUSE)
            self._release(id)
            return
        self._release(id)
        await _clear(id, executor.clear)

    def _release(self, id: UUID) -> None:
        del self._jobs[id]
        self.wake()

    def _interrupt(self, id: UUID, cause: Cause) -> None:
        if id in self._jobs:
            self._jobs[id].interrupt(cause)

    def _driver(self, job: PlannedJob) -> Driver:
        named = [driver for driver in self._drivers if driver.name in job.runs_on]
        return (named or self._drivers)[0]

    async def _sweep(self) -> None:
        """Remove the containers and folders of earlier lives that are no job's any more."""
        mine = {"buildsys.installation": self._config.installation, "buildsys.runner": self._identity.id}
        clearing: dict[UUID, Callable[[], Awaitable[None]]] = {}
        for driver in self._drivers:
            for left in await _patiently(driver, mine):
                id = UUID(left.labels["buildsys.assignment"])
                folder = JobFolder(jobs=self._config.jobs, assignment=id)
                spec = ContainerSpec(name=left.name, folder=folder.path, lifetime=0.0, labels=left.labels)
                clearing[id] = JobContainer(driver=driver, spec=spec, folder=folder).clear
        for id in owned(self._config.jobs, self._identity.id):
            folder = JobFolder(jobs=self._config.jobs, assignment=id)
            clearing.setdefault(id, partial(delete, folder))
        async with asyncio.TaskGroup() as group:
            for id, clear in clearing.items():
                if id not in self._jobs:
                    group.create_task(_clear(id, clear))


async def _clear(id: UUID, clear: Callable[[], Awaitable[None]]) -> None:
    """Remove what is left of a job, however often that fails: no job's remains end the runner, or last unseen."""
    attempt = 0
    while True:
        try:
            return await clear()
        except Exception as error:
            attempt += 1
            log.warning("remains_not_removed", assignment=str(id), error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(backoff(attempt, most=LONGEST_REST))


async def _patiently(driver: Driver, labels: dict[str, str]) -> list[ContainerStatus]:
    attempt = 0
    while True:
        try:
            return await driver.list(labels)
        except DriverError:
            attempt += 1
            await asyncio.sleep(backoff(attempt))
