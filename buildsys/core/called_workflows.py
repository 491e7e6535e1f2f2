"""Reusable workflows: finding what a workflow calls, what is passed to it, and what it gives back.

Sources: "Reuse workflows" and "Reusable workflows" in GitHub's documentation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from buildsys.core.built_in import lacking_workflow
from buildsys.core.definition import Call, CallInterface, Job, Workflow
from buildsys.core.inputs import call_inputs
from buildsys.core.plan_values import Evaluator, PlanError
from buildsys.errors import Invalid, WorkflowError

MAX_LEVELS = 10
"""Workflows that call one another, the first one included. Source: "Nesting reusable workflows"."""

MAX_CALLED = 50
"""Workflows that a build calls, each counted once. Source: GitHub's limits of reusable workflows."""

MAX_JOBS = 1000
"""Jobs of a build in all, calls and combinations of matrices included."""

Find = Callable[[str], Workflow | None]
"""The decoded workflow at a path of the commit, None where there is none. May raise `WorkflowError`."""


def gather(workflow: Workflow, find: Find) -> dict[str, Workflow]:
    """All workflows of the repository that a workflow calls, directly or not, by their paths.

    Raises `WorkflowError` with every call that cannot be made: of what does not exist or is not to be called, of
    workflows that call each other in a circle or too deep, or with inputs and secrets that are not theirs.
    """
    called: dict[str, Workflow] = {}
    errors: list[str] = []
    ahead = [workflow]
    while ahead and len(called) <= MAX_CALLED:
        for job in _calls(caller := ahead.pop()):
            target = _target(caller, job, find, called, errors)
            if target is not None:
                errors += _mismatches(caller, job, interface_of(target))
                if target.path not in called:
                    called[target.path] = target
                    ahead.append(target)
    if len(called) > MAX_CALLED:
        errors.append(f"{workflow.path}: it calls more than {MAX_CALLED} workflows")
    if not errors:
        errors += _circles(workflow, called)
    if not errors and (count := _size(workflow, called)) > MAX_JOBS:
        errors.append(f"{workflow.path}: with those of the workflows that it calls it has {count} jobs, not {MAX_JOBS}")
    if errors:
        raise WorkflowError(*errors)
    return called


def path_of(call: Call) -> str:
    """Where the called workflow is in the repository."""
    return call.uses.removeprefix("./")


def interface_of(called: Workflow) -> CallInterface:
    return called.on.call or CallInterface()


def weights(called: Mapping[str, Workflow]) -> Callable[[Job], int]:
    """How many jobs a job stands for: itself, and all of the workflow that it calls."""

    @functools.cache
    def of_path(path: str) -> int:
        return sum(map(of_job, called[path].jobs.values()))

    def of_job(job: Job) -> int:
        return 1 + of_path(path_of(job.call)) if job.call is not None and _is_here(job.call) else 1

    return of_job


def inputs_of(call: Call, interface: CallInterface, evaluator: Evaluator, key: str) -> dict[str, Any]:
    """The `inputs` of a called workflow: what is passed, else the default, else what its type has for nothing.

    `evaluator` has the caller's contexts; a default has those that caller and called workflow share.
    """
    spelled = {name.lower(): name for name in interface.inputs}
    given = {
        spelled.get(name.lower(), name): evaluator.tree(tree, f"{key}.with.{name}")
        for name, tree in call.inputs.items()
    }
    shared = evaluator.over({name: evaluator.contexts[name] for name in ("github", "inputs", "vars")})
    for name, wanted in interface.inputs.items():
        if given.get(name) is None and wanted.default is not None:
            default = shared.tree(wanted.default, f"{key}: inputs.{name}.default")
            given[name] = "" if default is None else default
    try:
        return call_inputs(given, interface.inputs, {})
    except Invalid as error:
        raise PlanError(f"{key}.with: {error}") from None


def outputs_of(interface: CallInterface, evaluator: Evaluator, key: str) -> dict[str, str]:
    """The outputs of a called workflow whose jobs are over; `evaluator` has `jobs` with their results and outputs."""
    return {name: evaluator.text(template, f"{key}: {name}") for name, template in interface.outputs.items()}


def _calls(workflow: Workflow) -> Iterator[Job]:
    return (job for job in workflow.jobs.values() if job.call is not None and _is_here(job.call))


def _is_here(call: Call) -> bool:
    return lacking_workflow(call.uses) is None


def _target(
    caller: Workflow, job: Job, find: Find, called: Mapping[str, Workflow], errors: list[str]
) -> Workflow | None:
    assert job.call is not None
    key, path = f"{caller.path}: jobs.{job.id}.uses", path_of(job.call)
    try:
        target = called.get(path) or find(path)
    except WorkflowError as error:
        errors += [f"{key}: {path[:100]!r} is wrong", *(found for found in error.errors if found not in errors)]
        return None
    if target is None:
        errors.append(f"{key}: there is no workflow {path[:100]!r} at this commit")
    elif target.on.call is None:
        errors.append(f"{key}: {path[:100]!r} cannot be called; it must have 'workflow_call' in its 'on'")
        return None
    return target


def _mismatches(caller: Workflow, job: Job, interface: CallInterface) -> Iterator[str]:
    """What is passed that is not wanted, and what is required that is not passed; names have no case."""
    assert job.call is not None
    wanted = {
        "input": ("with", {name: declared.required for name, declared in interface.inputs.items()}, job.call.inputs),
        "secret": ("secrets", interface.secrets, job.call.secrets),
    }
    for what, (place, declared, passed) in wanted.items():
        if passed is None:
            continue
        key = f"{caller.path}: jobs.{job.id}.{place}"
        known, given = {name.lower() for name in declared}, {name.lower() for name in passed}
        for name in passed:
            if name.lower() not in known:
                yield f"{key}.{name}: the called workflow has no {what} {name!r}"
        for name, required in declared.items():
            if required and name.lower() not in given:
                yield f"{key}: the called workflow requires the {what} {name!r}"


def _circles(workflow: Workflow, called: Mapping[str, Workflow]) -> Iterator[str]:
    """The first chain of calls that comes back to where it was, or is too long, found by walking each file once."""
    levels: dict[str, int] = {}

    def level(caller: Workflow, above: tuple[str, ...]) -> int:
        if caller.path in above:
            circle = " calls ".join((*above[above.index(caller.path) :], caller.path))
            raise PlanError(f"{caller.path}: workflows call each other: {circle}")
        if caller.path not in levels:
            below = (level(called[path_of(job.call)], (*above, caller.path)) for job in _calls(caller) if job.call)
            levels[caller.path] = 1 + max(below, default=0)
        return levels[caller.path]

    try:
        depth = level(workflow, ())
    except PlanError as error:
        yield str(error)
        return
    if depth > MAX_LEVELS:
        yield f"{workflow.path}: {depth} levels of workflows call one another; there may be {MAX_LEVELS}"


def _size(workflow: Workflow, called: Mapping[str, Workflow]) -> int:
    return sum(map(weights(called), workflow.jobs.values()))
