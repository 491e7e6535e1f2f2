"""Which contexts and special functions each place of a workflow file has.

Source: "Context availability" in GitHub's contexts reference, whose keys these are; for local actions the contexts
that GitHub's published action schema names. `buildsys` is wherever `github` is. Functions that no place names are
everywhere.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from buildsys.core.expression_functions import STATUS
from buildsys.core.expression_tree import Call, Context, Node, Problem, suggestion, walk

CONTEXTS = frozenset(
    {
        *("github", "env", "vars", "job", "jobs", "steps", "runner"),
        *("secrets", "strategy", "matrix", "needs", "inputs", "buildsys"),
    }
)

_SPECIAL = STATUS | {"hashFiles"}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow key, and what an expression there can use of what is not everywhere."""

    key: str
    contexts: frozenset[str]
    functions: frozenset[str] = frozenset()


def check(node: Node, place: Place) -> tuple[Problem, ...]:
    """Every use of a context or function that the place does not have, in the order of the text."""
    problems = []
    for part in walk(node):
        if isinstance(part, Context) and part.name.lower() not in place.contexts:
            problems.append(Problem(at=part.at, message=_no_context(part.name, place)))
        if isinstance(part, Call) and part.name in _SPECIAL and part.name not in place.functions:
            problems.append(Problem(at=part.at, message=f"{part.name}() cannot be used in {place.key}"))
    return tuple(problems)


def _no_context(name: str, place: Place) -> str:
    if name.lower() not in CONTEXTS:
        return f"unknown context {name[:60]!r}{suggestion(name, place.contexts)}"
    return f"{name!r} cannot be used in {place.key}; there are {', '.join(sorted(place.contexts))}"


def _place(key: str, contexts: str, functions: frozenset[str] = frozenset()) -> Place:
    return Place(key=key, contexts=frozenset(contexts.split()) | {"buildsys"}, functions=functions)


_FILES = frozenset({"hashFiles"})
_FILE = "github inputs vars"
_JOB = "github needs strategy matrix vars inputs"
_STARTED = f"{_JOB} job runner env"
_STEP = f"{_STARTED} secrets steps"
_ACTION = "github inputs strategy matrix steps job runner env"

PLACES = MappingProxyType(
    {
        place.key: place
        for place in (
            _place("run-name", _FILE),
            _place("concurrency", _FILE),
            _place("env", f"{_FILE} secrets"),
            _place("on.workflow_call.inputs.<inputs_id>.default", _FILE),
            _place("on.workflow_call.outputs.<output_id>.value", f"{_FILE} jobs"),
            _place("jobs.<job_id>.concurrency", _JOB),
            _place("jobs.<job_id>.container", _JOB),
            _place("jobs.<job_id>.container.credentials", f"{_JOB} env secrets"),
            _place("jobs.<job_id>.container.env.<env_id>", f"{_STARTED} secrets"),
            _place("jobs.<job_id>.container.image", _JOB),
            _place("jobs.<job_id>.continue-on-error", _JOB),
            _place("jobs.<job_id>.defaults.run", f"{_JOB} env"),
            _place("jobs.<job_id>.env", f"{_JOB} secrets"),
            _place("jobs.<job_id>.environment", _JOB),
            _place("jobs.<job_id>.environment.url", f"{_STARTED} steps"),
            _place("jobs.<job_id>.if", f"{_FILE} needs", STATUS),
            _place("jobs.<job_id>.name", _JOB),
            _place("jobs.<job_id>.outputs.<output_id>", _STEP),
            _place("jobs.<job_id>.runs-on", _JOB),
            _place("jobs.<job_id>.secrets.<secrets_id>", f"{_JOB} secrets"),
            _place("jobs.<job_id>.services", _JOB),
            _place("jobs.<job_id>.services.<service_id>.credentials", f"{_JOB} env secrets"),
            _place("jobs.<job_id>.services.<service_id>.env.<env_id>", f"{_STARTED} secrets"),
            _place("jobs.<job_id>.steps.continue-on-error", _STEP, _FILES),
            _place("jobs.<job_id>.steps.env", _STEP, _FILES),
            _place("jobs.<job_id>.steps.if", f"{_STARTED} steps", STATUS | _FILES),
            _place("jobs.<job_id>.steps.name", _STEP, _FILES),
            _place("jobs.<job_id>.steps.run", _STEP, _FILES),
            _place("jobs.<job_id>.steps.timeout-minutes", _STEP, _FILES),
            _place("jobs.<job_id>.steps.with", _STEP, _FILES),
            _place("jobs.<job_id>.steps.working-directory", _STEP, _FILES),
            _place("jobs.<job_id>.strategy", f"{_FILE} needs"),
            _place("jobs.<job_id>.timeout-minutes", _JOB),
            _place("jobs.<job_id>.with.<with_id>", _JOB),
            _place("inputs.<input_id>.default", "github strategy matrix job runner", _FILES),
            _place("outputs.<output_id>.value", _ACTION),
            _place("runs.steps.if", _ACTION, STATUS | _FILES),
            *(
                _place(f"runs.steps.{key}", _ACTION, _FILES)
                for key in ("name", "run", "shell", "env", "with", "continue-on-error", "working-directory")
            ),
        )
    }
)
"""The places by their keys; those that begin with `runs`, `inputs` or `outputs` are of a local action's file."""
