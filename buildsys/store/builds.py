"""Builds, as everyone but their own actor sees them: made once, then read."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from actors import Database
from buildsys.core.build import Build, Job, Outcome, State, Step, Transition
from buildsys.core.contexts import contexts_of_attempt
from buildsys.core.job_places import expected, is_within
from buildsys.core.planning import BuildPlan
from buildsys.errors import Conflict, NotFound
from buildsys.store.queries import QUERIES


class NewBuild(msgspec.Struct, frozen=True, kw_only=True):
    """What a build is made of, under the id and number that its plan says; `retry_of` is set for a further attempt."""

    id: UUID
    number: int
    project: UUID
    workflow: str
    event: str
    branch: str
    commit: str
    title: str
    plan: BuildPlan
    time_limit: float
    delivery: UUID | None = None
    attempt: int = 1
    retry_of: UUID | None = None
    priority: int = 0


class _Contexts(msgspec.Struct, frozen=True):
    inputs: dict[str, Any] = {}


class _Plan(msgspec.Struct, frozen=True):
    """What is told of a plan; the rest is not decoded."""

    contexts: _Contexts


class Builds:
    """Makes builds (queued, in one statement) and reads them."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def next_number(self, project: UUID, *, delivery: UUID | None, workflow: str) -> int | None:
        """The number that a project's next build is to have; None where this delivery has led to it before."""
        row = await self._database.one(QUERIES["build_number"], project=project, delivery=delivery, workflow=workflow)
        return None if row is None else row["number"]

    async def insert(self, new: NewBuild) -> UUID | None:
        """Make a build and put it into the queue; None where this delivery has led to it before."""
        group = new.plan.concurrency
        row = await self._database.one(
            QUERIES["build_insert"],
            id=new.id,
            project=new.project,
            workflow=new.workflow,
            event=new.event,
            branch=new.branch,
            commit=new.commit,
            title=new.title,
            plan=msgspec.json.encode(new.plan).decode(),
            jobs=msgspec.to_builtins(expected(new.plan)),
            concurrency=group and group.group,
            concurrency_queue=group and group.queue,
            cancel_in_progress=group and group.cancel_in_progress,
            time_limit=new.time_limit,
            delivery=new.delivery,
            number=new.number,
            attempt=new.attempt,
            retry_of=new.retry_of,
            priority=new.priority,
        )
        return None if row is None else row["id"]

    async def retry(self, id: UUID) -> UUID:
        """Queue a stopped build again as its next attempt, with the plan it had. Raises `NotFound`, `Conflict`."""
        row = await self._row(id)
        if row["state"] != State.STOPPED:
            raise Conflict(f"build {id} is still {row['state']}; cancel it or wait for its end")
        attempts = await self._database.one(QUERIES["build_attempts"], project=row["project"], number=row["number"])
        assert attempts is not None
        try:
            retried = await self._next_attempt(row, attempts["attempts"] + 1)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"build {id} is being run again already") from None
        assert retried is not None
        return retried

    async def _next_attempt(self, row: Any, attempt: int) -> UUID | None:
        id = uuid4()
        plan = await self.plan(row["id"])
        contexts = contexts_of_attempt(plan.contexts, build_id=str(id), attempt=attempt)
        return await self.insert(
            NewBuild(
                id=id,
                number=row["number"],
                project=row["project"],
                workflow=row["workflow"],
                event=row["event"],
                branch=row["branch"],
                commit=row["commit"],
                title=row["title"],
                plan=msgspec.structs.replace(plan, contexts=contexts),
                time_limit=row["time_limit"],
                attempt=attempt,
                retry_of=row["id"],
            )
        )

    async def get(self, id: UUID) -> Build:
        """A build with its state history, jobs and steps. Raises `NotFound`."""
        row = await self._row(id)
        jobs = await self._database.many(QUERIES["job_list"], build=id)
        steps = await self._database.many(QUERIES["step_list"], build=id)
        groups = await self._waiting_for_groups(id) if any(job["held"] for job in jobs) else {}
        plan = await self._database.one(QUERIES["build_plan"], id=id)
        inputs = {} if plan is None else msgspec.json.decode(plan["plan"], type=_Plan).contexts.inputs
        return _build(row, waiting=await self._waiting(row), jobs=_jobs(row, jobs, steps, groups), inputs=inputs)

    async def summary(self, id: UUID, *, job: str, step: int) -> str:
        """What a step wrote for people, in Markdown. Raises `NotFound` where it wrote nothing."""
        row = await self._database.one(QUERIES["step_summary"], build=id, job=job, number=step)
        if row is None or row["summary"] is None:
            raise NotFound(f"step {step} of job {job!r} has no summary")
        return str(row["summary"])

    async def plan(self, id: UUID) -> BuildPlan:
        """What the build was fixed to be when it was triggered. Raises `NotFound`."""
        row = await self._database.one(QUERIES["build_plan"], id=id)
        if row is None:
            raise NotFound(f"there is no build {id}")
        return msgspec.json.decode(row["plan"], type=BuildPlan)

    async def by_ids(self, ids: list[UUID]) -> list[Build]:
        """Those of the builds that exist, without jobs, newest first."""
        rows = await self._database.many(QUERIES["build_by_ids"], ids=ids)
        return [_build(row, waiting=await self._waiting(row)) for row in rows]

    async def list(
        self,
        *,
        project: UUID | None = None,
        state: State | None = None,
        before: tuple[datetime, UUID] | None = None,
        size: int = 50,
    ) -> list[Build]:
        """A page of builds, without jobs, newest first, behind the place (queued_at, id)."""
        before_at, before_id = before or (None, None)
        rows = await self._database.many(
            QUERIES["build_list"], project=project, state=state, before_at=before_at, before_id=before_id, size=size
        )
        return [_build(row, waiting=await self._waiting(row)) for row in rows]

    async def _row(self, id: UUID) -> Any:
        row = await self._database.one(QUERIES["build_get"], id=id)
        if row is None:
            raise NotFound(f"there is no build {id}")
        return row

    async def _waiting(self, row: Any) -> str | None:
        """Why a build waits: for the scheduler, a limit and who holds it, or a runner and what keeps it away."""
        if row["state"] in (State.STARTING, State.RUNNING):
            waiting = await self._waiting_for_runner(row["id"])
            if waiting is None and row["state"] == State.STARTING:
                return next(iter((await self._waiting_for_groups(row["id"])).values()), None)
            return waiting
        if row["state"] != State.QUEUED:
            return None
        match row["waits_for"]:
            case None:
                return "waits for the scheduler"
            case "project":
                scope, limit = {"project": row["project"], "account": None}, "the project's limit of running builds"
            case "concurrency":
                return next(iter((await self._waiting_for_groups(row["id"])).values()), None)
            case "account":
                scope, limit = {"project": None, "account": row["account"]}, "the account's limit of running builds"
            case _:
                scope, limit = {"project": None, "account": None}, "the system's limit of running builds"
        holders = await self._database.many(QUERIES["active_holders"], **scope)
        if not holders:
            return f"{limit} is used up"
        names = ", ".join(f"{holder['project']} #{holder['number']}" for holder in holders)
        more = holders[0]["running"] - len(holders)
        return f"{limit} is used up by {names}" + (f" and {more} more" if more else "")

    async def _waiting_for_groups(self, build: UUID) -> dict[str, str]:
        """For which concurrency group the holders of this build wait, and who has it."""
        found = {}
        for row in await self._database.many(QUERIES["group_waiting"], build=build):
            by = "which is free now"
            if row["number"] is not None:
                by = f"held by #{row['number']}" + (f" / {row['held_by']}" if row["held_by"] else "")
            found[row["holder"]] = f"waits for the concurrency group {row['name']!r}, {by}"
        return found

    async def _waiting_for_runner(self, build: UUID) -> str | None:
        offer = await self._database.one(QUERIES["assignment_waiting"], build=build)
        if offer is None:
            return None
        if not offer["present"]:
            return "waits for a runner: none has been heard of"
        if not offer["fitting"]:
            return f"waits for a runner with the labels {', '.join(offer['labels'])}"
        if offer["problem"]:
            return f"waits for a runner: {offer['problem']}"
        return "waits for a free slot of a runner"


def _build(row: Any, *, waiting: str | None, jobs: tuple[Job, ...] = (), inputs: dict[str, Any] | None = None) -> Build:
    passed = (
        (State.QUEUED, row["queued_at"]),
        (State.STARTING, row["starting_at"]),
        (State.RUNNING, row["running_at"]),
        (State.STOPPED, row["stopped_at"]),
    )
    return Build(
        id=row["id"],
        project=row["project_name"],
        number=row["number"],
        attempt=row["attempt"],
        retry_of=row["retry_of"],
        workflow=row["workflow"],
        event=row["event"],
        branch=row["branch"],
        commit=row["commit"],
        title=row["title"],
        state=State(row["state"]),
        outcome=_outcome(row),
        reason=row["reason"],
        waiting=waiting,
        cancel_requested_at=row["cancel_requested_at"],
        queued_at=row["queued_at"],
        started_at=row["starting_at"],
        stopped_at=row["stopped_at"],
        inputs=inputs or {},
        history=tuple(Transition(state=state, at=at) for state, at in passed if at is not None),
        jobs=jobs,
    )


def _jobs(build: Any, jobs: list[Any], steps: list[Any], groups: dict[str, str]) -> tuple[Job, ...]:
    of_job = defaultdict[str, list[Step]](list)
    for step in steps:
        of_job[step["job"]].append(_step(step))
    return tuple(
        Job(
            id=job["id"],
            name=job["name"],
            needs=tuple(job["needs"]),
            state=State(job["state"]),
            outcome=_outcome(job),
            tolerated=job["tolerated"],
            reason=job["reason"],
            runner=None if job["runner"] is None else str(job["runner"]),
            container=job["container"],
            waiting=_held(job, groups),
            time_limit=min(build["time_limit"], job["timeout"] or build["time_limit"]),
            started_at=job["started_at"],
            stopped_at=job["stopped_at"],
            steps=tuple(of_job[job["id"]]),
        )
        for job in jobs
    )


def _step(row: Any) -> Step:
    return Step(
        number=row["number"],
        name=row["name"],
        parent=row["parent"],
        state=State(row["state"]),
        outcome=_outcome(row),
        tolerated=row["tolerated"],
        exit_code=row["exit_code"],
        summary=row["summary"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
    )


def _held(job: Any, groups: dict[str, str]) -> str | None:
    """Why a job waits; where it is for a concurrency group, with who has that now."""
    if job["held"] is None:
        return None
    within = (holder for holder in groups if holder and is_within(job["id"], holder))
    return next((groups[holder] for holder in within), job["held"])


def _outcome(row: Any) -> Outcome | None:
    return None if row["outcome"] is None else Outcome(row["outcome"])
