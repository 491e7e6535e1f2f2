"""A job offered to runners, and what a runner reports back.

A runner reports a job as one ordered sequence of items, whatever happens to it, to us or to the connection: after a
refusal or a restart it asks where the sequence stands and goes on from there. So a report may arrive twice, but each
item of it counts once.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from buildsys.core.build import Outcome
from buildsys.core.plan import JobPlan


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A user name and a password or token for a repository; `repr` shows neither."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credential(...)"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the commit comes from. `ref` is only a hint for servers that refuse to send a bare commit."""

    url: str
    commit: str
    ref: str | None = None
    credential: Credential | None = None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a job's sequence is stored: the step its log is in, the raw offset in it, and the steps' marks."""

    step: int = 0
    offset: int = 0
    container: str | None = None
    started: tuple[int, ...] = ()
    stopped: dict[int, Outcome] = {}


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a runner gets it, complete: it asks nothing more.

    `deadline` is when the job's time is up (counted from the stored start of the build or job), `grace` the seconds
    between TERM and KILL, `log_limit` the bytes a step may print. `position` is where the job's reports stand: it is
    the start for a new job, and the place to go on from for one that an earlier life of this runner began.
    """

    id: UUID
    build: UUID
    project: str
    job: JobPlan
    source: Source | None
    env: dict[str, str]
    deadline: datetime
    position: Position
    grace: float = 10.0
    log_limit: int = 1 << 30
    secrets: tuple[str, ...] = ()


class ContainerStarted(msgspec.Struct, frozen=True, kw_only=True, tag="container_started"):
    """The job's container runs: the start-up health check is over."""

    container: str
    driver: str
    at: datetime


class StepStarted(msgspec.Struct, frozen=True, kw_only=True, tag="step_started"):
    step: int
    at: datetime


class LogBatch(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Output of a step: the raw bytes [offset, end) of its log, masked, as one zstd frame.

    `lines` counts the frame's lines, an unterminated last one included. `at` is when the first byte was read. Batches
    end at a line's end, except where a line stayed open for a second or grew past the batch size: such a line is cut.
    """

    step: int
    offset: int
    end: int
    lines: int
    frame: bytes
    at: datetime


class StepStopped(msgspec.Struct, frozen=True, kw_only=True, tag="step_stopped"):
    """`outcome` is SKIPPED for a step whose condition did not hold; `exit_code` is None where no process ran."""

    step: int
    outcome: Outcome
    exit_code: int | None
    at: datetime


class JobStopped(msgspec.Struct, frozen=True, kw_only=True, tag="job_stopped"):
    """The last item: the container is proven gone. `reason` is set where the outcome alone does not explain."""

    outcome: Outcome
    at: datetime
    reason: str | None = None


Item = ContainerStarted | StepStarted | LogBatch | StepStopped | JobStopped


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The next items of a job's sequence, from one incarnation of a runner."""

    assignment: UUID
    build: UUID
    runner: str
    incarnation: int
    items: tuple[Item, ...]


class ReportReply(msgspec.Struct, frozen=True, kw_only=True):
    """`position` is where the sequence stands now: a reporter that is elsewhere goes there.

    `revoked` means that this job is no longer the runner's (canceled by force, lost, or fenced by a newer incarnation):
    it removes the container and forgets the job. `cancel` means: end the steps, then report the end.
    """

    position: Position
    revoked: bool = False
    cancel: bool = False


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """A runner's question for work, and its sign of life; answered at once with news, else after `wait` seconds.

    `slots` is how many more jobs it would take now. `holding` are the assignments it knows of, `ending` those among
    them that it is bringing to their end already. `problem` says why it cannot take any job now, if it cannot.
    """

    runner: str
    name: str
    incarnation: int
    drivers: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    holding: tuple[UUID, ...]
    ending: tuple[UUID, ...] = ()
    problem: str | None = None
    wait: float = 30.0


class PollReply(msgspec.Struct, frozen=True, kw_only=True):
    """`assignments` are new ones, and those an earlier life of this runner held that this one does not hold yet.

    `cancel` and `revoked` name assignments among those held, see `ReportReply`.
    """

    assignments: tuple[Assignment, ...] = ()
    cancel: tuple[UUID, ...] = ()
    revoked: tuple[UUID, ...] = ()
