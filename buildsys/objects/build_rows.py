"""A build's life as rows: read back whole on activation, written in the commit that changes it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from actors import Context
from buildsys.core.build import Outcome, State
from buildsys.core.planning import BuildPlan
from buildsys.objects.build_life import BuildLife, Changes
from buildsys.objects.job_life import JobLife, StepLife
from buildsys.store.queries import QUERIES

_JOB = (
    *("reason", "held", "assignment", "runner", "incarnation", "container"),
    *("claimed_at", "ordered_at", "started_at", "stopped_at"),
)
_STEP = ("exit_code", "started_at", "stopped_at")
_BUILD = ("reason", "cancel_requested_at", "starting_at", "running_at", "stopped_at")


async def load_life(ctx: Context, row: Any, *, log_limit: int) -> BuildLife:
    """The life of the build of this row, with its jobs and steps and how much of their logs is stored.

    `log_limit` are the bytes that its steps may print.
    """
    build: UUID = row["id"]
    plan = await ctx.database.one(QUERIES["build_plan"], id=build)
    assert plan is not None
    life = BuildLife.of_plan(build, msgspec.json.decode(plan["plan"], type=BuildPlan))
    life.log_left = log_limit
    if row["state"] == State.QUEUED:  # nothing has happened yet
        return life
    _read(life, row, _BUILD)
    life.stopping = row["stopping"] and Outcome(row["stopping"])
    life.jobs = {stored["id"]: _job(stored) for stored in await ctx.database.many(QUERIES["job_list"], build=build)}
    for stored in await ctx.database.many(QUERIES["step_list"], build=build):
        step = StepLife(number=stored["number"], name=stored["name"], parent=stored["parent"])
        step.is_tolerated, step.summary = stored["tolerated"], stored["summary"]
        _read(step, stored, _STEP)
        life.jobs[stored["job"]].steps[step.number] = step
    last: dict[str, int] = {}
    for stored in await ctx.database.many(QUERIES["log_positions"], build=build):
        job = life.jobs[stored["job"]]
        step = job.steps[stored["step"]]
        step.stored, step.is_cut = stored["source_to"] or 0, stored["truncated"]
        if stored["last"] > last.get(job.id, 0):
            job.current, last[job.id] = step.number, stored["last"]
    steps = [step for job in life.jobs.values() for step in job.steps.values() if step.number]
    printed = sum(step.stored for step in steps)
    life.log_left = 0 if any(step.is_cut for step in steps) else max(log_limit - printed, 0)
    if not life.is_stopped:
        life.resume()
    return life


def save_life(ctx: Context, life: BuildLife, changes: Changes) -> None:
    """Put what has changed into the turn's commit."""
    if changes.new_jobs:
        new = [_described(life.jobs[id]) for id in sorted(changes.new_jobs)]
        ctx.execute(QUERIES["job_insert"], rows=len(new), build=life.id, jobs=new)
    if changes.replaced:
        ids = sorted(changes.replaced)
        ctx.execute(QUERIES["job_replaced"], rows=len(ids), build=life.id, ids=ids)
    for id in sorted(changes.jobs):
        job = life.jobs[id]
        ctx.execute(
            QUERIES["job_update"],
            build=life.id,
            id=id,
            name=job.name,
            decided=job.is_decided,
            outputs=msgspec.json.encode(job.outputs).decode() if job.outputs else None,
            **_columns(job, _JOB),
        )
        if job.is_stopped and job.assignment:
            ctx.execute(QUERIES["assignment_delete"], rows=None, id=job.assignment)
    if changes.new_steps:
        named = sorted(changes.new_steps)
        fresh = [(id, life.jobs[id].steps[number]) for id, number in named]
        steps = [{"job": id, "number": step.number, "name": step.name, "parent": step.parent} for id, step in fresh]
        ctx.execute(QUERIES["step_insert"], rows=len(steps), build=life.id, steps=steps)
    for id, number in sorted(changes.steps):
        step = life.jobs[id].steps[number]
        ctx.execute(
            QUERIES["step_update"],
            build=life.id,
            job=id,
            number=number,
            name=step.name,
            tolerated=step.is_tolerated,
            summary=step.summary,
            **_columns(step, _STEP),
        )
    if changes.build:
        ctx.execute(QUERIES["build_update"], id=life.id, stopping=life.stopping, **_columns(life, _BUILD))


def _job(row: Any) -> JobLife:
    job = JobLife(
        id=row["id"],
        name=row["name"],
        rank=tuple(row["rank"]),
        needs=tuple(row["needs"]),
        is_decided=row["decided"],
        outputs=msgspec.json.decode(row["outputs"], type=dict[str, str]) if row["outputs"] else {},
    )
    _read(job, row, _JOB)
    return job


def _described(job: JobLife) -> dict[str, Any]:
    return {"id": job.id, "rank": job.rank, "name": job.name, "needs": job.needs}


def _read(thing: BuildLife | JobLife | StepLife, row: Any, columns: tuple[str, ...]) -> None:
    thing.state, thing.outcome = State(row["state"]), row["outcome"] and Outcome(row["outcome"])
    for column in columns:
        setattr(thing, column, row[column])


def _columns(thing: BuildLife | JobLife | StepLife, columns: tuple[str, ...]) -> dict[str, Any]:
    return {"state": thing.state, "outcome": thing.outcome} | {column: getattr(thing, column) for column in columns}
