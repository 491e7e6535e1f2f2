"""The end of a build whose workflow cannot be used: what is wrong with it is the log of its set-up."""

from __future__ import annotations

from datetime import datetime

from buildsys.core.build import Outcome
from buildsys.objects.build_life import BuildLife
from buildsys.objects.job_life import SETUP, StepLife
from buildsys.objects.own_step import said

SHOWN = 20
"""Errors that the build's reason has."""

PRINTED = 1000
"""Errors that its log has."""

LONGEST = 1000
"""Characters of an error that are told."""


def refuse(life: BuildLife, now: datetime) -> None:
    """End a queued build as failed, for the errors of its plan: they are the commit's."""
    errors = life.plan.errors
    (job,) = life.jobs.values()
    job.steps[0] = StepLife(number=0, name=SETUP)
    life.changes.new_steps.add((job.id, 0))
    lines = _first(errors, PRINTED)
    for item in said(0, lines, Outcome.FAILED, now):
        life.apply(job, item, now)
    life.fail(now, "\n".join(_first(errors, SHOWN)), Outcome.FAILED)


def _first(errors: tuple[str, ...], count: int) -> list[str]:
    """As many, each on one line, and how many more there are."""
    lines = [
        "".join(character if character.isprintable() else " " for character in error[:LONGEST])
        for error in errors[:count]
    ]
    return [*lines, f"and {len(errors) - count} more errors"] if len(errors) > count else lines
