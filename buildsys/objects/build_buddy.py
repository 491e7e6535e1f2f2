"""BuildBuddy: one actor a build, its only writer, from the queue to the seal.

Every method is a turn: what it changes is one commit, and the reply leaves after it. What must happen by itself later
stands in schedules, which survive any restart: there is no other recovery code.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog

from actors import Actor, ActorReset, Context, scheduled
from buildsys.core.archive import BadArchive
from buildsys.core.assignment import Assignment, Item, JobStopped, Position, Report, ReportReply
from buildsys.core.blobs import BlobExists, BlobMissing, BlobsUnavailable
from buildsys.core.build import Outcome, State
from buildsys.core.contexts import default_environment
from buildsys.core.logs import END, LogChange
from buildsys.errors import BuildsysError, Invalid
from buildsys.objects.build_life import BuildLife
from buildsys.objects.build_rows import load_life, news_of_places, save_life
from buildsys.objects.job_life import JobLife
from buildsys.objects.log_archive import LogArchive
from buildsys.objects.log_sequence import LogSequence
from buildsys.objects.provisions import Provisions
from buildsys.objects.refusal import refuse
from buildsys.store.archives import archive_columns
from buildsys.store.assignments import Assignments
from buildsys.store.hints import Hints
from buildsys.store.queries import QUERIES

ESCALATION = 120.0
"""Seconds behind the grace after which a job that was ordered to end is taken from its runner, whatever that says."""

SETTLING = 5.0
"""Seconds that a fresh activation leaves runners to report what ended in time, before it enforces an overdue limit."""

HEALTH_PAUSE = 15.0
"""Seconds, at most, between two looks at a build's health: less than an idle actor stays in memory, for a fresh
activation begins anew to count for how long nothing has been heard."""


LARGE_OUTPUTS = 64 << 10
"""Characters of a job's outputs from which on the event loop does not wait for what is made of them."""

ARCHIVING = 1800.0
"""Seconds that archiving a log may take."""

ARCHIVE_AGAIN, ARCHIVE_PAUSE = 5.0, 60.0
"""Seconds after which a log is archived that the blob store did not take: twice as many each time, up to the second."""


log = structlog.get_logger(__name__)


class BuildLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: to a container's start, of a runner's silence, between TERM and KILL; bytes that a build may print.

    `archive_after`: seconds behind its end after which a build's log is archived, never where it is None.
    """

    startup: float = 120.0
    silence: float = 120.0
    grace: float = 10.0
    log: int = 1 << 30
    archive_after: float | None = None


class BuildBuddy(Actor):
    """Owns one build. Decides when its jobs are offered, ended and over, and writes its log's one sequence."""

    def __init__(
        self,
        ctx: Context,
        *,
        provisions: Provisions,
        assignments: Assignments,
        hints: Hints,
        limits: BuildLimits,
        seal_key: bytes,
        archive: LogArchive,
    ) -> None:
        super().__init__(ctx)
        self._provisions = provisions
        self._assignments = assignments
        self._hints = hints
        self._limits = limits
        self._archive = archive
        self._id = UUID(ctx.name)
        self._sequence = LogSequence(ctx, build=self._id, key=seal_key)
        self._not_archived = 0

    async def on_activate(self) -> None:
        """Read what is stored: rows and the log's tail are all there is to know."""
        self._row: Any = await self.ctx.database.one(QUERIES["build_get"], id=self._id)
        self._active_since = self.ctx.clock.now()
        self._sign_of_life = dict[str, float]()
        if self._row is None:
            self._life = BuildLife.of_nothing(self._id)
            return
        self._life = await load_life(self.ctx, self._row, log_limit=self._limits.log)
        await self._sequence.load()

    async def start_build(self) -> None:
        """Take the build out of the queue and offer its first jobs. Does nothing for one that has left it already.

        One whose secrets are not there ends as errored, with their names; one whose workflow is wrong, with the errors.
        """
        if self._life.state != State.QUEUED:
            return
        now = self.ctx.clock.now()
        try:
            await self._provisions.check(self._row["project"], self._life.plan)
        except BuildsysError as error:
            self._life.fail(now, str(error))
        else:
            if self._life.plan.errors:
                refuse(self._life, now)
            else:
                self._life.start(now)
                self._log("build_started")
        self.ctx.execute(QUERIES["queue_delete"], build=self._id)
        self.ctx.schedule("check_health", now + self._health_pause)
        self._save()

    async def cancel_build(self, by: str) -> None:
        """End the build as canceled: at once while it is queued, else when its containers are proven gone."""
        self._leave_queue()
        self._life.order_stop(Outcome.CANCELED, self.ctx.clock.now(), reason=f"canceled by {by}")
        self._save()

    async def look_at_groups(self) -> None:
        """Do what follows from the places in concurrency groups that the build was given, or has lost."""
        if self._life.is_stopped:
            return
        news = await news_of_places(self.ctx, self._id)
        if any(place.lost is not None and not key.holder for key, place in news.items()):
            self._leave_queue()
        self._life.take_news(news, self.ctx.clock.now())
        self._save()

    async def claim_job(self, assignment: UUID, runner: UUID, incarnation: int) -> Assignment | None:
        """Give a job to the runner that holds its assignment, with all it needs; None where it is not to be run (now).

        Called again for a runner's new incarnation it fences the old one, and says where the job's reports stand. A job
        whose project, credential or secrets cannot be had ends as errored, with the reason.
        """
        job = self._job(assignment)
        if job is None or job.is_stopped:
            return None
        if job.runner is not None and (job.runner != runner or (job.incarnation or 0) > incarnation):
            return None
        now = self.ctx.clock.now()
        try:
            given = await self._assignment(job, assignment, now)
        except BuildsysError as error:
            self._life.stop_job(job, Outcome.ERRORED, now, reason=str(error))
            self._save()
            return None
        if self._life.claimed_at is None:
            self.ctx.schedule("enforce_time_limit", now + self._time_limit)
        self._life.claim(job, runner, incarnation, now)
        self._heard_of(job)
        self._save()
        return given

    async def report(self, report: Report) -> ReportReply:
        """Take the next items of a job's sequence. Repeated items change nothing; behind a hole nothing is taken."""
        job = self._job(report.assignment)
        if job is None or job.is_stopped:
            return ReportReply(position=Position(), revoked=True)
        if str(job.runner) != report.runner or job.incarnation != report.incarnation:
            return ReportReply(position=job.position, revoked=True)
        self._heard_of(job)
        now = self.ctx.clock.now()
        for item in report.items:
            if not await self._take(job, item, now):
                break
        self._save()
        return ReportReply(position=job.position, log_left=self._life.log_left, cancel=job.ordered_at is not None)

    @scheduled(deadline=30.0, urgency=0)
    async def enforce_time_limit(self) -> None:
        """End a build whose time is up, counted from when a runner first took a job of it."""
        async with self.ctx.turn():
            now = self.ctx.clock.now()
            if self._life.claimed_at is None or self._life.is_stopped:
                return
            settled = self._active_since + timedelta(seconds=SETTLING)
            if self._life.claimed_at + self._time_limit < self._active_since and now < settled:
                self.ctx.schedule("enforce_time_limit", settled)
                return
            limit = self._time_limit.total_seconds()
            self._life.order_stop(Outcome.TIMED_OUT, now, reason=f"the time limit of {limit:g} s was reached")
            self._save()

    @scheduled(deadline=30.0, urgency=1)
    async def escalate(self) -> None:
        """Take the jobs that were ordered to end from runners that do not end them."""
        async with self.ctx.turn():
            now = self.ctx.clock.now()
            reason = "ordered to end, but its runner never proved that the container is gone"
            for job in list(self._life.jobs.values()):
                if job.ordered_at is not None and job.ordered_at + self._patience <= now:
                    self._life.lose_job(job, now, reason=reason)
            self._save()
            self._schedule_escalation()

    @scheduled(deadline=30.0, urgency=2)
    async def check_health(self) -> None:
        """End jobs whose container does not come up, whose runner is lost, or that no runner can take."""
        unfit = await self._assignments.unfit(self._id, self._limits.startup)
        held = [job for job in list(self._life.jobs.values()) if job.runner and not job.is_stopped]
        silence = await self._assignments.silence([job.runner for job in held if job.runner])
        async with self.ctx.turn():
            now = self.ctx.clock.now()
            if self._life.is_stopped:
                return
            awake = (now - self._active_since).total_seconds()
            for job in held:
                reason = self._sickness(job, silence=min(silence.get(job.runner or self._id, awake), awake))
                if reason:
                    self._life.lose_job(job, now, reason=reason)
            if unfit is not None and self._life.jobs[unfit.job].runner is None:
                reason = f"no_runner: there are runners, but none with the labels {', '.join(unfit.labels)}"
                self._life.stop_job(self._life.jobs[unfit.job], Outcome.ERRORED, now, reason=reason)
            untold = [job.id for job in self._life.jobs.values() if job.assignment and job.state == State.QUEUED]
            if untold:
                self.ctx.execute(
                    QUERIES["assignment_release"],
                    rows=None,
                    build=self._id,
                    jobs=untold,
                    seconds=self._limits.silence,
                )
            if not self._life.is_stopped:
                self.ctx.schedule("check_health", now + self._health_pause)
            self._save()

    @scheduled(deadline=ARCHIVING, urgency=9)
    async def archive_log(self) -> None:
        """Move the log of the stopped build into the blob store; a store that is away is waited out."""
        try:
            archive = await self._archive.write(self._id)
            if archive is not None:
                try:
                    async with self.ctx.turn():
                        self.ctx.execute(QUERIES["archive_insert"], **archive_columns(self._id, archive))
                except BaseException as error:
                    await self._archive.discard(self._id, archive, is_over=isinstance(error, ActorReset))
                    raise
            await self._archive.drop(self._id)
        except (BlobsUnavailable, BlobExists, BlobMissing, BadArchive) as error:
            log.warning("log_not_archived", build=str(self._id), error=str(error))
            pause = timedelta(seconds=min(ARCHIVE_AGAIN * 2**self._not_archived, ARCHIVE_PAUSE))
            self._not_archived += 1
            async with self.ctx.turn():
                self.ctx.schedule("archive_log", self.ctx.clock.now() + pause)

    async def on_error(self, error: BaseException, source: str) -> None:
        """An error of ours ends the build, visibly; one that is over stays as it is."""
        if self._life.is_stopped:
            await super().on_error(error, source)
            return
        async with self.ctx.turn():
            self._life.fail(self.ctx.clock.now(), f"{source}: {type(error).__name__}: {error}")
            self._save()

    @property
    def _time_limit(self) -> timedelta:
        return timedelta(seconds=self._row["time_limit"])

    @property
    def _health_pause(self) -> timedelta:
        quarter = min(self._limits.startup, self._limits.silence) / 4
        return timedelta(seconds=max(1.0, min(quarter, HEALTH_PAUSE)))

    @property
    def _patience(self) -> timedelta:
        return timedelta(seconds=self._limits.grace + ESCALATION)

    async def _take(self, job: JobLife, item: Item, now: datetime) -> bool:
        """As `BuildLife.apply`. What is planned with large outputs takes a while, and holds up no other actor."""
        if isinstance(item, JobStopped) and sum(map(len, item.outputs.values())) > LARGE_OUTPUTS:
            return await asyncio.to_thread(self._life.apply, job, item, now)
        return self._life.apply(job, item, now)

    def _leave_queue(self) -> None:
        if self._life.state == State.QUEUED:
            self.ctx.execute(QUERIES["queue_delete"], build=self._id)

    def _job(self, assignment: UUID) -> JobLife | None:
        return next((job for job in self._life.jobs.values() if job.assignment == assignment), None)

    def _heard_of(self, job: JobLife) -> None:
        self._sign_of_life[job.id] = self.ctx.clock.monotonic()

    def _sickness(self, job: JobLife, *, silence: float) -> str | None:
        if silence > self._limits.silence:
            return f"runner_lost: runner {job.runner} has been silent for {silence:.0f} s"
        heard = self._sign_of_life.setdefault(job.id, self.ctx.clock.monotonic())
        quiet = self.ctx.clock.monotonic() - heard
        if job.container is None and quiet >= self._limits.startup:
            return f"startup_timeout: no container and no sign of one for {quiet:.0f} s"
        return None

    def _schedule_escalation(self) -> None:
        orders = [job.ordered_at for job in self._life.jobs.values() if job.ordered_at and not job.is_stopped]
        if orders and not self._life.is_stopped:
            self.ctx.schedule("escalate", min(orders) + self._patience)

    async def _assignment(self, job: JobLife, id: UUID, now: datetime) -> Assignment:
        """The job as a runner gets it that claims it now, whether or not it had it before."""
        if job.planned is None:
            raise Invalid("what was planned of the job cannot be planned again")
        deadline = (self._life.claimed_at or now) + self._time_limit
        if job.planned.timeout is not None:
            deadline = min(deadline, (job.claimed_at or now) + timedelta(seconds=job.planned.timeout))
        bare = Assignment(
            id=id,
            build=self._id,
            project=self._row["project_name"],
            job=job.planned,
            source=None,
            env=default_environment(job.planned.contexts),
            deadline=deadline,
            remaining=(deadline - now).total_seconds(),
            position=job.position,
            grace=self._limits.grace,
            log_limit=self._limits.log,
            log_left=self._life.log_left,
        )
        return await self._provisions.provide(bare, self._row["project"], self._life.plan, commit=self._row["commit"])

    def _save(self) -> None:
        """Put all that has changed into this turn's commit, and tell those who wait for it."""
        for job in self._life.ready():
            assert job.planned is not None
            assignment = uuid4()
            self._life.offer(job, assignment)
            self.ctx.execute(
                QUERIES["assignment_offer"],
                id=assignment,
                build=self._id,
                job=job.id,
                labels=list(job.planned.runs_on),
            )
            self.ctx.after_commit(lambda: self._hints.send("assignments"))
        changes, records = self._life.take_changes()
        if save_life(self.ctx, self._life, changes):
            self.ctx.after_commit(lambda: self._hints.send("queue"))
        self._pass_on_orders(changes.jobs)
        for change in records:
            self._append(change)

    def _pass_on_orders(self, changed: set[str]) -> None:
        """Have runners told of jobs that they are to end."""
        ordered = [job for id in changed if (job := self._life.jobs[id]).ordered_at and not job.is_stopped]
        for job in ordered:
            self.ctx.execute(QUERIES["assignment_cancel"], rows=None, id=job.assignment)
        if ordered:
            self._schedule_escalation()
            self.ctx.after_commit(lambda: self._hints.send("assignments"))

    def _append(self, change: LogChange) -> None:
        record = self._sequence.append(change)
        self.ctx.after_commit(lambda: self._hints.send(f"log:{self._id}"))
        if record.kind == END:
            for name in self.ctx.schedules():
                self.ctx.unschedule(name)
            if self._limits.archive_after is not None:
                self.ctx.schedule("archive_log", record.at + timedelta(seconds=self._limits.archive_after))
            self.ctx.after_commit(lambda: self._hints.send("queue"))
            ran = record.at - (self._life.starting_at or record.at)
            self._log("build_stopped", **(change.data or {}), seconds=ran.total_seconds())

    def _log(self, event: str, **data: Any) -> None:
        """Tell the operator, once it is so."""
        project = self._row["project_name"]
        self.ctx.after_commit(lambda: log.info(event, build=str(self._id), project=project, **data))
