"""A build's life as rows: read back whole on activation, written in the commit that changes it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from actors import Context
from buildsys.core.build import Outcome, State
from buildsys.core.planning import BuildPlan
from buildsys.objects.build_changes import Changes
from buildsys.objects.build_life import BuildLife
from buildsys.objects.group_places import Place, PlaceKey
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
    for key, place, _ in await _stored_places(ctx, build):
        life.places.restore(key, place)
    if row["state"] == State.QUEUED:  # nothing has happened yet
        return life
    _read(life, row, _BUILD)
    life.stopping = row["stopping"] and Outcome(row["stopping"])
    life.jobs = {stored["id"]: _job(stored) for stored in await ctx.database.many(QUERIES["job_list"], build=build)}
    for stored in await ctx.database.many(QUERIES["step_list"], build=build):
        step = StepLife(number=stored["number"], name=stored["name"], parent=stored["parent"])
        step.is_tolerated = stored["tolerated"]
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


async def news_of_places(ctx: Context, build: UUID) -> dict[PlaceKey, Place]:
    """The places of a build of whose standing its actor has not taken notice."""
    return {key: place for key, place, told in await _stored_places(ctx, build) if not told}


def save_life(ctx: Context, life: BuildLife, changes: Changes) -> bool:
    """Put what has changed into the turn's commit; whether there is news for the Scheduler."""
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
            timeout=job.planned and job.planned.timeout,
            tolerated=job.is_tolerated,
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
    return _save_places(ctx, life)


async def _stored_places(ctx: Context, build: UUID) -> list[tuple[PlaceKey, Place, bool]]:
    rows = await ctx.database.many(QUERIES["group_list"], build=build)
    return [(PlaceKey(row["holder"], row["name"]), Place(row["held"], row["lost"]), row["told"]) for row in rows]


def _save_places(ctx: Context, life: BuildLife) -> bool:
    changes = life.places.take_changes()
    for key, group in changes.asked.items():
        ctx.execute(
            QUERIES["group_ask"],
            build=life.id,
            holder=key.holder,
            name=key.name,
            cancel_in_progress=group.cancel_in_progress,
            queue=group.queue,
        )
    for key, place in changes.told.items():
        ctx.execute(
            QUERIES["group_told"],
            rows=None,
            build=life.id,
            holder=key.holder,
            name=key.name,
            held=place.held,
            lost=place.lost,
        )
    for key in changes.released:
        ctx.execute(QUERIES["group_release"], rows=None, build=life.id, holder=key.holder, name=key.name)
    return bool(changes.asked or changes.released)


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
