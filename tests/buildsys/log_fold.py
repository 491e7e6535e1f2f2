"""What a build's log alone says of the build: its records, folded into what must stand in the rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from actors import Database
from buildsys.core.job_places import expected, place_of, stands_for
from buildsys.core.logs import LogRecord
from buildsys.core.planning import BuildPlan

Row = dict[str, Any]
BUILD = ("state", "outcome", "reason", "stopping", "cancel_requested_at", "starting_at", "running_at", "stopped_at")
JOB = ("state", "outcome", "reason", "runner", "container", "claimed_at", "started_at", "stopped_at")
STEP = ("state", "outcome", "exit_code", "started_at", "stopped_at")


@dataclass
class Fold:
    """The columns of a build, its jobs and its steps."""

    build: Row
    jobs: dict[str, Row]
    steps: dict[tuple[str, int], Row] = field(default_factory=dict)


def fold(plan: BuildPlan, records: Iterable[LogRecord]) -> Fold:
    """Begin with a queued build of this plan and take in each record."""
    found = Fold(build=_queued(BUILD), jobs={job.id: _queued(JOB) for job in expected(plan)})
    for record in records:
        if record.kind == "job_planned":
            _make(found, str(record.job))
        if record.kind == "job_started":
            for number in range(1 + len(place_of(plan, str(record.job)).job.steps)):
                found.steps[str(record.job), number] = _queued(STEP)
        if record.kind == "step_started" and (record.step or 0) > 1000:
            found.steps[str(record.job), record.step or 0] = _queued(STEP)
        _take(found, record)
    return found


async def rows_of(database: Database, build: UUID) -> Fold:
    """What is stored."""
    one = await database.pool.fetchrow("SELECT * FROM builds WHERE id = $1", build)
    jobs = await database.pool.fetch("SELECT * FROM jobs WHERE build = $1", build)
    steps = await database.pool.fetch("SELECT * FROM steps WHERE build = $1", build)
    return Fold(
        build={column: one[column] for column in BUILD},
        jobs={job["id"]: {column: job[column] for column in JOB} for job in jobs},
        steps={(step["job"], step["number"]): {column: step[column] for column in STEP} for step in steps},
    )


def _queued(columns: tuple[str, ...]) -> Row:
    return dict.fromkeys(columns) | {"state": "queued"}


def _make(found: Fold, job: str) -> None:
    """A job that takes the place of what stood for it."""
    before = found.jobs.get(stands_for(job), {})
    if before.get("state") == "queued":
        del found.jobs[stands_for(job)]
    found.jobs[job] = _queued(JOB)


def _take(found: Fold, record: LogRecord) -> None:
    build, at, data = found.build, record.at, record.data or {}
    job = found.jobs[record.job] if record.job is not None else {}
    step = found.steps[record.job, record.step] if record.job is not None and record.step is not None else {}
    match record.kind:
        case "build_starting":
            build |= {"state": "starting", "starting_at": at}
        case "build_running":
            build |= {"state": "running", "running_at": at}
        case "job_skipped":
            job |= {"state": "stopped", "stopped_at": at, "outcome": "skipped", "reason": data["reason"]}
        case "job_cancel_requested":
            job |= {"reason": data["reason"]}
        case "job_started":
            job |= {"state": "starting", "claimed_at": at, "runner": UUID(data["runner"])}
        case "container_started":
            job |= {"state": "running", "started_at": at, "container": data["container"]}
        case "step_started":
            step |= {"state": "running", "started_at": at}
        case "step_stopped":
            step |= {"state": "stopped", "stopped_at": at, "outcome": data["outcome"], "exit_code": data["exit_code"]}
        case "job_stopped":
            job |= {"state": "stopped", "stopped_at": at, "outcome": data["outcome"], "reason": data["reason"]}
            _skip_rest(found, str(record.job))
        case "cancel_requested":
            build |= {"stopping": "canceled", "cancel_requested_at": at, "reason": data["reason"]}
        case "time_limit":
            build |= {"stopping": "timed_out", "reason": data["reason"]}
        case "end":
            build |= {"state": "stopped", "stopped_at": at, "outcome": data["outcome"], "reason": data["reason"]}
        case "job_planned" | "gap" | "truncated" | "group_started" | "group_ended" | "annotation":
            pass  # changes nothing that is there
        case kind:
            assert kind == "lines", f"the log has a record that says nothing: {kind}"


def _skip_rest(found: Fold, job: str) -> None:
    """A job that is over leaves no step open: what has not begun never will."""
    for (of, _), step in found.steps.items():
        if of == job and step["state"] == "queued":
            step |= {"state": "stopped", "outcome": "skipped"}
