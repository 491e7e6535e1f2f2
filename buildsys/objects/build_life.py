"""What a build's actor knows of its build, and every way in which that changes.

Pure: no I/O and no clock. Each change goes into memory, into `records` (what the build's log says of it) and into the
marks of what must be written (`changed`, `changed_jobs`, `changed_steps`); the actor writes all of it in one commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from buildsys.core.assignment import (
    ContainerStarted,
    Item,
    JobStopped,
    LogBatch,
    Position,
    StepStarted,
    StepStopped,
)
from buildsys.core.build import Outcome, State
from buildsys.core.logs import END, GAP, LINES, STEP_STARTED, STEP_STOPPED, TRUNCATED, LogChange
from buildsys.core.plan import JobPlan, Plan

WORST_FIRST = (Outcome.ERRORED, Outcome.TIMED_OUT, Outcome.CANCELED, Outcome.FAILED)
"""A build's outcome is the first of these that any of its jobs has, else success."""


@dataclass(slots=True)
class StepLife:
    """A step; `stored` is how many raw bytes of its log are in the store, and `is_cut` says that no more will be."""

    number: int
    state: State = State.QUEUED
    outcome: Outcome | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    stored: int = 0
    is_cut: bool = False


@dataclass(slots=True)
class JobLife:
    """A job and who runs it. `assignment` is set while it is offered or held."""

    plan: JobPlan
    steps: dict[int, StepLife]
    state: State = State.QUEUED
    outcome: Outcome | None = None
    reason: str | None = None
    assignment: UUID | None = None
    runner: UUID | None = None
    incarnation: int | None = None
    container: str | None = None
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None

    @property
    def is_stopped(self) -> bool:
        return self.state == State.STOPPED

    @property
    def untold(self) -> list[StepLife]:
        """The steps that may have printed more than is known: those that run, or else the next one that a runner has.

        A runner reports the end of every step, also of one that it skips.
        """
        left = [step for step in self.steps.values() if step.state != State.STOPPED]
        running = [step for step in left if step.state == State.RUNNING]
        return running or (left[:1] if self.runner is not None else [])

    @property
    def position(self) -> Position:
        """Where the sequence of this job's reports stands."""
        current = max((s.number for s in self.steps.values() if s.stored or s.state != State.QUEUED), default=0)
        return Position(
            step=current,
            offset=self.steps[current].stored,
            cut=self.steps[current].is_cut,
            container=self.container,
            started=tuple(s.number for s in self.steps.values() if s.started_at is not None),
            stopped={s.number: s.outcome for s in self.steps.values() if s.outcome is not None},
        )


@dataclass(slots=True)
class BuildLife:
    """A build with its jobs. `stopping` is how its jobs have been ordered to end, if they have.

    `log_left` are the bytes that its steps may still print. Where one of them was cut, nothing is left: what that step
    would have had masked is not known.
    """

    id: UUID
    jobs: dict[str, JobLife]
    log_left: int = 1 << 30
    state: State = State.QUEUED
    outcome: Outcome | None = None
    reason: str | None = None
    stopping: Outcome | None = None
    cancel_requested_at: datetime | None = None
    starting_at: datetime | None = None
    running_at: datetime | None = None
    stopped_at: datetime | None = None
    records: list[LogChange] = field(default_factory=list)
    changed: bool = False
    changed_jobs: set[str] = field(default_factory=set)
    changed_steps: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def of_plan(cls, id: UUID, plan: Plan) -> BuildLife:
        """A queued build."""
        return cls(
            id=id,
            jobs={
                job.id: JobLife(
                    plan=job, steps={n: StepLife(number=n) for n in (0, *(step.number for step in job.steps))}
                )
                for job in plan.jobs
            },
        )

    @property
    def is_stopped(self) -> bool:
        return self.state == State.STOPPED

    @property
    def claimed_at(self) -> datetime | None:
        """When a runner first took a job of the build."""
        return min((job.claimed_at for job in self.jobs.values() if job.claimed_at is not None), default=None)

    def start(self, now: datetime) -> None:
        """The build leaves the queue."""
        self.state, self.starting_at, self.changed = State.STARTING, now, True
        self._tell("build_starting", now)

    def ready(self) -> list[JobLife]:
        """The jobs to offer now: nobody has them yet, and all they need has succeeded."""
        if self.stopping or self.state in (State.QUEUED, State.STOPPED):
            return []
        return [
            job
            for job in self.jobs.values()
            if job.state == State.QUEUED
            and job.assignment is None
            and all(self.jobs[need].outcome == Outcome.SUCCESS for need in job.plan.needs)
        ]

    def offer(self, job: JobLife, assignment: UUID) -> None:
        """The job is there for any runner to take."""
        job.assignment = assignment
        self.changed_jobs.add(job.plan.id)

    def claim(self, job: JobLife, runner: UUID, incarnation: int, now: datetime) -> None:
        """A runner has the job, for the first time or again in a new incarnation."""
        job.runner, job.incarnation = runner, incarnation
        if job.state == State.QUEUED:
            job.state, job.claimed_at = State.STARTING, now
            self._tell("job_started", now, job=job.plan.id, runner=str(runner))
        self.changed_jobs.add(job.plan.id)

    def apply(self, job: JobLife, item: Item, now: datetime) -> bool:
        """Take the next item of a job's reports. A repeated one changes nothing.

        False: it is not to be taken, for it leaves a hole before it, such as the begin of its step, or is output beyond
        the build's limit.

        Jobs and steps keep the times that their runner reported; the build's own are ours, as `now` says.
        """
        if job.is_stopped:
            return True
        match item:
            case ContainerStarted():
                self._container_started(job, item, now)
            case StepStarted():
                self._step_started(job, item)
            case LogBatch():
                return self._lines(job, item)
            case StepStopped():
                return self._step_stopped(job, item)
            case JobStopped():
                self._stop_job(job, item.outcome, item.at, reason=item.reason)
                self._settle(now)
        return True

    def stop_job(self, job: JobLife, outcome: Outcome, now: datetime, *, reason: str | None = None) -> None:
        """The job is over, and with the last one the build. What is not known of its steps is a gap in the log."""
        if not job.is_stopped:
            self._stop_job(job, outcome, now, reason=reason)
            self._settle(now)

    def lose_job(self, job: JobLife, now: datetime, *, reason: str) -> None:
        """Give up a job that nobody can report the end of."""
        self.stop_job(job, Outcome.ERRORED, now, reason=reason)

    def order_stop(self, outcome: Outcome, now: datetime, *, reason: str | None = None) -> None:
        """End the build as `outcome`: jobs nobody holds stop at once, the others when their runner has proven it."""
        if self.stopping or self.is_stopped:
            return
        self.stopping, self.reason, self.changed = outcome, reason, True
        if outcome == Outcome.CANCELED:
            self.cancel_requested_at = now
        self._tell("cancel_requested" if outcome == Outcome.CANCELED else "time_limit", now, reason=reason)
        for job in self.jobs.values():
            if job.state == State.QUEUED:
                self.stop_job(job, outcome, now)

    def fail(self, now: datetime, reason: str) -> None:
        """Something of ours went wrong: every job that is not over ends as errored."""
        self.reason, self.changed = reason, True
        for job in self.jobs.values():
            self.lose_job(job, now, reason=reason)

    def take_changes(self) -> list[LogChange]:
        """The records since the last call; the marks are for the caller to clear once written."""
        records, self.records = self.records, []
        return records

    def _stop_job(self, job: JobLife, outcome: Outcome, now: datetime, *, reason: str | None) -> None:
        outcome = self._as_ordered(outcome)
        for step in job.untold:
            self._tell(GAP, now, job=job.plan.id, step=step.number, reason=reason or "the end of the step is not known")
        for step in job.steps.values():
            if step.state == State.RUNNING:
                self._stop_step(job, step, outcome, None, now)
            elif step.state == State.QUEUED:
                step.state, step.outcome = State.STOPPED, Outcome.SKIPPED
                self.changed_steps.add((job.plan.id, step.number))
        job.state, job.outcome, job.reason, job.stopped_at = State.STOPPED, outcome, reason, now
        self.changed_jobs.add(job.plan.id)
        self._tell("job_stopped", now, job=job.plan.id, outcome=outcome, reason=reason)

    def _container_started(self, job: JobLife, item: ContainerStarted, now: datetime) -> None:
        if job.container is not None:
            return
        job.state, job.container, job.started_at = State.RUNNING, item.container, item.at
        self.changed_jobs.add(job.plan.id)
        if self.state == State.STARTING:
            self.state, self.running_at, self.changed = State.RUNNING, now, True
            self._tell("build_running", now)
        self._tell("container_started", item.at, job=job.plan.id, container=item.container, driver=item.driver)

    def _step_started(self, job: JobLife, item: StepStarted) -> None:
        step = job.steps.get(item.step)
        if step is None or step.state != State.QUEUED:
            return
        step.state, step.started_at = State.RUNNING, item.at
        self.changed_steps.add((job.plan.id, step.number))
        name = job.plan.steps[step.number - 1].name if step.number else "Set up job"
        self._tell(STEP_STARTED, item.at, job=job.plan.id, step=step.number, name=name)

    def _lines(self, job: JobLife, batch: LogBatch) -> bool:
        step = job.steps.get(batch.step)
        if step is None or step.is_cut or (batch.end <= step.stored and not batch.truncated):
            return True
        size = batch.end - batch.offset if step.number else 0
        if step.state != State.RUNNING or batch.offset != step.stored or size > self.log_left:
            return False
        step.stored, step.is_cut = batch.end, batch.truncated
        self.log_left = 0 if batch.truncated else self.log_left - size
        self.records.append(
            LogChange(
                kind=LINES,
                at=batch.at,
                lines=batch.lines,
                size=batch.size,
                job=job.plan.id,
                step=step.number,
                source=(batch.offset, batch.end),
                frame=batch.frame,
                commands=batch.commands,
            )
        )
        if batch.truncated:
            self._tell(
                TRUNCATED, batch.at, job=job.plan.id, step=step.number, reason="the build's log limit was reached"
            )
        return True

    def _step_stopped(self, job: JobLife, item: StepStopped) -> bool:
        step = job.steps.get(item.step)
        if step is None or step.state == State.STOPPED:
            return True
        if step.state == State.QUEUED and item.outcome != Outcome.SKIPPED:
            return False
        if item.end is not None and item.end != step.stored:
            reason = f"the step's output ended at byte {item.end}, and is stored up to {step.stored}"
            self._tell(GAP, item.at, job=job.plan.id, step=step.number, reason=reason)
        if item.lost is not None:
            self._tell(GAP, item.at, job=job.plan.id, step=step.number, reason=item.lost)
        self._stop_step(job, step, item.outcome, item.exit_code, item.at)
        return True

    def _stop_step(self, job: JobLife, step: StepLife, outcome: Outcome, exit_code: int | None, now: datetime) -> None:
        outcome = self._as_ordered(outcome)
        step.state, step.outcome, step.exit_code, step.stopped_at = State.STOPPED, outcome, exit_code, now
        self.changed_steps.add((job.plan.id, step.number))
        self._tell(STEP_STOPPED, now, job=job.plan.id, step=step.number, outcome=outcome, exit_code=exit_code)

    def _as_ordered(self, outcome: Outcome) -> Outcome:
        """A runner that is ordered to end something says canceled; why it was ordered, we know."""
        return self.stopping if self.stopping and outcome == Outcome.CANCELED else outcome

    def _settle(self, now: datetime) -> None:
        for job in self._unreachable():
            self.stop_job(job, Outcome.SKIPPED, now, reason="a job it needs did not succeed")
        if self.is_stopped or any(not job.is_stopped for job in self.jobs.values()):
            return
        outcomes = {job.outcome for job in self.jobs.values()}
        self.outcome = next((worst for worst in WORST_FIRST if worst in outcomes), Outcome.SUCCESS)
        if self.outcome not in (self.stopping, Outcome.ERRORED):
            self.reason = None  # it ended by itself before the order to end reached it
        self.reason = self.reason or next(
            (job.reason for job in self.jobs.values() if job.outcome == self.outcome and job.reason), None
        )
        self.state, self.stopped_at, self.changed = State.STOPPED, now, True
        self._tell(END, now, outcome=self.outcome, reason=self.reason)

    def _unreachable(self) -> Iterator[JobLife]:
        for job in self.jobs.values():
            needs = (self.jobs[need] for need in job.plan.needs)
            if job.state == State.QUEUED and any(need.is_stopped and need.outcome != Outcome.SUCCESS for need in needs):
                yield job

    def _tell(self, kind: str, at: datetime, *, job: str | None = None, step: int | None = None, **data: Any) -> None:
        self.records.append(LogChange(kind=kind, at=at, job=job, step=step, data=data))
