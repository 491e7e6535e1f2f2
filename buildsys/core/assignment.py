"""A job offered to runners, and what a runner reports back.

A runner reports a job as one ordered sequence of items, whatever happens to it, to us or to the connection: after a
refusal or a restart it asks where the sequence stands and goes on from there. So a report may arrive twice, but each
item of it counts once.

What a runner sends is checked as it is decoded; the bounds are what the database's columns hold.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
import zstandard

from buildsys.core.build import Outcome
from buildsys.core.commands import MAX_COMMANDS, LogCommand
from buildsys.core.planned import PlannedJob

FRAME_LIMIT = 4 << 20
"""Bytes of output that one batch may hold, compressed or not; runners stay near 1 MiB."""

MAX_STEP_NAME = 255
MAX_SUMMARY = 1 << 20
"""Characters of a step's summary; GitHub keeps 1 MiB."""

MAX_JOB_OUTPUTS = 1000

Text = Annotated[str, msgspec.Meta(max_length=65536, pattern=r"\A[^\x00]*\Z")]
OutputText = Annotated[str, msgspec.Meta(max_length=1 << 20, pattern=r"\A[^\x00]*\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[^\x00]*\Z")]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=1000)]
Held = Annotated[tuple[UUID, ...], msgspec.Meta(max_length=100_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Long = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ExitCode = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


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
    """How much of a job's sequence is stored: the step its log is in, the raw offset in it, and the steps' marks.

    `cut`: a limit ended the log of that step there.
    """

    step: int = 0
    offset: int = 0
    cut: bool = False
    container: str | None = None
    started: tuple[int, ...] = ()
    stopped: dict[int, Outcome] = {}


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a runner gets it, complete: it asks nothing more.

    `deadline` is when the job's time is up (counted from the stored start of the build or job), by the clock of those
    who hand it out; `remaining` is how many seconds of it were left then, for runners whose clock is another one.
    `grace` is the seconds between TERM and KILL. `log_limit` are the bytes that the steps of the build may print, of
    which `log_left` are left. `position` is where the job's reports stand: it is the start for a new job, and the place
    to go on from for one that an earlier life of this runner began. `secrets` are the values that the runner shows as
    `***`, in every form and at any length; blank ones are ignored. `named_secrets` are those that the job names, by
    their names in upper case: its steps have them, and they are masked, too. `repr` shows none of them.
    """

    id: UUID
    build: UUID
    project: str
    job: PlannedJob
    source: Source | None
    env: dict[str, str]
    deadline: datetime
    remaining: float
    position: Position
    grace: float = 10.0
    log_limit: int = 1 << 30
    log_left: int = 1 << 30
    secrets: tuple[str, ...] = ()
    named_secrets: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Assignment(id={self.id}, build={self.build}, job={self.job.id!r})"


class ContainerStarted(msgspec.Struct, frozen=True, kw_only=True, tag="container_started"):
    """The job's container runs: the start-up health check is over."""

    container: Text
    driver: Name
    at: Moment


class StepStarted(msgspec.Struct, frozen=True, kw_only=True, tag="step_started"):
    """`name` is told where it is only known now; `parent` is the step whose action this one is within.

    Steps within actions are numbered from 1001 on as they begin. The log of `parent` is over with the first of them.
    """

    step: Count
    at: Moment
    name: Annotated[str, msgspec.Meta(max_length=MAX_STEP_NAME, pattern=r"\A[^\x00]*\Z")] | None = None
    parent: Count | None = None


class LogBatch(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Output of a step: the raw bytes [offset, end) of its log, masked, as one zstd frame.

    `lines` counts the frame's lines, an unterminated last one included. `at` is when the first byte was read. Batches
    end at a line's end, except where a line stayed open for a second or grew past the batch size: such a line is cut.
    `commands` are those whose lines end in it, masked as they are. `truncated`: a limit cut the step's output; this is
    the last batch, which may stand for no byte at all.
    """

    step: Count
    offset: Long
    end: Long
    lines: Annotated[int, msgspec.Meta(ge=1, le=FRAME_LIMIT)]
    frame: Annotated[bytes, msgspec.Meta(max_length=FRAME_LIMIT)]
    at: Moment
    commands: Annotated[tuple[LogCommand, ...], msgspec.Meta(max_length=MAX_COMMANDS)] = ()
    truncated: bool = False

    def __post_init__(self) -> None:
        if any(command.line >= self.lines for command in self.commands):
            raise ValueError("a command stands at a line that the batch does not have")
        if self.end < self.offset:
            raise ValueError(f"the log cannot go from {self.offset} to {self.end}")

    @property
    def size(self) -> int:
        """The bytes that the frame says it unfolds to. Raises `zstandard.ZstdError` for what is no frame."""
        return zstandard.frame_content_size(self.frame)


class StepStopped(msgspec.Struct, frozen=True, kw_only=True, tag="step_stopped"):
    """`outcome` is SKIPPED for a step whose condition did not hold; `exit_code` is None where no process ran.

    `tolerated`: it failed, and that is none of the job. `summary` is what it wrote for people, in Markdown, masked.
    `end` is how many raw bytes the step's log has, all of which were reported before; None where that is not told.
    `lost` says why they are not all that it printed.
    """

    step: Count
    outcome: Outcome
    exit_code: ExitCode | None
    at: Moment
    end: Long | None = None
    lost: Name | None = None
    tolerated: bool = False
    summary: Annotated[str, msgspec.Meta(max_length=MAX_SUMMARY, pattern=r"\A[^\x00]*\Z")] | None = None


class JobStopped(msgspec.Struct, frozen=True, kw_only=True, tag="job_stopped"):
    """The last item: the container is proven gone. `reason` is set where the outcome alone does not explain.

    `withheld` are the names of outputs that are none because they may hold a secret.
    """

    outcome: Outcome
    at: Moment
    reason: Text | None = None
    outputs: Annotated[dict[Name, OutputText], msgspec.Meta(max_length=MAX_JOB_OUTPUTS)] = {}
    withheld: Names = ()


Item = ContainerStarted | StepStarted | LogBatch | StepStopped | JobStopped


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The next items of a job's sequence, from one incarnation of a runner."""

    assignment: UUID
    build: UUID
    runner: str
    incarnation: Long
    items: tuple[Item, ...]


class ReportReply(msgspec.Struct, frozen=True, kw_only=True):
    """`position` is where the sequence stands now: a reporter that is elsewhere goes there.

    `log_left` are the bytes that the steps of the build may print from now on, those of other jobs, too.
    `revoked` means that this job is no longer the runner's (canceled by force, lost, or fenced by a newer incarnation):
    it removes the container and forgets the job. `cancel` means: end the steps, then report the end.
    """

    position: Position
    log_left: int = 1 << 30
    revoked: bool = False
    cancel: bool = False


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """A runner's question for work, and its sign of life; answered at once with news, else after `wait` seconds.

    `slots` is how many more jobs it would take now. `holding` are the assignments it knows of, `ending` those among
    them that it is bringing to their end already. `problem` says why it cannot take any job now, if it cannot.
    """

    runner: str
    name: Name
    incarnation: Long
    drivers: Names
    labels: Names
    slots: Count
    holding: Held
    ending: Held = ()
    problem: Text | None = None
    wait: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 30.0


class PollReply(msgspec.Struct, frozen=True, kw_only=True):
    """`assignments` are new ones, and those an earlier life of this runner held that this one does not hold yet.

    `cancel` and `revoked` name assignments among those held, see `ReportReply`.
    """

    assignments: tuple[Assignment, ...] = ()
    cancel: tuple[UUID, ...] = ()
    revoked: tuple[UUID, ...] = ()
