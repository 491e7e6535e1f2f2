"""Where a job stands in its build: which job of the files it comes from, and what is known of it before it is decided.

An id says it all: `test`, `test.2` of a matrix, `deploy.test` of the workflow that `deploy` calls. A job's own name has
no dot in it and does not begin with a digit.
"""

from __future__ import annotations

import msgspec

from buildsys.core.called_workflows import path_of
from buildsys.core.definition import Job
from buildsys.core.expression_tokens import OPEN
from buildsys.core.planning import BuildPlan, shown


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`rank` puts jobs in the order of their files, instances in that of their matrix; `needs` are ids as well."""

    job: Job
    rank: tuple[int, ...]
    needs: tuple[str, ...]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A job of the build's own workflow, before anything of it is evaluated."""

    id: str
    name: str
    rank: tuple[int, ...]
    needs: tuple[str, ...]


def place_of(plan: BuildPlan, id: str) -> Place:
    """Where the job of this id stands. Raises `LookupError` where the plan has none such."""
    workflow, within = plan.workflow, ""
    rank: list[int] = []
    job: Job | None = None
    parts = id.split(".")
    for number, part in enumerate(parts):
        if part.isdigit():
            rank.append(int(part))
            continue
        if job is not None:
            if job.call is None:
                raise LookupError(f"{job.id} calls no workflow that {part} could be in")
            workflow, within = plan.called[path_of(job.call)], f"{'.'.join(parts[:number])}."
        job = workflow.jobs[part]
        rank.append(list(workflow.jobs).index(part) + 1)
    if job is None:
        raise LookupError(f"{id!r} is no job's id")
    return Place(job=job, rank=tuple(rank), needs=tuple(f"{within}{need}" for need in job.needs))


def expected(plan: BuildPlan) -> tuple[Expected, ...]:
    """The jobs of the build's own workflow; each stands for what it will become."""
    return tuple(
        Expected(
            id=job.id,
            name=job.id if job.name is None or OPEN in job.name else shown(job.name),
            rank=(number,),
            needs=job.needs,
        )
        for number, job in enumerate(plan.workflow.jobs.values(), 1)
    )


def is_within(id: str, holder: str) -> bool:
    """Whether the job of this id is the holder itself, or one of the workflow that it calls; "" is the whole build."""
    return not holder or id == holder or id.startswith(f"{holder}.")


def stands_for(id: str) -> str:
    """The job of the build's own workflow that the job of this id comes from."""
    return id.partition(".")[0]
