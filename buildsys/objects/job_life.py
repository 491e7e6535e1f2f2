"""A job and its steps, as a build's actor knows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from buildsys.core.assignment import Position
from buildsys.core.build import Outcome, State
from buildsys.core.decisions import JobEnd, Result
from buildsys.core.definition import Script, Step
from buildsys.core.planned import ConcurrencyGroup, PlannedJob
from buildsys.core.planning import shown

SETUP = "Set up job"
"""The name of step 0."""

WITHIN = 1001
"""The least number of a step within an action."""

_RESULTS = {
    Outcome.SUCCESS: Result.SUCCESS,
    Outcome.CANCELED: Result.CANCELLED,
    Outcome.TIMED_OUT: Result.CANCELLED,
    Outcome.SKIPPED: Result.SKIPPED,
}


@dataclass(slots=True)
class StepLife:
    """A step; `stored` is how many raw bytes of its log are in the store, and `is_cut` says that no more will be.

    A step within an action has that step as its `parent`; one that `is_tolerated` failed, and that is none of the job.
    """

    number: int
    name: str
    parent: int | None = None
    state: State = State.QUEUED
    outcome: Outcome | None = None
    exit_code: int | None = None
    is_tolerated: bool = False
    summary: str | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    stored: int = 0
    is_cut: bool = False


@dataclass(slots=True)
class JobLife:
    """A job and who runs it, or what stands for a job before that is decided.

    `planned` is there once it is decided that the job runs, `steps` once a runner has it. `assignment` is set while it
    is offered or held by a runner, `ordered_at` once it is to be ended early; `held` is why it is not offered yet.
    `current` is the step that its reports are in.
    """

    id: str
    name: str
    rank: tuple[int, ...]
    needs: tuple[str, ...] = ()
    is_decided: bool = False
    planned: PlannedJob | None = None
    steps: dict[int, StepLife] = field(default_factory=dict)
    state: State = State.QUEUED
    outcome: Outcome | None = None
    reason: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    held: str | None = None
    assignment: UUID | None = None
    runner: UUID | None = None
    incarnation: int | None = None
    container: str | None = None
    claimed_at: datetime | None = None
    ordered_at: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    current: int = 0

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
    def groups(self) -> tuple[ConcurrencyGroup, ...]:
        """Those that it has to have a place in, the outermost first."""
        return () if self.planned is None else self.planned.concurrency

    @property
    def is_tolerated(self) -> bool:
        """Whether it failed where it may."""
        return self.planned is not None and self.planned.continue_on_error and self.result == Result.FAILURE

    @property
    def result(self) -> Result | None:
        """How it ended, in GitHub's words; there a job at its own time limit is cancelled, too."""
        return None if self.outcome is None else _RESULTS.get(self.outcome, Result.FAILURE)

    @property
    def end(self) -> JobEnd | None:
        """What the jobs that need it are to know of its end; None before that."""
        if self.result is None or self.stopped_at is None:
            return None
        return JobEnd(result=self.result, outputs=self.outputs, order=self.stopped_at.timestamp())

    def limit_reached(self, outcome: Outcome, now: datetime) -> str | None:
        """Which limit of its own ended it, where it was one."""
        limit = None if self.planned is None else self.planned.timeout
        if outcome != Outcome.TIMED_OUT or limit is None or self.claimed_at is None:
            return None
        is_over = (now - self.claimed_at).total_seconds() >= limit
        return f"the job's time limit of {limit:g} s was reached" if is_over else None

    @property
    def position(self) -> Position:
        """Where the sequence of this job's reports stands."""
        step = self.steps.get(self.current)
        return Position(
            step=self.current,
            offset=step.stored if step else 0,
            cut=step.is_cut if step else False,
            container=self.container,
            started=tuple(s.number for s in self.steps.values() if s.started_at is not None),
            stopped={s.number: s.outcome for s in self.steps.values() if s.outcome is not None},
        )


def steps_of(job: PlannedJob) -> Iterator[StepLife]:
    """The set-up and the steps of the file, none of them begun."""
    yield StepLife(number=0, name=SETUP)
    for number, step in enumerate(job.steps, 1):
        yield StepLife(number=number, name=shown(step_name(step)))


def step_name(step: Step) -> str:
    """What the file says, else what the step does; expressions are not evaluated."""
    if step.name:
        return step.name
    what = step.action.run if isinstance(step.action, Script) else step.action.uses
    return f"Run {next(iter(what.strip().splitlines()), '')}"
