"""Public workflow files, and what is expected of each: written by hand, read from `tests/workflows`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from buildsys.core.called_workflows import gather
from buildsys.core.contexts import BuildFacts, build_contexts
from buildsys.core.course import Course
from buildsys.core.decisions import Fail, JobEnd, Result, Skip, Start
from buildsys.core.definition import Script, Step, Workflow
from buildsys.core.event_kinds import DISPATCH
from buildsys.core.events import Event, match
from buildsys.core.expressions import evaluate, is_true, parse_condition
from buildsys.core.inputs import inputs_of
from buildsys.core.job_places import place_of
from buildsys.core.plan_values import Evaluator
from buildsys.core.planned import ConcurrencyGroup, PlannedContainer, PlannedJob
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build
from buildsys.core.workflow_file import decode_workflow
from buildsys.objects.job_life import step_name

FOLDER = Path(__file__).parent / "workflows"
HOSTED = Path("/home/runner", "work")
"""Where GitHub's own runners have their workspaces, which some files name; `$HOSTED` in an expectation."""

EVENTS = {
    "push": Event(name="push", ref="refs/heads/main", sha="c0ffee"),
    "pull_request": Event(
        name="pull_request",
        ref="refs/pull/7/merge",
        sha="c0ffee",
        action="opened",
        payload={"action": "opened", "number": 7, "pull_request": {"head": {"repo": {"full_name": "octo/fork"}}}},
    ),
    "schedule": Event(name="schedule", ref="refs/heads/main", sha="c0ffee"),
    "workflow_dispatch": Event(name=DISPATCH, ref="refs/heads/main", sha="c0ffee"),
}


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one file is expected to become.

    `ref`, `schedule` and `repository` are the event's where it matters. `ends` are how its jobs are said to end, by id,
    where that is not a success without outputs. `jobs` are all of the build; those of a matrix are one, with `names`.
    `here` is what becomes of them on an installation that has only what is built in, where what can start ends as said.
    The other fields are as in GitHub's files.
    """

    file: str
    event: str
    ref: str = ""
    schedule: str = ""
    inputs: dict[str, Any] = {}
    repository: str = ""
    name: str
    concurrency: str = ""
    secrets: list[str] = []
    ends: dict[str, dict[str, Any]] = {}
    jobs: dict[str, dict[str, Any]]
    here: dict[str, str]

    @property
    def path(self) -> str:
        """Where the file is in its repository."""
        return self.file.partition("/")[2]

    @property
    def repository_folder(self) -> Path:
        return FOLDER / "files" / self.file.partition("/")[0]

    def text(self, path: str) -> bytes:
        return (self.repository_folder / path).read_bytes()


def expectations() -> dict[str, Expectation]:
    """By name."""
    files = sorted((FOLDER / "expected").glob("*.yml"))
    texts = {file.stem: file.read_text().replace("$HOSTED", str(HOSTED)) for file in files}
    return {name: msgspec.convert(yaml.load(text, _Loader), Expectation) for name, text in texts.items()}


class _Loader(yaml.BaseLoader):
    """All scalars are texts, and a mapping may take in another by `<<`."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for key, value in loader.construct_pairs(node, deep=True):
        merged |= value if key == "<<" else {key: value}
    return merged


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def plan_of(expected: Expectation) -> BuildPlan:
    workflow = decode_workflow(expected.text(expected.path), file=expected.path)
    event = msgspec.structs.replace(EVENTS[expected.event], inputs=expected.inputs)
    payload = {**event.payload, "schedule": expected.schedule, "repository": {"default_branch": "main"}}
    event = msgspec.structs.replace(event, ref=expected.ref or event.ref, payload=payload)
    assert match(workflow.on, event) is None
    full_name = expected.repository or expected.file.partition("/")[0].replace("-", "/", 1)
    facts = BuildFacts(
        build_id="b-1",
        build_number=1,
        project="p",
        repository=full_name,
        workflow=workflow.name,
        workflow_path=workflow.path,
    )
    inputs = inputs_of(event, workflow.on.dispatch)
    event = msgspec.structs.replace(event, payload={**payload, "inputs": inputs})

    def find(path: str) -> Workflow | None:
        return decode_workflow(expected.text(path), file=path)

    return plan_build(
        workflow,
        called=gather(workflow, find),
        contexts=build_contexts(event, facts, inputs=inputs, variables={}),
        settings=PlanSettings(),
    )


class Walked:
    """A build walked to its end: every job that starts ends as it is said."""

    def __init__(self, plan: BuildPlan, ends: Mapping[str, Mapping[str, Any]]) -> None:
        self.plan = plan
        self.planned: dict[str, PlannedJob] = {}
        self.names: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.rows: dict[str, JobEnd | None] = {}
        course = Course(plan)
        while True:
            progress = course.advance(self.rows)
            for decision in progress.decisions:
                match decision:
                    case Start(jobs=jobs):
                        for job in jobs:
                            self._start(job, ends)
                    case Skip(id=id, name=name, reason=reason):
                        self._over(id, name, reason, Result.SKIPPED)
                    case Fail(id=id, name=name, message=message):
                        self._over(id, name, message, Result.FAILURE)
            if not progress.decisions:
                break
        self.result = progress.result

    @property
    def results(self) -> dict[str, str]:
        """By the ids of the jobs: of a matrix once, where all of it ended the same."""
        found: dict[str, set[str]] = {}
        for id, end in self.rows.items():
            assert end is not None
            found.setdefault(job_of(id), set()).add(str(end.result))
        return {id: " and ".join(sorted(results)) for id, results in found.items()}

    def instances(self, job: str) -> list[str]:
        return [id for id in self.rows if job_of(id) == job]

    def _start(self, job: PlannedJob, ends: Mapping[str, Mapping[str, Any]]) -> None:
        end = ends.get(job.id, ends.get(job_of(job.id), {}))
        self.planned[job.id], self.names[job.id] = job, job.name
        self.rows[job.id] = JobEnd(result=Result(end.get("result", "success")), outputs=end.get("outputs", {}))

    def _over(self, id: str, name: str, reason: str, result: Result) -> None:
        self.names[id], self.reasons[id], self.rows[id] = name, reason, JobEnd(result=result)


def job_of(id: str) -> str:
    """Without the number of its combination."""
    head, _, last = id.rpartition(".")
    return head if last.isdigit() else id


def described(walked: Walked, job: str) -> dict[str, Any]:
    """A job as an expectation says it: what is nothing is left out, what all instances share stands once."""
    ids = walked.instances(job)
    if any(id not in walked.planned for id in ids):
        return {"name": walked.names[job], "result": walked.results[job]}
    planned = [walked.planned[id] for id in ids]
    first = planned[0]
    names = [one.name for one in planned]
    said: dict[str, Any] = {"names": _counted(names)} if ids[0] != job else {"name": names[0]}
    said |= {
        "runs-on": _shared([" ".join(one.runs_on) for one in planned]),
        "needs": list(place_of(walked.plan, ids[0]).needs),
        "env": _environment(first),
        "outputs": sorted(first.outputs),
        "timeout-minutes": "" if first.timeout is None else f"{first.timeout / 60:g}",
        "continue-on-error": _shared([str(one.continue_on_error).lower() for one in planned]),
        "shell": first.defaults.shell or "",
        "container": _container(first.container, first) if first.container else {},
        "services": {name: _container(service, first) for name, service in first.services.items()},
        "concurrency": _group(first.concurrency[-1] if first.concurrency and first.concurrency[-1].holder else None),
        "steps": [_step(step, planned) for step in first.steps],
    }
    nothing: tuple[Any, ...] = ("", [], {}, "false")
    return {key: value for key, value in said.items() if value not in nothing}


def group_of(plan: BuildPlan) -> str:
    return _group(plan.concurrency)


def _group(group: ConcurrencyGroup | None) -> str:
    return "" if group is None else group.group + (" (cancels)" if group.cancel_in_progress else "")


def names_of(said: Mapping[str, Any]) -> list[str]:
    """The names of a matrix: written out, or all that a form makes of each value of one axis with each of the next."""
    names = said["names"]
    if isinstance(names, Mapping):
        return _counted([names["form"].format(*values) for values in itertools.product(*names["each"])])
    return list(names)


def _shared(values: list[str]) -> str | list[str]:
    return values[0] if len(set(values)) == 1 else _counted(values)


def _counted(values: list[str]) -> list[str]:
    """What follows itself stands once, such as `linux x3`."""
    runs = [(value, len(list(run))) for value, run in itertools.groupby(values)]
    return [value if count == 1 else f"{value} x{count}" for value, count in runs]


def _evaluator(job: PlannedJob, env: Mapping[str, Any]) -> Evaluator:
    unknown = {"steps": {}, "secrets": {}, "job": {}, "runner": {"os": "Linux"}}
    return Evaluator({**unknown, **job.contexts, "env": env})


def _environment(job: PlannedJob) -> dict[str, str]:
    found: dict[str, str] = {}
    for environment in job.environments:
        found |= _texts(environment, _evaluator(job, found))
    return found


def _texts(environment: Any, evaluator: Evaluator) -> dict[str, str]:
    return {name: evaluator.text(text, name) for name, text in environment.items()}


def _container(container: PlannedContainer, job: PlannedJob) -> dict[str, Any]:
    said = {
        "image": container.image or "",
        "env": _texts(container.env, _evaluator(job, {})),
        "ports": list(container.ports),
        "options": list(container.options),
    }
    return {key: value for key, value in said.items() if value}


def _step(step: Step, planned: list[PlannedJob]) -> dict[str, Any] | str:
    """`NAME = ACTION`, or just the action where it has no name; more where there is more to say of it."""
    first = planned[0]
    env = _texts(step.env, _evaluator(first, _environment(first)))
    action = "run" if isinstance(step.action, Script) else step.action.uses
    name = _evaluator(first, env).text(step.name, "name").strip() if step.name else ""
    said = {
        "step": f"{name} = {action}"
        if name
        else step_name(step).removeprefix("Run ")
        if action != "run"
        else step_name(step),
        "id": step.id or "",
        "if": _shared([_holds(step, one) for one in planned]),
        "env": env,
        "shell": (step.action.shell or "") if isinstance(step.action, Script) else "",
        "in": (step.action.working_directory or "") if isinstance(step.action, Script) else "",
        "timeout-minutes": "" if step.timeout_minutes is None else f"{step.timeout_minutes:g}",
        "continue-on-error": str(step.continue_on_error).lower(),
    }
    kept = {key: value for key, value in said.items() if value not in ("", {}, "true" if key == "if" else "false")}
    return kept["step"] if len(kept) == 1 else kept


def _holds(step: Step, job: PlannedJob) -> str:
    """Whether the step runs where all before it succeeded and gave no outputs."""
    evaluator = _evaluator(job, _environment(job))
    return str(is_true(evaluate(parse_condition(step.condition), evaluator.contexts, _Success()))).lower()


class _Success:
    def success(self) -> bool:
        return True

    def failure(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def hash_files(self, patterns: tuple[str, ...]) -> str:
        return f"hash of {', '.join(patterns)}"
