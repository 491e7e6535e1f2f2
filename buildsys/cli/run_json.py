"""A run told to a program: an object a line, and at the end one with all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins

from buildsys.cli.run_end import outcome_of, seconds_of
from buildsys.cli.run_lines import unfolded
from buildsys.cli.terminal import Terminal
from buildsys.core.logs import LogChange
from buildsys.objects.build_life import BuildLife
from buildsys.objects.job_life import JobLife


def tell_json(terminal: Terminal, life: BuildLife, change: LogChange) -> None:
    """What a build's log would say, with the workflow it is of; `partial`: the last line goes on in the next record."""
    told = {"kind": change.kind, "at": change.at.isoformat(), "workflow": life.plan.workflow.path}
    place = {"job": change.job, "step": change.step}
    said = {key: value for key, value in place.items() if value is not None} | to_builtins(change.data or {})
    if change.frame is not None:
        *lines, rest = unfolded(change.frame).split("\n")
        said |= {"lines": [*lines, rest] if rest else lines, "partial": bool(rest)}
    terminal.answer(told | said)


def as_json(builds: Sequence[BuildLife], seconds: float) -> dict[str, Any]:
    """The same for programs."""
    return {
        "kind": "run_stopped",
        "outcome": outcome_of(builds),
        "seconds": round(seconds, 3),
        "builds": [
            {
                "id": str(life.id),
                "workflow": life.plan.workflow.path,
                "outcome": life.outcome,
                "reason": life.reason,
                "jobs": [_job(job) for job in sorted(life.jobs.values(), key=lambda job: job.rank)],
            }
            for life in builds
        ],
    }


def _job(job: JobLife) -> dict[str, Any]:
    steps = [
        {
            "number": step.number,
            "parent": step.parent,
            "name": step.name,
            "outcome": step.outcome,
            "exit_code": step.exit_code,
            "summary": step.summary,
        }
        for step in job.steps.values()
    ]
    return {
        "id": job.id,
        "name": job.name,
        "outcome": job.outcome,
        "reason": job.reason,
        "seconds": seconds_of(job),
        "outputs": job.outputs,
        "steps": steps,
    }
