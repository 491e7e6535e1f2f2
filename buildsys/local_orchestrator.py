"""The orchestrator of a single run: builds in memory, for the one runner of this process.

It decides by the same `BuildLife` as a server's BuildBuddy does. Nothing is stored: who ends this process ends the
builds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from buildsys.core.assignment import Assignment, Poll, PollReply, Position, Report, ReportReply, Source
from buildsys.core.build import Outcome
from buildsys.core.contexts import default_environment
from buildsys.core.logs import LogChange
from buildsys.local_groups import LocalGroups
from buildsys.objects.build_life import BuildLife
from buildsys.objects.job_life import JobLife

Tell = Callable[[BuildLife, LogChange], None]
"""Hears what the log of a build would say, in its order."""


class LocalLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a job may run, and those between TERM and KILL; bytes that a build may print."""

    job: float = 6 * 3600.0
    grace: float = 10.0
    log: int = 1 << 30


class LocalOrchestrator:
    """Runs builds to their ends: `start`, and `wait` for it. Jobs go to a runner with these labels, as on a server.

    `secrets` are by name, in upper case: a job gets those that it names. All builds are of `source`.
    """

    def __init__(
        self,
        builds: Collection[BuildLife],
        *,
        source: Source,
        secrets: dict[str, str],
        labels: Collection[str],
        limits: LocalLimits,
        tell: Tell,
    ) -> None:
        self._builds = builds
        self._source = source
        self._secrets = secrets
        self._labels = labels
        self._limits = limits
        self._tell = tell
        self._groups = LocalGroups()
        self._abandoned: set[UUID] = set()
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    def start(self) -> None:
        """Let the builds begin."""
        for life in self._builds:
            life.start(_now())
        self._settle()

    async def wait(self) -> None:
        """Return when all builds are over."""
        await self._over.wait()

    def cancel(self, reason: str) -> None:
        """End the builds as canceled: their steps are asked to end, and what runs `always()` runs."""
        for life in self._builds:
            life.order_stop(Outcome.CANCELED, _now(), reason=reason)
        self._settle()

    def abandon(self, reason: str) -> None:
        """End the builds at once: nothing is waited for, containers are killed."""
        for life in self._builds:
            if not life.is_stopped:
                self._abandoned |= {job.assignment for job in life.jobs.values() if job.assignment}
                life.fail(_now(), reason)
        self._settle()

    async def poll(self, poll: Poll) -> PollReply:
        until = asyncio.get_running_loop().time() + poll.wait
        while True:
            self._news.clear()
            reply = self._reply(poll)
            left = until - asyncio.get_running_loop().time()
            if reply != PollReply() or left <= 0:
                return reply
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def report(self, report: Report) -> ReportReply:
        life, job = next((life, job) for life, job in self._jobs() if job.assignment == report.assignment)
        if job.is_stopped:
            return ReportReply(position=Position(), revoked=True)
        for item in report.items:
            if not life.apply(job, item, _now()):
                break
        self._settle()
        return ReportReply(position=job.position, log_left=life.log_left, cancel=job.ordered_at is not None)

    def _reply(self, poll: Poll) -> PollReply:
        """New jobs and those that it has let go, and those to be ended that it is not ending yet."""
        runner, known = UUID(poll.runner), {*poll.holding, *poll.ending}
        held = [(life, job) for life, job in self._jobs() if job.runner is not None and not job.is_stopped]
        again = [(life, job) for life, job in held if job.assignment not in known]
        ready = [(life, job) for life in self._builds for job in life.ready()]
        given = tuple([self._give(life, job, runner, poll.incarnation) for life, job in (again + ready)[: poll.slots]])
        told = set(poll.holding) - set(poll.ending)
        ordered = {job.assignment for _, job in held if job.ordered_at is not None}
        if given:
            self._settle()
        return PollReply(
            assignments=given,
            cancel=tuple(id for id in told if id in ordered),
            revoked=tuple(id for id in poll.holding if id in self._abandoned),
        )

    def _give(self, life: BuildLife, job: JobLife, runner: UUID, incarnation: int) -> Assignment:
        assert job.planned is not None
        now, id = _now(), job.assignment or uuid4()
        life.offer(job, id)
        life.claim(job, runner, incarnation, now)
        limit = min(self._limits.job, job.planned.timeout or self._limits.job)
        limit -= (now - (job.claimed_at or now)).total_seconds()
        return Assignment(
            id=id,
            build=life.id,
            project=life.plan.contexts["buildsys"]["project"],
            job=job.planned,
            source=self._source,
            env=default_environment(job.planned.contexts),
            deadline=now + timedelta(seconds=limit),
            remaining=limit,
            position=job.position,
            grace=self._limits.grace,
            log_limit=self._limits.log,
            log_left=life.log_left,
            named_secrets={name: self._secrets[name] for name in job.planned.secrets if name in self._secrets},
        )

    def _settle(self) -> None:
        """Refuse what cannot run here, tell what is new, and wake who waits for it."""
        self._groups.settle(self._builds, _now())
        for life in self._builds:
            while unfit := [job for job in life.ready() if self._lacking(job)]:
                for job in unfit:
                    lacking = ", ".join(self._lacking(job))
                    reason = f"no_runner: here is none with the label {lacking}; --image LABEL=IMAGE gives it one"
                    life.stop_job(job, Outcome.ERRORED, _now(), reason=reason)
                self._groups.settle(self._builds, _now())
        for life in self._builds:
            _, records = life.take_changes()
            for record in records:
                self._tell(life, record)
        self._news.set()
        if all(life.is_stopped for life in self._builds):
            self._over.set()

    def _lacking(self, job: JobLife) -> list[str]:
        assert job.planned is not None
        return [label for label in job.planned.runs_on if label not in self._labels]

    def _jobs(self) -> Iterator[tuple[BuildLife, JobLife]]:
        return ((life, job) for life in self._builds for job in life.jobs.values())


def _now() -> datetime:
    return datetime.now(UTC)
