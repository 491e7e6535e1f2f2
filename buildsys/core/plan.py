"""What a workflow asks to be run, once an event has chosen it: jobs and steps with nothing left to decode."""

from __future__ import annotations

from enum import StrEnum

import msgspec


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
