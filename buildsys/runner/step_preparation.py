"""What a step is to do, decided just before it begins: its environment, its condition, its name and its work.

The order is GitHub's: first the step's `env`, then its `if`, which may use that, then all else. What cannot be
evaluated fails the step, with a line in its log that says where and why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from buildsys.core.built_in import lacking_action
from buildsys.core.definition import Defaults, Script, Step, Template, Uses
from buildsys.core.expressions import (
    CaseSensitive,
    ExpressionError,
    Value,
    evaluate,
    is_true,
    parse_condition,
    parse_template,
    to_number,
)
from buildsys.errors import BuildsysError, Invalid
from buildsys.runner.checkout import NAME as CHECKOUT
from buildsys.runner.checkout import checkout
from buildsys.runner.hash_files import FileHasher
from buildsys.runner.job_contexts import Place, base_variables, text, variables
from buildsys.runner.journal import Compose, Run, Say
from buildsys.runner.local_actions import input_values, read_action
from buildsys.runner.script import EXPORTED, program

LONGEST_NAME = 255
LONGEST_MINUTES = 7200.0
"""Five days, as for a limit that is written as a number."""


@dataclass(frozen=True, slots=True)
class Status:
    """How the steps before went, as the status functions see it; `hasher` knows the workspace."""

    failed: bool
    canceled: bool
    hasher: FileHasher

    def success(self) -> bool:
        return not (self.failed or self.canceled)

    def failure(self) -> bool:
        return self.failed and not self.canceled

    def cancelled(self) -> bool:
        return self.canceled

    def hash_files(self, patterns: tuple[str, ...]) -> str:
        return self.hasher.hash(patterns)


@dataclass(frozen=True, slots=True)
class Around:
    """What a step finds: `contexts` are all but `env`, which is `env`; `given` and `fixed` are variables beside it.

    `fixed` wins over whatever else sets a variable. `workspace` is the folder on this host, `untouched` while no
    process of the job has run.
    """

    contexts: Mapping[str, Any]
    env: Mapping[str, str]
    given: Mapping[str, str]
    fixed: Mapping[str, str]
    paths: tuple[str, ...]
    status: Status
    defaults: Defaults
    place: Place
    workspace: Path
    untouched: bool


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """`env` is the step's own, `minutes` its limit."""

    name: str
    work: Run | Compose | Say
    env: dict[str, str] = {}
    minutes: float | None = None


def prepare(step: Step, around: Around, *, number: int) -> Prepared | None:
    """What the step does; None where its condition does not hold. It never raises for what the workflow says."""
    return _Preparation(step, around, number).prepare()


def tolerates(step: Step, around: Around, env: Mapping[str, str]) -> bool:
    """Whether the failure of a step with that `env` is none: `continue-on-error`. Raises `ExpressionError`."""
    if isinstance(step.continue_on_error, bool):
        return step.continue_on_error
    contexts = {**around.contexts, "env": CaseSensitive({**around.env, **env})}
    return is_true(evaluate(parse_template(step.continue_on_error), contexts, around.status))


class _Preparation:
    def __init__(self, step: Step, around: Around, number: int) -> None:
        self._step = step
        self._around = around
        self._number = number
        self._contexts: dict[str, Value] = {**around.contexts, "env": CaseSensitive(around.env)}
        self._key = ""

    def prepare(self) -> Prepared | None:
        name = _default_name(self._step.action)
        env: dict[str, str] = {}
        try:
            self._key = "env"
            env = variables(self._step.env, self._contexts, self._around.status)
            self._contexts["env"] = CaseSensitive({**self._around.env, **env})
            self._key = "if"
            if not is_true(evaluate(parse_condition(self._step.condition), self._contexts, self._around.status)):
                return None
            name = self._name(name)
            return Prepared(name=name, work=self._work(env), env=env, minutes=self._minutes())
        except ExpressionError as error:
            return Prepared(name=name, work=_failure(f"{self._key}: {error}"), env=env)
        except BuildsysError as error:
            return Prepared(name=name, work=_failure(str(error)), env=env)

    def _work(self, env: dict[str, str]) -> Run | Compose | Say:
        match self._step.action:
            case Script() as script:
                return self._script(script, env)
            case Uses(uses=uses, inputs=inputs):
                given = {name: self._text(f"with.{name}", value) for name, value in inputs.items()}
                return self._action(uses, given)

    def _script(self, script: Script, env: dict[str, str]) -> Run:
        around, place = self._around, self._around.place
        shell = script.shell or around.defaults.shell
        directory = script.working_directory or around.defaults.working_directory
        own = {**around.env, **env}
        exported = {name: value for name, value in own.items() if EXPORTED.fullmatch(name)}
        return Run(
            notes=tuple(
                f"buildsys: warning: no shell can export {_one_line(name, length=80)!r}: it is in the env context only"
                for name in own
                if name not in exported
            ),
            program=program(
                self._text("run", script.run),
                shell=self._text("shell", shell) if shell else None,
                variables={
                    **base_variables(place),
                    **around.given,
                    **exported,
                    **around.fixed,
                    **place.files(self._number),
                },
                paths=around.paths,
                directory=place.workspace / (self._text("working-directory", directory) if directory else "."),
                place=place.step(self._number),
            ),
        )

    def _action(self, uses: str, given: dict[str, str]) -> Run | Compose | Say:
        around = self._around
        if uses.lower().startswith(CHECKOUT):
            github = around.contexts["github"]
            return checkout(given, github, around.place, self._number, untouched=around.untouched)
        if lacking := lacking_action(uses):
            raise Invalid(lacking)
        action, path = read_action(around.workspace, uses)
        self._key = "inputs"
        inputs, warnings = input_values(action, given, self._contexts, around.status)
        notes = tuple(f"buildsys: warning: {warning}" for warning in warnings)
        return Compose(action=action, path=path, inputs=inputs, notes=notes)

    def _name(self, default: str) -> str:
        name = self._text("name", self._step.name) if self._step.name else ""
        return _one_line(name) or default

    def _minutes(self) -> float | None:
        limit = self._step.timeout_minutes
        if limit is None or isinstance(limit, int | float):
            return limit
        self._key = "timeout-minutes"
        minutes = to_number(evaluate(parse_template(limit), self._contexts, self._around.status))
        if math.isnan(minutes) or minutes <= 0:
            raise ExpressionError("the value is no number of minutes above 0", at=0)
        return min(minutes, LONGEST_MINUTES)

    def _text(self, key: str, template: Template) -> str:
        self._key = key
        return text(template, self._contexts, self._around.status)


def _failure(message: str) -> Say:
    return Say(lines=(f"buildsys: error: {_one_line(message, length=2000)}",), failed=True)


def _default_name(action: Script | Uses) -> str:
    what = action.uses if isinstance(action, Uses) else action.run.strip().partition("\n")[0]
    return _one_line(f"Run {what}")


def _one_line(name: str, *, length: int = LONGEST_NAME) -> str:
    """A name as one line that a database takes."""
    line = " ".join(name.replace("\0", "\N{REPLACEMENT CHARACTER}").split()).encode(errors="replace").decode()
    return line if len(line) <= length else line[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
