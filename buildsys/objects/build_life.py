"""What a build's actor knows of its build, and every way in which that changes.

Pure: no I/O and no clock. Each change goes into memory, into `records` (what the build's log says of it) and into
`changes` (what must be written); the actor writes all of it in one commit.

Which jobs run, and how the build ends, its course says, given the ends of the jobs. Where the build has no time left,
or something of ours failed, it is not asked any more: everything ends.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from buildsys.core.assignment import ContainerStarted, Item, JobStopped, LogBatch, StepStarted, StepStopped
from buildsys.core.build import Outcome, State
from buildsys.core.course import Course
from buildsys.core.course_walk import CANCELLED
from buildsys.core.decisions import Cancel, Fail, Progress, Skip, Start
from buildsys.core.definition import Events, Workflow
from buildsys.core.job_places import expected, is_within, place_of, stands_for
from buildsys.core.logs import END, GAP, LINES, STEP_STARTED, STEP_STOPPED, TRUNCATED, LogChange
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build, shown
from buildsys.objects.build_changes import Changes
from buildsys.objects.build_outcome import outcome_of, worst
from buildsys.objects.group_places import GroupPlaces, Place, PlaceKey, Standing
from buildsys.objects.job_life import WITHIN, JobLife, StepLife, steps_of
from buildsys.objects.own_step import withheld


class BuildLife:
    """A build with its jobs and its places in concurrency groups. `stopping` is how it has been ordered to end.

    `log_left` are the bytes that its steps may still print. Where one of them was cut, nothing is left: what that step
    would have had masked is not known.
    """

    def __init__(self, *, id: UUID, plan: BuildPlan, jobs: dict[str, JobLife], log_left: int = 1 << 30) -> None:
        self.id = id
        self.plan = plan
        self.jobs = jobs
        self.places = GroupPlaces()
        self.log_left = log_left
        self.state = State.QUEUED
        self.outcome: Outcome | None = None
        self.reason: str | None = None
        self.stopping: Outcome | None = None
        self.cancel_requested_at: datetime | None = None
        self.starting_at: datetime | None = None
        self.running_at: datetime | None = None
        self.stopped_at: datetime | None = None
        self.records: list[LogChange] = []
        self.changes = Changes()
        self._course = Course(plan)
        self._has_failed = False

    @classmethod
    def of_plan(cls, id: UUID, plan: BuildPlan) -> BuildLife:
        """A queued build."""
        jobs = (JobLife(id=job.id, name=job.name, rank=job.rank, needs=job.needs) for job in expected(plan))
        return cls(id=id, plan=plan, jobs={job.id: job for job in jobs})

    @classmethod
    def of_nothing(cls, id: UUID) -> BuildLife:
        """What there is of a build that there is not: one that is over."""
        nothing = Workflow(path="", name="", on=Events(), jobs={})
        life = cls.of_plan(id, plan_build(nothing, called={}, contexts={}, settings=PlanSettings()))
        life.state = State.STOPPED
        return life

    @property
    def is_stopped(self) -> bool:
        return self.state == State.STOPPED

    @property
    def claimed_at(self) -> datetime | None:
        """When a runner first took a job of the build."""
        return min((job.claimed_at for job in self.jobs.values() if job.claimed_at is not None), default=None)

    def resume(self) -> None:
        """Know again what is not stored, once all that is stored stands in its place."""
        progress = self._course.advance(self._ends(), cancelled=self.stopping == Outcome.CANCELED)
        for job in self.jobs.values():
            if job.is_decided:
                job.planned = self._course.planned(job.id)
        for job in self._waiting():
            job.held = progress.held.get(job.id) or self.places.look(job.groups).waits

    def start(self, now: datetime) -> None:
        """The build leaves the queue, and its first jobs are decided."""
        self.state, self.starting_at, self.changes.build = State.STARTING, now, True
        self._tell("build_starting", now)
        self._settle(now)

    def ready(self) -> list[JobLife]:
        """The jobs to offer now: it is decided that they run, and nobody has them yet."""
        if self._is_over_soon:
            return []
        return [job for job in self._waiting() if job.held is None]

    def offer(self, job: JobLife, assignment: UUID) -> None:
        """The job is there for any runner to take."""
        job.assignment = assignment
        self.changes.jobs.add(job.id)

    def claim(self, job: JobLife, runner: UUID, incarnation: int, now: datetime) -> None:
        """A runner has the job, for the first time or again in a new incarnation."""
        assert job.planned is not None
        job.runner, job.incarnation = runner, incarnation
        if job.state == State.QUEUED:
            job.state, job.claimed_at = State.STARTING, now
            job.steps = {step.number: step for step in steps_of(job.planned)}
            self.changes.new_steps |= {(job.id, number) for number in job.steps}
            self._tell("job_started", now, job=job.id, runner=str(runner))
        self.changes.jobs.add(job.id)

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
                job.outputs = item.outputs
                for own in withheld(job, item):
                    self.apply(job, own, now)
                self._stop_job(job, item.outcome, item.at, reason=item.reason or job.limit_reached(item.outcome, now))
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
        """End the build as `outcome`: jobs nobody holds stop at once, the others when their runner has proven it.

        A cancel lets run what is to run even then, such as a job whose `if` is `always()`; a time limit, also behind a
        cancel, nothing. A queued build is over at once.
        """
        if self.is_stopped or self.stopping in (outcome, Outcome.TIMED_OUT):
            return
        self.stopping, self.reason, self.changes.build = outcome, reason, True
        if outcome == Outcome.CANCELED:
            self.cancel_requested_at = now
        self._tell("cancel_requested" if outcome == Outcome.CANCELED else "time_limit", now, reason=reason)
        if outcome != Outcome.CANCELED or self.state == State.QUEUED:
            for job in self.jobs.values():
                self._order_end(job, now)
        self._settle(now)

    def take_news(self, news: dict[PlaceKey, Place], now: datetime) -> None:
        """The Scheduler has given places, or taken them away: then what is there ends, or never begins."""
        for key, place in news.items():
            self.places.learn(key, place)
            if place.lost is not None and not key.holder:
                self.order_stop(Outcome.CANCELED, now, reason=place.lost)
            elif place.lost is not None:
                for job in [job for job in self.jobs.values() if job.is_decided and is_within(job.id, key.holder)]:
                    self._order_end(job, now, reason=place.lost)
        self._settle(now)

    def fail(self, now: datetime, reason: str, outcome: Outcome = Outcome.ERRORED) -> None:
        """Something went wrong for the whole build, mostly of ours: every job that is not over ends so."""
        self.reason, self.changes.build, self._has_failed = reason, True, True
        for job in list(self.jobs.values()):
            self.stop_job(job, outcome, now, reason=reason)

    def take_changes(self) -> tuple[Changes, list[LogChange]]:
        """What is to be written, and what the log is to say, since the last call."""
        taken = self.changes, self.records
        self.changes, self.records = Changes(), []
        return taken

    @property
    def _is_over_soon(self) -> bool:
        """Whether nothing more is to begin, whatever the course would say."""
        return self._has_failed or self.stopping == Outcome.TIMED_OUT or self.state in (State.QUEUED, State.STOPPED)

    def _settle(self, now: datetime) -> None:
        """Do what follows from the ends so far; where nothing can follow any more the build is over."""
        if self.is_stopped:
            return
        progress = None
        while not self._is_over_soon:
            progress = self._course.advance(self._ends(), cancelled=self.stopping == Outcome.CANCELED)
            fresh = [self._decided(decision, now) for decision in progress.decisions]
            if not any(fresh) and not self._hold(progress.held, now):
                break
        if self._is_over_soon and all(job.is_stopped for job in self.jobs.values()):
            self._end(worst(self.jobs.values()), now)
        elif progress is not None and progress.result is not None:
            self._end(outcome_of(progress.result, self.jobs.values(), self.stopping), now)
        self.places.release(lambda holder: self._is_over(holder, progress))

    def _is_over(self, holder: str, progress: Progress | None) -> bool:
        """Whether nothing of what holds a place in a concurrency group runs, or can still begin."""
        job = self.jobs.get(holder)
        known = job is not None or progress is None or holder in progress.over or self.is_stopped
        return known and all(job.is_stopped for job in self.jobs.values() if is_within(job.id, holder))

    def _ends(self) -> dict[str, Any]:
        return {job.id: job.end for job in self.jobs.values() if job.is_decided}

    def _decided(self, decision: Skip | Fail | Start | Cancel, now: datetime) -> bool:
        """Whether it changes anything."""
        match decision:
            case Start(jobs=jobs):
                for planned in jobs:
                    self._decide(planned.id, planned.name, now).planned = planned
                return True
            case Skip(id=id, name=name, reason=reason):
                job = self._decide(id, name, now)
                job.state, job.outcome, job.reason, job.stopped_at = State.STOPPED, Outcome.SKIPPED, reason, now
                self._tell("job_skipped", now, job=id, name=job.name, reason=reason)
                return True
            case Fail(id=id, name=name, message=message):
                job = self._decide(id, name, now)
                job.planned = self._course.planned(id)
                self._stop_job(job, Outcome.FAILED, now, reason=shown(message))
                return True
            case Cancel(ids=ids, reason=reason):
                news = [self._order_end(self.jobs[id], now, reason=reason) for id in ids]
                return any(news)

    def _decide(self, id: str, name: str, now: datetime) -> JobLife:
        """The job of this id, in place of what stood for it."""
        job = self.jobs.get(id)
        if job is None:
            place = place_of(self.plan, id)
            job = self.jobs[id] = JobLife(id=id, name=name, rank=place.rank, needs=place.needs)
            self.changes.new_jobs.add(id)
            self._tell("job_planned", now, job=id, name=name)
            before = self.jobs.get(stands_for(id))
            if before is not None and not before.is_decided:
                del self.jobs[before.id]
                self.changes.replaced.add(before.id)
        job.name, job.is_decided = name, True
        self.changes.jobs.add(id)
        return job

    def _waiting(self) -> list[JobLife]:
        """The jobs that are to run, and that nobody was offered yet."""
        return [
            job
            for job in self.jobs.values()
            if job.planned is not None and job.state == State.QUEUED and job.assignment is None
        ]

    def _hold(self, held: dict[str, str], now: datetime) -> bool:
        """Say of each job that waits what it waits for; whether one of them is over instead."""
        news = False
        for job in self._waiting():
            standing = Standing(waits=held[job.id]) if job.id in held else self.places.look(job.groups)
            if standing.out is not None:
                news = self._order_end(job, now, reason=standing.out) or news
            elif job.held != standing.waits:
                job.held = standing.waits
                self.changes.jobs.add(job.id)
        return news

    def _order_end(self, job: JobLife, now: datetime, *, reason: str | None = None) -> bool:
        """Have the job end early; whether that is news."""
        if job.is_stopped or job.ordered_at is not None:
            return False
        job.ordered_at = now
        self.changes.jobs.add(job.id)
        if job.state == State.QUEUED:
            self._stop_job(job, Outcome.CANCELED, now, reason=reason)
        elif reason is not None and reason != CANCELLED:
            job.reason = reason
            self._tell("job_cancel_requested", now, job=job.id, reason=reason)
        return True

    def _stop_job(self, job: JobLife, outcome: Outcome, now: datetime, *, reason: str | None) -> None:
        outcome = self._as_ordered(outcome)
        for step in job.untold:
            self._tell(GAP, now, job=job.id, step=step.number, reason=reason or "the end of the step is not known")
        for step in job.steps.values():
            if step.state == State.RUNNING:
                self._stop_step(job, step, outcome, None, now)
            elif step.state == State.QUEUED:
                step.state, step.outcome = State.STOPPED, Outcome.SKIPPED
                self.changes.steps.add((job.id, step.number))
        if outcome == Outcome.CANCELED:
            reason = reason or job.reason or (CANCELLED if self.stopping else None)
        job.state, job.outcome, job.reason, job.held, job.stopped_at = State.STOPPED, outcome, reason, None, now
        job.is_decided = True
        self.changes.jobs.add(job.id)
        self._tell("job_stopped", now, job=job.id, outcome=outcome, reason=reason)

    def _container_started(self, job: JobLife, item: ContainerStarted, now: datetime) -> None:
        if job.container is not None:
            return
        job.state, job.container, job.started_at = State.RUNNING, item.container, item.at
        self.changes.jobs.add(job.id)
        if self.state == State.STARTING:
            self.state, self.running_at, self.changes.build = State.RUNNING, now, True
            self._tell("build_running", now)
        self._tell("container_started", item.at, job=job.id, container=item.container, driver=item.driver)

    def _step_started(self, job: JobLife, item: StepStarted) -> None:
        if item.step >= WITHIN and item.step not in job.steps:
            name = item.name or f"step {item.step}"
            job.steps[item.step] = StepLife(number=item.step, name=name, parent=item.parent)
            self.changes.new_steps.add((job.id, item.step))
        step = job.steps.get(item.step)
        if step is None or step.state != State.QUEUED:
            return
        step.name = shown(item.name) if item.name else step.name
        step.state, step.started_at, job.current = State.RUNNING, item.at, step.number
        self.changes.steps.add((job.id, step.number))
        within = {} if step.parent is None else {"parent": step.parent}
        self._tell(STEP_STARTED, item.at, job=job.id, step=step.number, name=step.name, **within)

    def _lines(self, job: JobLife, batch: LogBatch) -> bool:
        step = job.steps.get(batch.step)
        if step is None:
            return batch.step < WITHIN
        if step.is_cut or (batch.end <= step.stored and not batch.truncated):
            return True
        size = batch.end - batch.offset if step.number else 0
        if step.state != State.RUNNING or batch.offset != step.stored or size > self.log_left:
            return False
        step.stored, step.is_cut, job.current = batch.end, batch.truncated, step.number
        self.log_left = 0 if batch.truncated else self.log_left - size
        self.records.append(
            LogChange(
                kind=LINES,
                at=batch.at,
                lines=batch.lines,
                size=batch.size,
                job=job.id,
                step=step.number,
                source=(batch.offset, batch.end),
                frame=batch.frame,
                commands=batch.commands,
            )
        )
        if batch.truncated:
            self._tell(TRUNCATED, batch.at, job=job.id, step=step.number, reason="the build's log limit was reached")
        return True

    def _step_stopped(self, job: JobLife, item: StepStopped) -> bool:
        step = job.steps.get(item.step)
        if step is None:
            return item.step < WITHIN
        if step.state == State.STOPPED:
            return True
        if step.state == State.QUEUED and item.outcome != Outcome.SKIPPED:
            return False
        if item.end is not None and item.end != step.stored:
            reason = f"the step's output ended at byte {item.end}, and is stored up to {step.stored}"
            self._tell(GAP, item.at, job=job.id, step=step.number, reason=reason)
        if item.lost is not None:
            self._tell(GAP, item.at, job=job.id, step=step.number, reason=item.lost)
        step.is_tolerated, step.summary = item.tolerated, item.summary
        self._stop_step(job, step, item.outcome, item.exit_code, item.at)
        return True

    def _stop_step(self, job: JobLife, step: StepLife, outcome: Outcome, code: int | None, now: datetime) -> None:
        outcome = self._as_ordered(outcome)
        step.state, step.outcome, step.exit_code, step.stopped_at = State.STOPPED, outcome, code, now
        self.changes.steps.add((job.id, step.number))
        self._tell(STEP_STOPPED, now, job=job.id, step=step.number, name=step.name, outcome=outcome, exit_code=code)

    def _as_ordered(self, outcome: Outcome) -> Outcome:
        """A runner that is ordered to end something says canceled; why it was ordered, we know."""
        return self.stopping if self.stopping and outcome == Outcome.CANCELED else outcome

    def _end(self, outcome: Outcome, now: datetime) -> None:
        if not self._has_failed and outcome != self.stopping:
            self.reason = None  # it ended by itself before the order to end reached it
        reasons = (job.reason for job in self.jobs.values() if job.outcome == outcome and job.reason)
        self.reason = self.reason or next(reasons, None)
        self.state, self.outcome, self.stopped_at, self.changes.build = State.STOPPED, outcome, now, True
        self._tell(END, now, outcome=outcome, reason=self.reason)

    def _tell(self, kind: str, at: datetime, *, job: str | None = None, step: int | None = None, **data: Any) -> None:
        self.records.append(LogChange(kind=kind, at=at, job=job, step=step, data=data))
