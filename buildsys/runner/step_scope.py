"""A list of steps and what they find: the job's own, and those of the actions within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Any

import msgspec

from buildsys.core.assignment import Assignment
from buildsys.core.build import Outcome
from buildsys.core.definition import Defaults, Step, Uses
from buildsys.core.planned import PlannedJob
from buildsys.runner.job_contexts import (
    WORDS,
    Place,
    fixed_variables,
    job_contexts,
    job_environment,
    told,
    variables,
)
from buildsys.runner.journal import Ended


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job before its first step.

    `contexts` are those of `job_contexts`, `env` is the job's own. `given` and `fixed` are variables that every step
    has; `fixed` is not to be changed. `grace` is in seconds, `log_limit` in bytes of a step.
    """

    job: PlannedJob
    place: Place
    contexts: dict[str, Any]
    env: dict[str, str]
    given: dict[str, str]
    fixed: dict[str, str]
    grace: float
    log_limit: int


def situation(assignment: Assignment, *, root: PurePath, runner: str) -> Situation:
    """What is known of an assignment whose folder its steps see at `root`.

    Raises `ExpressionError` where the environment of the job, or of its container, cannot be evaluated.
    """
    job = assignment.job
    place = Place(root=root, runner=runner)
    contexts = job_contexts(job, place, assignment.named_secrets)
    env = job_environment(job, contexts)
    with told("the container's env"):
        of_container = variables(job.container.env, {**contexts, "env": env}) if job.container else {}
    fixed = fixed_variables(contexts, assignment.env)
    given = {**of_container, **assignment.env}
    return Situation(
        job=job,
        place=place,
        contexts=contexts,
        env=dict(env),
        given={name: value for name, value in given.items() if name not in fixed},
        fixed=fixed,
        grace=assignment.grace,
        log_limit=assignment.log_limit,
    )


@dataclass(slots=True)
class Scope:
    """A list of steps: the job's, or those of an action; `results` is its `steps` context."""

    steps: tuple[Step, ...]
    contexts: Mapping[str, Any]
    defaults: Defaults = field(default_factory=Defaults)
    prefix: str = ""
    parent: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    until: datetime | None = None
    depth: int = 0
    failed: bool = False
    results: dict[str, Any] = field(default_factory=dict)

    def add(self, step: Step, ended: Ended) -> None:
        if ended.outcome in (Outcome.FAILED, Outcome.ERRORED) and not ended.tolerated:
            self.failed = True
        if step.id is not None:
            outcome = WORDS[ended.outcome]
            conclusion = "success" if ended.tolerated else outcome
            self.results[step.id] = {"outputs": ended.outputs, "outcome": outcome, "conclusion": conclusion}


def action_name(steps: tuple[Step, ...], index: int) -> str:
    """`github.action`: the step's id, else a name for what it does, with a number from the second on."""
    kinds = [_kind(step) for step in steps[: index + 1]]
    if steps[index].id is not None:
        return str(steps[index].id)
    before = kinds[:-1].count(kinds[-1])
    return kinds[-1] if before == 0 else f"{kinds[-1]}_{before + 1}"


def _kind(step: Step) -> str:
    if step.id is not None:
        return step.id
    if not isinstance(step.action, Uses):
        return "__run"
    if step.action.uses.startswith("."):
        return "__self"
    return "__" + "".join(c if c.isalnum() else "_" for c in step.action.uses.partition("@")[0])
