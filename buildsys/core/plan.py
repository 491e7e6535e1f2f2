"""What a workflow asks to be run, once an event has chosen it: jobs and steps with nothing left to decode."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from buildsys.core.definition import Script, Step
from buildsys.core.planned import PlannedContainer, PlannedJob


class Condition(StrEnum):
    """When a step runs, judged by the steps before it."""

    SUCCESS = "success()"
    FAILURE = "failure()"
    ALWAYS = "always()"


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A script and how to run it. `number` starts at 1; `working_directory` is relative to the workspace."""

    number: int
    name: str
    run: str
    shell: str = "sh"
    env: dict[str, str] = {}
    working_directory: str = "."
    condition: Condition = Condition.SUCCESS
    continue_on_error: bool = False


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A job: its image (None where the driver has none), environment and steps. `timeout` is in seconds."""

    id: str
    name: str
    steps: tuple[StepPlan, ...]
    needs: tuple[str, ...] = ()
    runs_on: tuple[str, ...] = ()
    image: str | None = None
    env: dict[str, str] = {}
    timeout: float | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of a build, each after those it needs."""

    workflow: str
    jobs: tuple[JobPlan, ...]


def planned_job(plan: JobPlan) -> PlannedJob:
    """The job as runners get it; its texts mean what they say, whatever they look like."""
    return PlannedJob(
        id=plan.id,
        name=plan.name,
        runs_on=plan.runs_on,
        contexts={},
        container=PlannedContainer(image=plan.image) if plan.image is not None else None,
        environments=({name: _literal(value) for name, value in plan.env.items()},),
        timeout=plan.timeout,
        steps=tuple(
            Step(
                action=Script(
                    run=_literal(step.run),
                    shell=_literal(step.shell),
                    working_directory=_literal(step.working_directory),
                ),
                name=_literal(step.name),
                condition=step.condition.value,
                env={name: _literal(value) for name, value in step.env.items()},
                continue_on_error=step.continue_on_error,
            )
            for step in plan.steps
        ),
    )


def _literal(text: str) -> str:
    """A template whose value is the text."""
    return text.replace("${{", "${{ '${{' }}")
