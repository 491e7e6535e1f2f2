"""A build's life as rows: read back whole on activation, written in the commit that changes it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from actors import Context
from buildsys.core.build import Outcome, State
from buildsys.core.plan import Plan
from buildsys.objects.build_life import BuildLife, JobLife, StepLife
from buildsys.store.queries import QUERIES

_JOB = ("reason", "assignment", "runner", "incarnation", "container", "claimed_at", "started_at", "stopped_at")
_STEP = ("exit_code", "started_at", "stopped_at")
_BUILD = ("reason", "cancel_requested_at", "starting_at", "running_at", "stopped_at")


async def load_life(ctx: Context, row: Any, *, log_limit: int) -> BuildLife:
    """The life of the build of this row, with its jobs and steps and how much of their logs is stored.

    `log_limit` are the bytes that its steps may print.
    """
    build: UUID = row["id"]
    life = BuildLife.of_plan(build, msgspec.convert(row["plan"], Plan))
    life.log_left = log_limit
    if row["state"] == State.QUEUED:  # nothing has happened yet
        return life
    _read(life, row, _BUILD)
    life.stopping = row["stopping"] and Outcome(row["stopping"])
    for stored in await ctx.database.many(QUERIES["job_list"], build=build):
        _read(life.jobs[stored["id"]], stored, _JOB)
    for stored in await ctx.database.many(QUERIES["step_list"], build=build):
        _read(life.jobs[stored["job"]].steps[stored["number"]], stored, _STEP)
    for stored in await ctx.database.many(QUERIES["log_positions"], build=build):
        step = life.jobs[stored["job"]].steps[stored["step"]]
        step.stored, step.is_cut = stored["source_to"], stored["truncated"]
    steps = [step for job in life.jobs.values() for step in job.steps.values() if step.number]
    printed = sum(step.stored for step in steps)
    life.log_left = 0 if any(step.is_cut for step in steps) else max(log_limit - printed, 0)
    return life


def save_life(ctx: Context, life: BuildLife) -> None:
    """Put what has changed into the turn's commit."""
    for job_id in sorted(life.changed_jobs):
        job = life.jobs[job_id]
        ctx.execute(QUERIES["job_update"], build=life.id, id=job_id, **_columns(job, _JOB))
        if job.is_stopped and job.assignment:
            ctx.execute(QUERIES["assignment_delete"], rows=None, id=job.assignment)
    for job_id, number in sorted(life.changed_steps):
        step = life.jobs[job_id].steps[number]
        ctx.execute(QUERIES["step_update"], build=life.id, job=job_id, number=number, **_columns(step, _STEP))
    if life.changed:
        ctx.execute(QUERIES["build_update"], id=life.id, stopping=life.stopping, **_columns(life, _BUILD))
    life.changed = False
    life.changed_jobs.clear()
    life.changed_steps.clear()


def _read(thing: BuildLife | JobLife | StepLife, row: Any, columns: tuple[str, ...]) -> None:
    thing.state, thing.outcome = State(row["state"]), row["outcome"] and Outcome(row["outcome"])
    for column in columns:
        setattr(thing, column, row[column])


def _columns(thing: BuildLife | JobLife | StepLife, columns: tuple[str, ...]) -> dict[str, Any]:
    return {"state": thing.state, "outcome": thing.outcome} | {column: getattr(thing, column) for column in columns}
