"""How a build ended, by how its jobs did."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from buildsys.core.build import Outcome
from buildsys.core.course_walk import CANCELLED
from buildsys.core.decisions import Result
from buildsys.objects.job_life import JobLife

WORST_FIRST = (Outcome.ERRORED, Outcome.TIMED_OUT, Outcome.CANCELED, Outcome.FAILED)
"""Where a build did not succeed, its outcome is the first of these that any of its jobs has."""


def outcome_of(result: Result, jobs: Collection[JobLife], stopping: Outcome | None) -> Outcome:
    """The outcome of a build at the end of its course, which had the `result`; `stopping` is how it was ordered to end.

    What may fail does not count, nor what ended because another combination failed. A job whose time was up is not
    taken for one that somebody canceled, though for the jobs that need it both are cancelled.
    """
    if result == Result.CANCELLED or (result != Result.FAILURE and any(job.reason == CANCELLED for job in jobs)):
        return Outcome.TIMED_OUT if any(job.outcome == Outcome.TIMED_OUT for job in jobs) else Outcome.CANCELED
    if result != Result.FAILURE:
        return Outcome.SUCCESS if result == Result.SUCCESS else Outcome.SKIPPED
    return worst(job for job in jobs if not job.is_tolerated and (stopping or not _failed_fast(job)))


def worst(jobs: Iterable[JobLife]) -> Outcome:
    """The worst outcome of them."""
    outcomes = {job.outcome for job in jobs}
    return next((worst for worst in WORST_FIRST if worst in outcomes), Outcome.SUCCESS)


def _failed_fast(job: JobLife) -> bool:
    return job.outcome == Outcome.CANCELED and job.ordered_at is not None
