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
from msgspec.structs import replace

from buildsys.core.assignment import (
    MAX_JOB_OUTPUTS,
    Assignment,
    ContainerStarted,
    JobStopped,
    StepStarted,
    StepStopped,
)
from buildsys.core.build import Outcome
from buildsys.core.driver import ContainerSpec, ContainerStatus, Driver, Limits
from buildsys.core.expressions import ExpressionError
from buildsys.core.git import redact
from buildsys.errors import BuildsysError, ContainerRefused, DriverError, first_error
from buildsys.runner.arrivals import Arrivals
from buildsys.runner.container import JobContainer
from buildsys.runner.equipment import equipped, job_context
from buildsys.runner.folder import SETUP, JobFolder
from buildsys.runner.identity import Identity
from buildsys.runner.interruption import Cause, Interrupted, Interruption
from buildsys.runner.job_source import JobSource
from buildsys.runner.journal import Begun, Ended, Entry, Journal, Run
from buildsys.runner.orchestrator import Orchestrator
from buildsys.runner.reporter import Reporter, storable
from buildsys.runner.step_effects import size
from buildsys.runner.step_run import JobSteps, Overrun
from buildsys.runner.step_scope import Situation, situation

SAY_EVERY = 10.0
"""Seconds between two lines of a set-up that lasts."""

SPARE_LIFETIME = 60.0
"""Seconds that a container outlives its limit and grace, for the runner to end it in order."""

log = structlog.get_logger(__name__)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of a runner have in common: where their folders are, and what its administrator set."""

    installation: str
    jobs: Path
    name: str = ""
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
_CUT = {Cause.CANCELED: Outcome.CANCELED, Cause.TIMED_OUT: Outcome.TIMED_OUT}
"""The outcome of a step that is cut short, where those behind it may still run that do so after a cancel."""

_FINAL = {Outcome.CANCELED, Outcome.TIMED_OUT, Outcome.ERRORED}
"""Outcomes of a step that an earlier life of the runner reported just before it died, with the job's end still due."""

MAX_OUTPUTS_SIZE = 1 << 20
"""Bytes of a job's outputs, about what GitHub allows: 1 MB, "approximated based on UTF-16"."""


class Executor:
    """Runs one assignment to its reported end.

    `run` returns once the end is stored or the job is revoked; cancelling it leaves the container running for the next
    life of the runner. `clear` then removes what is left; where it raises, it is to be called again.

    After a cancel or at the limit the step that runs is asked to end, and then those run whose `if` says `always()` or
    `cancelled()`: all together within the assignment's grace (on GitHub within five minutes), then the job ends.
    """

    def __init__(
        self,
        *,
        assignment: Assignment,
        driver: Driver,
        orchestrator: Orchestrator,
        identity: Identity,
        site: Site,
        arrivals: Arrivals,
    ) -> None:
        self._assignment = assignment
        self._driver = driver
        self._site = site
        self._owner = identity.id
        self._folder = JobFolder(jobs=site.jobs, assignment=assignment.id, arrivals=arrivals)
        self._journal = Journal(self._folder.private / "journal")
        self._interruption = Interruption(remaining=assignment.remaining)
        self._reporter = Reporter(
            assignment=assignment,
            folder=self._folder,
            identity=identity,
            orchestrator=orchestrator,
            interruption=self._interruption,
            journal=self._journal,
        )
        self._spec = container_spec(assignment, site=site, folder=self._folder.path, runner=identity.id)
        self._container = JobContainer(driver=driver, spec=self._spec, folder=self._folder)
        self._source = JobSource(
            source=assignment.source, private=self._folder.private, allow_local=site.allow_local_repositories
        )
        self._is_set_up = False
        self._steps: JobSteps | None = None
        self._outputs: dict[str, str] = {}
        self._reporting: asyncio.Task[None] | None = None
        self._last_steps: asyncio.Timeout | None = None

    @property
    def cut_short(self) -> Cause | None:
        """Why the job is being brought to its end early; None while it is not."""
        return self._interruption.cause

    def interrupt(self, cause: Cause) -> None:
        """End the job early; takes effect at once."""
        self._interruption.request(cause)
        if cause is not Cause.REVOKED:
            return
        if self._reporting is not None:
            self._reporting.cancel()
        if self._last_steps is not None and not self._last_steps.expired():
            self._last_steps.reschedule(0.0)

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
        try:
            await self._end(verdict)
        finally:
            if self._steps is not None:
                self._steps.close()
            self._journal.close()

    async def _attempt(self) -> Verdict:
        try:
            kept = self._folder.claim(self._owner)
            for outcome in self._assignment.position.stopped.values():
                if outcome in _FINAL:
                    return await self._go_on_ending(outcome, kept=kept)
            async with self._interruption:
                await self._set_up(kept=kept)
                return await self._run_steps()
        except Interrupted as interrupted:
            if (cut := _CUT.get(interrupted.cause)) is not None and self._is_set_up:
                await self._run_last_steps(cut)
            return _ENDS[interrupted.cause]
        except (ExpressionError, Overrun, ContainerRefused) as error:
            return Verdict(outcome=Outcome.FAILED, reason=str(error))
        except BuildsysError as error:
            return Verdict(outcome=Outcome.ERRORED, reason=str(error))

    async def _set_up(self, *, kept: bool) -> None:
        """Commit and container; both are looked for before they are made."""
        position = self._assignment.position
        if SETUP in position.stopped:
            if not kept:
                raise DriverError("container lost: the job's folder is gone")
            self._prepare_steps()
            return
        self._reporter.mark(StepStarted(step=SETUP, at=_now()))
        found = self._situation()
        spec = equipped(self._spec, found)
        if not kept:
            if position.started:
                await self._container.remove()
            self._folder.create(event=msgspec.json.encode(found.contexts["github"].get("event") or {}))
        if self._folder.status(SETUP) is None:
            try:
                async with asyncio.TaskGroup() as group:
                    patience = group.create_task(self._say_how_long())
                    container = await self._make(spec)
                    patience.cancel()
            except BaseExceptionGroup as errors:
                raise first_error(errors) from None
            self._folder.finish_setup(container)
        else:
            self._container_started(self._folder.container.id)
        self._reporter.mark(StepStopped(step=SETUP, outcome=Outcome.SUCCESS, exit_code=0, at=_now()))
        self._prepare_steps()

    def _situation(self) -> Situation:
        """Raises `ExpressionError` where the job's own environment cannot be evaluated."""
        return situation(self._assignment, root=self._driver.root(self._spec), runner=self._site.name)

    def _prepare_steps(self) -> None:
        """The set-up is over; tell again what an earlier life told of the steps."""
        found = self._situation()
        self._steps = JobSteps(
            situation=replace(found, contexts={**found.contexts, "job": job_context(self._folder.container)}),
            folder=self._folder,
            container=self._container,
            journal=self._journal,
            tell=self._tell,
            source=self._source,
        )
        self._is_set_up = True
        for entry in self._journal.entries:
            self._tell(entry)

    async def _make(self, spec: ContainerSpec) -> ContainerStatus:
        """At the same time, unless the commit is needed to make the container's image."""
        if spec.build is not None:
            await self._fetch()
            return await self._start_container(spec)
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._fetch())
            container = parts.create_task(self._start_container(spec))
        return container.result()

    async def _start_container(self, spec: ContainerSpec) -> ContainerStatus:
        container = await self._container.start(spec, self._say)
        self._container_started(container.id)
        return container

    def _container_started(self, container: str) -> None:
        self._reporter.mark(ContainerStarted(container=container, driver=self._driver.name, at=_now()))

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
        self._folder.adopt_workspace(await self._source.commit())
        self._say(f"Checked out {source.commit} in {time.monotonic() - began:.1f} s")

    def _say(self, line: str) -> None:
        position = self._assignment.position
        self._folder.append_setup(line, least=position.offset if position.step == SETUP else 0)

    async def _run_steps(self) -> Verdict:
        assert self._steps is not None
        failed = await self._steps.run()
        self._outputs = _checked(self._steps.outputs())
        return Verdict(outcome=Outcome.FAILED if failed else Outcome.SUCCESS)

    async def _go_on_ending(self, outcome: Outcome, *, kept: bool) -> Verdict:
        """The end of a job that an earlier life of the runner began to bring to its end."""
        if kept and outcome is not Outcome.ERRORED:
            self._prepare_steps()
            await self._run_last_steps(outcome)
        return Verdict(outcome=outcome)

    async def _run_last_steps(self, cut: Outcome) -> None:
        """What runs after a cancel, as far as there is time for it; what goes wrong then does not matter any more."""
        assert self._steps is not None
        with suppress(TimeoutError, BuildsysError, ExpressionError):
            async with asyncio.timeout(self._assignment.grace) as self._last_steps:
                await self._steps.run(cut=cut)
                self._outputs = _checked(self._steps.outputs())
        self._last_steps = None

    async def _end(self, verdict: Verdict) -> None:
        """Container gone, log read to its end, all steps and the job reported."""
        if self._interruption.cause is Cause.REVOKED:
            return
        if self._interruption.cause is Cause.REFUSED:
            for begun in self._journal.open:
                await self._container.terminate(begun.number, grace=self._assignment.grace)
        reason = await self._container.remove()
        if reason is not None:
            verdict = Verdict(outcome=Outcome.ERRORED, reason=reason)
        if not self._is_set_up and SETUP not in self._assignment.position.stopped:
            if verdict.reason is not None:
                with suppress(OSError):  # a full disk has a reason, too, and no place for it
                    self._say(f"buildsys: error: {verdict.reason}")
            self._reporter.mark(StepStopped(step=SETUP, outcome=verdict.outcome, exit_code=None, at=_now()))
        self._end_steps(verdict.outcome)
        self._reporter.mark(
            JobStopped(
                outcome=verdict.outcome,
                reason=verdict.reason and storable(verdict.reason),
                outputs={name: storable(value) for name, value in self._outputs.items()},
                at=_now(),
            )
        )

    def _end_steps(self, outcome: Outcome) -> None:
        """Report the steps that were cut short, and those that did not run; the folder may be lost."""
        for begun in self._journal.open:
            code = self._exit_code(begun.number) if isinstance(begun.work, Run) else None
            self._record(Ended(key=begun.key, number=begun.number, outcome=outcome, exit_code=code, at=_now()))
        position = self._assignment.position
        for number in reversed(position.started):
            if number != SETUP and number not in position.stopped and number not in self._journal.order:
                self._reporter.mark(StepStopped(step=number, outcome=outcome, exit_code=None, at=_now()))
        for number in range(1, len(self._assignment.job.steps) + 1):
            if str(number) not in self._journal.ended and number not in position.started:
                self._record(Ended(key=str(number), number=number, outcome=Outcome.SKIPPED, at=_now()))

    def _record(self, entry: Ended) -> None:
        with suppress(OSError):  # a full disk: then it is told, and not remembered
            self._journal.append(entry)
        self._tell(entry)

    def _exit_code(self, step: int) -> int | None:
        """Of a step that was cut short: there may be none, or a forged one."""
        with suppress(DriverError):
            return self._folder.status(step)
        return None

    def _tell(self, entry: Entry) -> None:
        """Report what was written down."""
        if isinstance(entry, Begun):
            self._reporter.mark(
                StepStarted(step=entry.number, name=storable(entry.name), parent=entry.parent, at=entry.at)
            )
        elif entry.number is not None:
            self._reporter.mark(
                StepStopped(
                    step=entry.number,
                    outcome=entry.outcome,
                    exit_code=entry.exit_code,
                    tolerated=entry.tolerated,
                    summary=entry.summary,
                    at=entry.at,
                )
            )


def _now() -> datetime:
    return datetime.now(UTC)


def _checked(outputs: dict[str, str]) -> dict[str, str]:
    """A job's outputs. Raises `ExpressionError` for more than are kept."""
    if len(outputs) > MAX_JOB_OUTPUTS:
        raise ExpressionError(f"the job has more than {MAX_JOB_OUTPUTS:,} outputs", at=0)
    if size(outputs) > MAX_OUTPUTS_SIZE:
        raise ExpressionError(f"the job's outputs are larger than {MAX_OUTPUTS_SIZE >> 20} MiB", at=0)
    return outputs


def container_name(installation: str, assignment: UUID) -> str:
    return f"buildsys-{installation}-{assignment}"


def container_spec(assignment: Assignment, *, site: Site, folder: Path, runner: str) -> ContainerSpec:
    """What is known of the container without evaluating anything: enough to find and to remove it."""
    return ContainerSpec(
        name=container_name(site.installation, assignment.id),
        folder=folder,
        lifetime=max(assignment.remaining, 0.0) + assignment.grace + SPARE_LIFETIME,
        image=assignment.job.container.image if assignment.job.container else None,
        labels={
            "buildsys.installation": site.installation,
            "buildsys.runner": runner,
            "buildsys.build": str(assignment.build),
            "buildsys.job": assignment.job.id,
            "buildsys.assignment": str(assignment.id),
        },
        limits=site.limits,
    )
