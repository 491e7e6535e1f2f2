"""An orchestrator in memory that holds runners to the rules of a job's sequence, and can be away and forgetful."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import zstandard
from msgspec.structs import replace

from buildsys.core.assignment import (
    Assignment,
    ContainerStarted,
    Item,
    JobStopped,
    LogBatch,
    Poll,
    PollReply,
    Position,
    Report,
    ReportReply,
    StepStarted,
    StepStopped,
)
from buildsys.core.build import Outcome
from buildsys.core.definition import Environment, Script, Step
from buildsys.core.planned import PlannedJob
from buildsys.errors import Unavailable


class Job:
    """What is stored of a job. `logs` are the decompressed frames of each step, `printed` the raw bytes behind them."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.position = assignment.position
        self.logs: dict[int, bytearray] = {}
        self.batches: list[LogBatch] = []
        self.printed = 0
        self.codes: dict[int, int | None] = {}
        self.named: dict[int, StepStarted] = {}
        self.ends: dict[int, StepStopped] = {}
        self.stopped: JobStopped | None = None

    def add(self, item: Item) -> bool:
        """Take the item if it is the next one; a duplicate changes nothing. False: it leaves a hole before it."""
        position = self.position
        assert self.stopped is None or isinstance(item, JobStopped), "an item behind the last one"
        match item:
            case ContainerStarted():
                self.position = replace(position, container=position.container or item.container)
            case StepStarted() if item.step not in position.started:
                around = set(position.started) - set(position.stopped)
                assert around == self.around(item.parent), "two steps at a time"
                self.named[item.step] = item
                self.position = replace(
                    position, step=item.step, offset=0, cut=False, started=(*position.started, item.step)
                )
            case LogBatch() if item.step == position.step and (
                item.end > position.offset or item.truncated > position.cut
            ):
                if item.offset != position.offset:
                    return False
                assert not position.cut, "output behind a limit"
                assert item.step in position.started
                assert item.step not in position.stopped, "output of a stopped step"
                assert item.end > item.offset or item.truncated
                text = zstandard.decompress(item.frame)
                assert item.lines == text.count(b"\n") + (not text.endswith(b"\n"))
                self.logs.setdefault(item.step, bytearray()).extend(text)
                self.batches.append(item)
                self.printed += item.end - item.offset if item.step else 0
                self.position = replace(position, offset=item.end, cut=item.truncated)
            case StepStopped() if item.step not in position.stopped:
                assert (item.outcome is Outcome.SKIPPED) == (item.step not in position.started)
                assert item.end in (None, position.offset)
                self.codes[item.step] = item.exit_code
                self.ends[item.step] = item
                self.position = replace(position, stopped={**position.stopped, item.step: item.outcome})
            case JobStopped() if self.stopped is None and set(position.started) <= set(position.stopped):
                self.stopped = item
        return True

    @property
    def is_in_a_step(self) -> bool:
        """Whether it is certain that something follows: a reply that takes a job back to its end says it is stored."""
        return set(self.position.started) > set(self.position.stopped)

    def around(self, step: int | None) -> set[int]:
        """A step and the actions that it is within."""
        return {step, *self.around(self.named[step].parent)} if step is not None else set()

    @property
    def outcomes(self) -> dict[int, Outcome]:
        return self.position.stopped


class MemoryOrchestrator:
    """Offers jobs and stores reports. `faults` is the chance that a report gets lost, answered twice or taken back."""

    def __init__(self, *, faults: float = 0.0, seed: int = 0) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.reports = 0
        self.away = False
        self.polls: list[Poll] = []
        self._faults = faults
        self._random = random.Random(seed)
        self._held: dict[UUID, str] = {}
        self._incarnations: dict[str, int] = {}
        self._canceled: set[UUID] = set()
        self._revoked: set[UUID] = set()
        self._past: dict[UUID, list[Job]] = {}
        self._replies: dict[UUID, list[ReportReply]] = {}
        self._news = asyncio.Event()

    def offer(self, assignment: Assignment) -> Job:
        job = self.jobs[assignment.id] = Job(assignment)
        self._past[assignment.id] = []
        self._replies[assignment.id] = []
        self._news.set()
        return job

    def cancel(self, job: Job) -> None:
        self._canceled.add(job.assignment.id)
        self._news.set()

    def revoke(self, job: Job) -> None:
        self._revoked.add(job.assignment.id)
        self._news.set()

    async def poll(self, poll: Poll) -> PollReply:
        if self.away:
            raise Unavailable("away")
        self.polls.append(poll)
        self._incarnations[poll.runner] = max(poll.incarnation, self._incarnations.get(poll.runner, 0))
        until = asyncio.get_running_loop().time() + poll.wait
        while (reply := self._answer(poll)) == PollReply() and asyncio.get_running_loop().time() < until:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), until - asyncio.get_running_loop().time())
            except TimeoutError:
                break
        return reply

    def _answer(self, poll: Poll) -> PollReply:
        live = [id for id, job in self.jobs.items() if job.stopped is None and id not in self._revoked]
        given = [id for id in live if self._held.get(id) == poll.runner and id not in poll.holding]
        free = poll.slots
        for id in live:
            if free and id not in self._held:
                self._held[id] = poll.runner
                given.append(id)
                free -= 1
        told = [id for id in poll.holding if id not in poll.ending]
        return PollReply(
            assignments=tuple(
                replace(self.jobs[id].assignment, position=self.jobs[id].position, log_left=self._left(self.jobs[id]))
                for id in given
            ),
            cancel=tuple(id for id in told if id in self._canceled),
            revoked=tuple(id for id in told if id in self._revoked),
        )

    async def report(self, report: Report) -> ReportReply:
        self.reports += 1
        await asyncio.sleep(0)
        id = report.assignment
        if self.away or self._strikes():
            raise Unavailable("lost on the way in")
        if id in self._revoked or report.incarnation < self._incarnations[report.runner]:
            return ReportReply(position=Position(), revoked=True)
        assert report.build == self.jobs[id].assignment.build
        if self._strikes() and self._past[id] and self.jobs[id].stopped is None:
            vars(self.jobs[id]).update(vars(deepcopy(self._random.choice(self._past[id]))))
            self._replies[id] = [self._reply(id)]
            return self._replies[id][0]
        for item in report.items:
            beyond = isinstance(item, LogBatch) and item.step and item.end - item.offset > self._left(self.jobs[id])
            if beyond or not self.jobs[id].add(item):
                break
        if self._faults and self.jobs[id].stopped is None and self.jobs[id].is_in_a_step:
            self._past[id] = [*self._past[id][-3:], deepcopy(self.jobs[id])]
        reply = self._reply(id)
        self._replies[id].append(reply)
        if self._strikes():
            raise Unavailable("lost on the way out")
        return self._random.choice(self._replies[id]) if self._strikes() and self.jobs[id].stopped is None else reply

    def _reply(self, id: UUID) -> ReportReply:
        job = self.jobs[id]
        return ReportReply(position=job.position, log_left=self._left(job), cancel=id in self._canceled)

    def _left(self, job: Job) -> int:
        """What the build may still print, with all its jobs."""
        jobs = [each for each in self.jobs.values() if each.assignment.build == job.assignment.build]
        if any(batch.truncated for each in jobs for batch in each.batches[-1:]):
            return 0
        return max(job.assignment.log_limit - sum(each.printed for each in jobs), 0)

    def _strikes(self) -> bool:
        return self._random.random() < self._faults


def script(
    run: str,
    *,
    name: str | None = None,
    shell: str = "sh",
    working_directory: str | None = None,
    condition: str = "",
    env: Environment | None = None,
    continue_on_error: bool = False,
) -> Step:
    """A step that runs a script."""
    return Step(
        action=Script(run=run, shell=shell, working_directory=working_directory),
        name=name or run[:20],
        condition=condition,
        env=env or {},
        continue_on_error=continue_on_error,
    )


def assignment(
    *steps: str | Step, env: dict[str, str] | None = None, limit: float = 60.0, **fields: object
) -> Assignment:
    """A job of these steps; a text is the script of one."""
    scripts = tuple(step if isinstance(step, Step) else script(step) for step in steps)
    whole = {
        "id": uuid4(),
        "build": uuid4(),
        "project": "tests",
        "job": PlannedJob(id="job", name="job", runs_on=(), contexts={}, steps=scripts),
        "source": None,
        "env": env or {},
        "deadline": datetime.now(UTC) + timedelta(seconds=limit),
        "remaining": limit,
        "position": Position(),
        "grace": 2.0,
    }
    return Assignment(**{**whole, **fields})  # type: ignore[arg-type]


async def until(condition: Callable[[], object], deadline: float = 20.0) -> None:
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.005)
