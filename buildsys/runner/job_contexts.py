"""What the expressions of a job's steps can use: the contexts that it was planned with, and those of the runner.

Source: GitHub's contexts reference and "Default environment variables" in its variables reference.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import msgspec

from buildsys.core.build import Outcome
from buildsys.core.definition import Environment, Template
from buildsys.core.expressions import (
    CaseSensitive,
    ExpressionError,
    Surroundings,
    Value,
    evaluate,
    parse_template,
    to_text,
)
from buildsys.core.planned import PassedSecrets, PlannedJob
from buildsys.core.secret_names import GITHUB_TOKEN
from buildsys.runner.environment_files import FILES

_FIXED = ("GITHUB_", "BUILDSYS")
"""How the default variables begin that nothing changes: GitHub's, and those that say here which build it is."""

_ARCHITECTURES = {"x86_64": "X64", "i686": "X86", "aarch64": "ARM64", "armv7l": "ARM"}

WORDS = {
    Outcome.SUCCESS: "success",
    Outcome.FAILED: "failure",
    Outcome.ERRORED: "failure",
    Outcome.CANCELED: "cancelled",
    Outcome.TIMED_OUT: "cancelled",
    Outcome.SKIPPED: "skipped",
}
"""What GitHub calls an outcome, in `steps` and `job.status`."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job is: the folder as its steps see it, and the runner's name."""

    root: PurePath
    runner: str = ""

    @property
    def workspace(self) -> PurePath:
        return self.root / "workspace"

    @property
    def event(self) -> PurePath:
        return self.root / "event.json"

    def step(self, number: int) -> PurePath:
        """A step's own folder."""
        return self.root / "steps" / str(number)

    def files(self, number: int) -> dict[str, str]:
        """The variables that name a step's environment files."""
        return {variable: str(self.step(number) / name) for variable, name in FILES.items()}


def file_properties(files: Mapping[str, str]) -> dict[str, str]:
    """The properties of `github` that name a step's environment files, of the variables that do."""
    return {variable.removeprefix("GITHUB_").lower(): path for variable, path in files.items()}


def job_contexts(job: PlannedJob, place: Place, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The contexts that do not change from step to step; `secrets` are the job's own by their names."""
    token = secrets.get(GITHUB_TOKEN, "")
    github = {**job.contexts.get("github", {}), "workspace": str(place.workspace), "event_path": str(place.event)}
    return {
        **job.contexts,
        "github": {**github, "token": token},
        "runner": runner_context(place),
        "secrets": {**passed(secrets, job.passed_secrets), GITHUB_TOKEN: token},
    }


def runner_context(place: Place) -> dict[str, Any]:
    """`runner`; its `debug` is missing, as on GitHub where nobody asked for it."""
    return {
        "name": place.runner,
        "os": "Linux",
        "arch": _ARCHITECTURES.get(platform.machine(), platform.machine().upper()),
        "temp": str(place.root / "tmp"),
        "tool_cache": str(place.root / "tools"),
        "environment": "self-hosted",
        "workspace": str(place.root),
    }


def passed(secrets: Mapping[str, str], calls: Iterable[PassedSecrets]) -> dict[str, str]:
    """What a called workflow has as `secrets`. Raises `ExpressionError`."""
    seen = dict(secrets)
    for call in calls:
        contexts = {**call.contexts, "secrets": {GITHUB_TOKEN: secrets.get(GITHUB_TOKEN, ""), **seen}}
        seen = {name: text(template, contexts) for name, template in call.secrets.items()}
    return seen


def fixed_variables(contexts: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The default variables, which no `env` and no file changes: those of them that were `given`, and the runner's."""
    runner = contexts["runner"]
    return {
        **{name: value for name, value in given.items() if name.startswith(_FIXED)},
        "GITHUB_WORKSPACE": str(contexts["github"]["workspace"]),
        "GITHUB_EVENT_PATH": str(contexts["github"]["event_path"]),
        **{f"RUNNER_{name.upper()}": str(runner[name]) for name in runner if runner[name]},
    }


def base_variables(place: Place) -> dict[str, str]:
    """What every step has beside its container's own; git trusts whoever owns the workspace."""
    return {
        "CI": "true",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(place.workspace),
    }


def text(template: Template, contexts: Mapping[str, Value], surroundings: Surroundings | None = None) -> str:
    """The text of a template. Raises `ExpressionError`."""
    return to_text(evaluate(parse_template(template), contexts, surroundings))


def variables(
    environment: Environment, contexts: Mapping[str, Value], surroundings: Surroundings | None = None
) -> dict[str, str]:
    """The variables of an `env`, all of them evaluated over the same contexts. Raises `ExpressionError`."""
    if not isinstance(environment, str):
        return {name: text(template, contexts, surroundings) for name, template in environment.items()}
    value = evaluate(parse_template(environment), contexts, surroundings)
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        raise ExpressionError("the value is no mapping of variables", at=0)
    return {name: to_text(item) for name, item in value.items()}


def job_environment(job: PlannedJob, contexts: Mapping[str, Value]) -> dict[str, str]:
    """The job's `env`: the workflow's, and over it the job's own. Raises `ExpressionError`."""
    found: dict[str, str] = {}
    for environment in job.environments:
        with told("the job's env"):
            found.update(variables(environment, {**contexts, "env": CaseSensitive(found)}))
    return found


@contextmanager
def told(where: str) -> Iterator[None]:
    """Have an `ExpressionError` say where it is."""
    try:
        yield
    except ExpressionError as error:
        raise ExpressionError(f"{where}: {error}", at=error.at) from error
