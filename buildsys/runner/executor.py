"""The life of one job: set-up, steps, end.

It is played from the beginning in every life of the runner. Whatever the job's folder shows as done is not done again,
so a job that was in the middle of a step goes on in the middle of that step.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

from buildsys.core.assignment import Assignment, ContainerStarted, JobStopped, StepStarted, StepStopped
from buildsys.core.build import Outcome
from buildsys.core.driver import ContainerSpec, Driver, Limits
from buildsys.core.git import redact
from buildsys.core.plan import Condition
from buildsys.errors import BuildsysError, DriverError
from buildsys.runner.container import JobContainer
from buildsys.runner.errors import first_error
from buildsys.runner.folder import SETUP, JobFolder
from buildsys.runner.git import GitFetch
from buildsys.runner.identity import Identity
from buildsys.runner.interruption import Cause, Interrupted, Interruption
from buildsys.runner.orchestrator import Orchestrator
from buildsys.runner.pace import Pace
from buildsys.runner.removal import remove_tree
from buildsys.runner.reporter import Reporter, storable
from buildsys.runner.script import program

INSPECT_EVERY = 1.0
"""Seconds between two looks at a container whose step is silent about its end."""

SAY_EVERY = 10.0
"""Seconds between two lines of a set-up that lasts."""

SPARE_LIFETIME = 60.0
"""Seconds that a container outlives its limit and grace, for the runner to end it in order."""

log = structlog.get_logger(__name__)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of a runner have in common: where their folders are, and what its administrator set."""

    installation: str
    jobs: Path
    limits: Limits = Limits()
    allow_local_repositories: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    reason: str | None = None


_ENDS = {
    Cause.CANCELED: Verdict(outcome=Outcome.CANCELED),
    Cause.TIMED_OUT: Verdict(outcome=Outcome.TIMED_OUT),
    Cause.REFUSED: Verdict(outcome=Outcome.ERRORED),
    Cause.REVOKED: Verdict(outcome=Outcome.CANCELED),
}
_FINAL = {Outcome.CANCELED, Outcome.TIMED_OUT, Outcome.ERRORED}
"""Outcomes of a step that an earlier life of the runner reported just before it died, with the job's end still due."""


class Executor:
    """Runs one assignment to its reported end.

    `run` returns once the end is stored or the job is revoked; cancelling it leaves the container running for the next
    life of the runner. `clear` then removes what is left; where it raises, it is to be called again.

    After a cancel or at the limit no further step runs, not even one that says `always()`.
    """

    def __init__(
        self, *, assignment: Assignment, driver: Driver, orchestrator: Orchestrator, identity: Identity, site: Site
    ) -> None:
        self._assignment = assignment
        self._driver = driver
        self._site = site
        self._owner = identity.id
        self._folder = JobFolder(jobs=site.jobs, assignment=assignment.id)
        self._interruption = Interruption(remaining=assignment.remaining)
        self._reporter = Reporter(
            assignment=assignment,
            folder=self._folder,
            identity=identity,
            orchestrator=orchestrator,
            interruption=self._interruption,
        )
        self._spec = container_spec(assignment, site=site, folder=self._folder.path, runner=identity.id)
        self._container = JobContainer(driver=driver, spec=self._spec, folder=self._folder)
        self._outcomes = dict(assignment.position.stopped)
        self._current = next((n for n in assignment.position.started if n not in self._outcomes), None)
        self._reporting: asyncio.Task[None] | None = None

    @property
    def cut_short(self) -> Cause | None:
        """Why the job is being brought to its end early; None while it is not."""
        return self._interruption.cause

    def interrupt(self, cause: Cause) -> None:
        """End the job early; takes effect at once."""
        self._interruption.request(cause)
        if cause is Cause.REVOKED and self._reporting is not None:
            self._reporting.cancel()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._reporting = group.create_task(self._reporter.run())
            await self._work()
            if self._interruption.cause is Cause.REVOKED:
                self._reporting.cancel()

    async def clear(self) -> None:
        """Remove what is left of the container, then the job's folder."""
        await self._container.clear()

    async def _work(self) -> None:
        try:
            verdict = await self._attempt()
        except Exception as error:
            log.exception("job_errored", assignment=str(self._assignment.id))
            verdict = Verdict(outcome=Outcome.ERRORED, reason=f"{type(error).__name__}: {error}")
        await self._end(verdict)

    async def _attempt(self) -> Verdict:
        try:
            kept = self._folder.claim(self._owner)
            for outcome in self._outcomes.values():
                if outcome in _FINAL:
                    return Verdict(outcome=outcome)
            async with self._interruption:
                await self._set_up(kept=kept)
                return await self._run_steps()
        except Interrupted as interrupted:
            return _ENDS[interrupted.cause]
        except BuildsysError as error:
            return Verdict(outcome=Outcome.ERRORED, reason=str(error))

    async def _set_up(self, *, kept: bool) -> None:
        """Commit and container, at the same time; both are looked for before they are made."""
        position = self._assignment.position
        if SETUP in position.stopped:
            if not kept:
                raise DriverError("container lost: the job's folder is gone")
            return
        self._begin(SETUP)
        if not kept:
            if position.started:
                await self._container.remove()
            self._write_folder()
        if self._folder.status(SETUP) is None:
            try:
                async with asyncio.TaskGroup() as group:
                    patience = group.create_task(self._say_how_long())
                    async with asyncio.TaskGroup() as parts:
                        parts.create_task(self._fetch())
                        container = parts.create_task(self._start_container())
                    patience.cancel()
            except BaseExceptionGroup as errors:
                raise first_error(errors) from None
            self._folder.finish_setup(container.result())
        else:
            self._container_started(self._folder.container)
        self._stop(SETUP, Outcome.SUCCESS, 0)

    def _write_folder(self) -> None:
        job, root = self._assignment.job, self._driver.root(self._spec)
        env = {**self._assignment.env, **job.env}
        programs = {step.number: program(step, root=root, env=env) for step in job.steps}
        self._folder.create(programs, log_limit=self._assignment.log_limit)

    async def _start_container(self) -> str:
        container = await self._container.start(self._say)
        self._container_started(container)
        return container

    def _container_started(self, container: str) -> None:
        self._reporter.mark(ContainerStarted(container=container, driver=self._driver.name, at=datetime.now(UTC)))

    async def _say_how_long(self) -> None:
        """A sign of life now and then: a large repository or image may take longer than a runner may be silent."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(SAY_EVERY)
            self._say(f"Still setting up after {time.monotonic() - began:.0f} s")

    async def _fetch(self) -> None:
        source = self._assignment.source
        if source is None or self._folder.has_workspace():
            return
        self._say(f"Fetching {source.commit} from {redact(source.url, source.credential)}")
        began = time.monotonic()
        near = self._folder.private / "source"
        await asyncio.to_thread(remove_tree, near)
        near.mkdir(mode=0o700)
        fresh = near / "workspace"
        await GitFetch(allow_local=self._site.allow_local_repositories).checkout(source, fresh)
        fresh.chmod(0o777)
        self._folder.adopt_workspace(fresh)
        self._say(f"Checked out {source.commit} in {time.monotonic() - began:.1f} s")

    def _say(self, line: str) -> None:
        position = self._assignment.position
        self._folder.append_setup(line, least=position.offset if position.step == SETUP else 0)

    async def _run_steps(self) -> Verdict:
        failed = False
        for step in self._assignment.job.steps:
            if step.number not in self._outcomes:
                if not _wanted(step.condition, failed=failed):
                    self._stop(step.number, Outcome.SKIPPED, None)
                    continue
                self._begin(step.number)
                status = await self._finish_step(step.number)
                self._stop(step.number, Outcome.FAILED if status else Outcome.SUCCESS, status)
            if self._outcomes[step.number] is Outcome.FAILED and not step.continue_on_error:
                failed = True
        return Verdict(outcome=Outcome.FAILED if failed else Outcome.SUCCESS)

    async def _finish_step(self, step: int) -> int:
        """Have the step run, unless it was, and wait for its exit status."""
        pace = Pace()
        told = float("-inf")
        looked = time.monotonic()
        while (status := self._folder.status(step)) is None:
            now = time.monotonic()
            if now - told >= INSPECT_EVERY and not self._folder.is_started(step) and self._folder.start(step):
                told = now
            if now - looked >= INSPECT_EVERY:
                looked = now
                lost = await self._container.lost()
                if lost is not None and (status := self._folder.status(step)) is None:
                    raise DriverError(f"container lost: {lost}")
            await pace.wait()
        return status

    async def _end(self, verdict: Verdict) -> None:
        """Container gone, log read to its end, all steps and the job reported."""
        if self._interruption.cause is Cause.REVOKED:
            return
        if self._interruption.cause is not None and self._current is not None:
            await self._container.terminate(self._current, grace=self._assignment.grace)
        reason = await self._container.remove()
        if reason is not None:
            verdict = Verdict(outcome=Outcome.ERRORED, reason=reason)
        if self._current is not None:
            if verdict.reason is not None and self._current == SETUP:
                with suppress(OSError):  # a full disk has a reason, too, and no place for it
                    self._say(f"buildsys: error: {verdict.reason}")
            self._stop(self._current, verdict.outcome, self._exit_code(self._current))
        for step in self._assignment.job.steps:
            if step.number not in self._outcomes:
                self._stop(step.number, Outcome.SKIPPED, None)
        reason = verdict.reason and storable(verdict.reason)
        self._reporter.mark(JobStopped(outcome=verdict.outcome, reason=reason, at=datetime.now(UTC)))

    def _exit_code(self, step: int) -> int | None:
        """Of a step that was cut short: there may be none, or a forged one."""
        with suppress(DriverError):
            return self._folder.status(step) if step != SETUP else None
        return None

    def _begin(self, step: int) -> None:
        self._current = step
        self._reporter.mark(StepStarted(step=step, at=datetime.now(UTC)))

    def _stop(self, step: int, outcome: Outcome, exit_code: int | None) -> None:
        self._current = None
        self._outcomes[step] = outcome
        self._reporter.mark(StepStopped(step=step, outcome=outcome, exit_code=exit_code, at=datetime.now(UTC)))


def container_name(installation: str, assignment: UUID) -> str:
    return f"buildsys-{installation}-{assignment}"


def container_spec(assignment: Assignment, *, site: Site, folder: Path, runner: str) -> ContainerSpec:
    return ContainerSpec(
        name=container_name(site.installation, assignment.id),
        folder=folder,
        lifetime=max(assignment.remaining, 0.0) + assignment.grace + SPARE_LIFETIME,
        image=assignment.job.image,
        labels={
            "buildsys.installation": site.installation,
            "buildsys.runner": runner,
            "buildsys.build": str(assignment.build),
            "buildsys.job": assignment.job.id,
            "buildsys.assignment": str(assignment.id),
        },
        limits=site.limits,
    )


def _wanted(condition: Condition, *, failed: bool) -> bool:
    return condition is Condition.ALWAYS or (condition is Condition.FAILURE) == failed
