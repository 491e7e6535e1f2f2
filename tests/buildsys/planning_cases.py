"""Workflows in short, driven through their course by ends that a test gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from buildsys.core.called_workflows import gather
from buildsys.core.contexts import BuildFacts, build_contexts
from buildsys.core.course import Course
from buildsys.core.decisions import Cancel, Decision, Fail, JobEnd, Progress, Result, Skip, Start
from buildsys.core.definition import Workflow
from buildsys.core.events import Event
from buildsys.core.planned import PlannedJob
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build
from buildsys.core.workflow_file import decode_workflow

PATH = ".github/workflows/ci.yml"

PUSH = Event(name="push", ref="refs/heads/main", sha="c0ffee", payload={"sender": {"login": "ada", "id": 7}})

FACTS = BuildFacts(
    build_id="b-1",
    build_number=12,
    project="web",
    repository="acme/web",
    workflow="ci",
    workflow_path=PATH,
    server_url="https://forge.example",
)


def workflow_of(text: str, *, path: str = PATH) -> Workflow:
    """A workflow whose jobs need not say where they run and what; it is called `ci` and runs on every push."""
    given = yaml.safe_load(text)
    if True in given:  # what YAML 1.1 makes of `on`
        given["on"] = given.pop(True)
    whole = {"name": "ci", "on": "push", **(given if "jobs" in given else {"jobs": given})}
    for job in whole["jobs"].values():
        if "uses" not in job:
            job.setdefault("runs-on", "linux")
            job.setdefault("steps", [{"run": "true"}])
    return decode_workflow(json.dumps(whole), file=path)


def plan_of(
    text: str,
    *,
    called: Mapping[str, str] | None = None,
    event: Event = PUSH,
    inputs: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    settings: PlanSettings | None = None,
) -> BuildPlan:
    """A plan as it comes back from where it is stored; `called` are workflows by the names of their files."""
    workflow = workflow_of(text)
    files = {f".github/workflows/{name}": text for name, text in (called or {}).items()}
    contexts = build_contexts(event, FACTS, inputs=inputs or {}, variables=variables or {})

    def find(path: str) -> Workflow | None:
        return workflow_of(files[path], path=path) if path in files else None

    plan = plan_build(
        workflow, called=gather(workflow, find), contexts=contexts, settings=settings or PlanSettings(image="box")
    )
    return msgspec.json.decode(msgspec.json.encode(plan), type=BuildPlan)


class Build:
    """Stores what a course decides as rows, as a build does, until the jobs that were started have to end.

    Each decision is asked for twice: of the course so far, and of a new one, as after a takeover.
    """

    def __init__(self, plan: BuildPlan) -> None:
        self.plan = plan
        self.course = Course(plan)
        self.rows: dict[str, JobEnd | None] = {}
        self.jobs: dict[str, PlannedJob] = {}
        self.notes: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.cancelled = False
        self.progress = self.settle()

    @classmethod
    def of(cls, text: str, **given: Any) -> Build:
        return cls(plan_of(text, **given))

    def settle(self) -> Progress:
        while True:
            progress = self.course.advance(self.rows, cancelled=self.cancelled)
            assert Course(self.plan).advance(self.rows, cancelled=self.cancelled) == progress
            fresh = [decision for decision in progress.decisions if self._store(decision)]
            if not fresh:
                return progress

    def end(self, id: str, result: str = "success", **outputs: str) -> Build:
        assert self.rows.get(id, ...) is None, f"{id} does not run; there are {self.states}"
        order = sum(end is not None for end in self.rows.values())
        self.rows[id] = JobEnd(result=Result(result), outputs=outputs, order=order)
        self.progress = self.settle()
        return self

    def cancel(self) -> Build:
        self.cancelled = True
        self.progress = self.settle()
        return self

    def play(self, script: str) -> Build:
        """Ends of jobs in turn, such as `a=success b=failure`; `cancel` cancels the build."""
        for word in script.split():
            if word == "cancel":
                self.cancel()
            else:
                self.end(*word.split("="))
        return self

    @property
    def states(self) -> dict[str, str]:
        """Every row: its result, or `runs`, `held` or `to be cancelled`."""
        ordered = {id for decision in self.progress.decisions if isinstance(decision, Cancel) for id in decision.ids}
        running = {id: "to be cancelled" if id in ordered else "runs" for id in self.rows}
        running |= dict.fromkeys(set(self.progress.held) - ordered, "held")
        return {id: running[id] if end is None else str(end.result) for id, end in self.rows.items()}

    def _store(self, decision: Decision) -> bool:
        match decision:
            case Start(jobs=jobs):
                for job in jobs:
                    assert self.rows.setdefault(job.id, None) is None
                    self.jobs[job.id], self.names[job.id] = job, job.name
            case Skip(id=id, name=name, reason=reason):
                self._over(id, name, reason, Result.SKIPPED)
            case Fail(id=id, name=name, message=message):
                self._over(id, name, message, Result.FAILURE)
            case Cancel():
                return False
        return True

    def _over(self, id: str, name: str, note: str, result: Result) -> None:
        assert id not in self.rows
        self.rows[id], self.notes[id], self.names[id] = JobEnd(result=result), note, name


def only_job(text: str, **given: Any) -> PlannedJob:
    """The one planned job of a workflow of one job."""
    build = Build.of(text, **given)
    assert build.notes == {}
    (job,) = build.jobs.values()
    return job


def why(text: str, **given: Any) -> str:
    """Why the one job of a workflow could not be planned."""
    build = Build.of(text, **given)
    assert list(build.states.values()) == ["failure"], build.states
    (note,) = build.notes.values()
    return note
