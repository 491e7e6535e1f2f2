"""Random files: each is refused with its place, or is a workflow whose build comes to an end, in moments."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest
from fuzz_cases import CASES, fuzz
from fuzz_files import any_file
from planning_cases import FACTS, Build, workflow_of

from buildsys.core.called_workflows import gather
from buildsys.core.contexts import build_contexts
from buildsys.core.decisions import JobEnd, Result
from buildsys.core.definition import Action, Workflow
from buildsys.core.events import Event, match
from buildsys.core.expressions import ExpressionError
from buildsys.core.inputs import inputs_of
from buildsys.core.planned import PlannedJob
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build
from buildsys.core.workflow_file import decode_action, decode_workflow, examine_action, examine_workflow
from buildsys.errors import Invalid, WorkflowError
from buildsys.runner.hash_files import FileHasher
from buildsys.runner.job_contexts import Place, job_contexts, job_environment
from buildsys.runner.step_preparation import Around, Status, prepare

PATH = ".github/workflows/ci.yml"
HOSTILE = (
    *("", "x", "$(touch pwned)", "`id`; rm -rf /", "../..", "a\nb\n::add-mask::x", "${{ secrets.X }}", "\x1b[2J", "😀"),
    *("1", "true", "null", "[]", "{}", "[1, 2, 2]", '["a", {"b": [[]]}]', '{"include": [{}]}', '{"os": "x"}', "1e999"),
    *("[" * 70 + "]" * 70, json.dumps(list(range(300))), json.dumps(["x" * 3000] * 100), "9" * 400, "--privileged"),
    *('{"os": ' + json.dumps(list(range(20))) + ', "n": ' + json.dumps(list(range(20))) + "}", "\0", "\ufffd", "]"),
)
"""Outputs of jobs, inputs, variables and what stands in payloads."""

CALLED = """
on: {workflow_call: {inputs: {who: {type: string}}, outputs: {o: {value: '${{ fromJSON(jobs.a.outputs.o) }}'}}}}
jobs:
  a: {runs-on: x, outputs: {o: '${{ inputs.who }}'}, steps: [run: x]}
  b: {needs: a, if: failure() || inputs.who, strategy: {matrix: {n: [1, 2]}}, runs-on: x, steps: [run: x]}
"""
FILES = {".github/workflows/called.yml": workflow_of(CALLED, path=".github/workflows/called.yml")}


@pytest.mark.timeout(max(300, CASES))
def test_every_file_is_refused_with_its_place_or_built_to_its_end() -> None:
    fuzz(any_file, check, cases=600)


def check(data: bytes, chance: random.Random) -> None:
    _check_action(data)
    workflow = _workflow(data)
    if workflow is not None and (plan := _plan(workflow, chance)) is not None:
        _build(plan, chance)


def _workflow(data: bytes) -> Workflow | None:
    examined = examine_workflow(data, file=PATH)
    if not _checked(data, examined.findings):
        return decode_workflow(data, file=PATH)
    with pytest.raises(WorkflowError) as caught:
        decode_workflow(data, file=PATH)
    assert list(caught.value.errors) == _checked(data, examined.findings)
    return None


def _check_action(data: bytes) -> None:
    if not _checked(data, examine_action(data, file=PATH).findings):
        assert isinstance(decode_action(data, file=PATH), Action)


def _checked(data: bytes, findings: Any) -> list[str]:
    """The errors among findings, all of which say something of a place that the file has."""
    lines = len(re.split(r"\r\n|[\r\n\x85\u2028\u2029]", data.decode("utf-8", "replace"))) + 1
    for finding in findings:
        assert 1 <= finding.line <= lines, finding
        assert finding.column >= 1, finding
        assert finding.message, finding
    return [str(finding) for finding in findings if finding.severity == "error"]


def _plan(workflow: Workflow, chance: random.Random) -> BuildPlan | None:
    """The plan as it comes back from where it is stored; None where the workflow wants no such event, or is refused."""
    events = [_event(name, chance) for name in ("push", "pull_request", "workflow_dispatch", "schedule")]
    reasons = [match(workflow.on, event) for event in events]
    assert all(reason is None or reason for reason in reasons)
    event = next((event for event, reason in zip(events, reasons, strict=True) if reason is None), events[0])
    variables = {"OS": "linux", "MANY": json.dumps(list(range(300))), "TEXT": chance.choice(HOSTILE)}
    try:
        contexts = build_contexts(event, FACTS, inputs=inputs_of(event, workflow.on.dispatch), variables=variables)
        called = gather(workflow, {**FILES, PATH: workflow}.get)
        plan = plan_build(workflow, called=called, contexts=contexts, settings=PlanSettings(image="box"))
    except Invalid:
        return None
    return msgspec.json.decode(msgspec.json.encode(plan), type=BuildPlan)


def _event(name: str, chance: random.Random) -> Event:
    given = {key: chance.choice(HOSTILE) for key in ("title", "json", "body")}
    ref = chance.choice(("refs/heads/main", "refs/tags/v1", "refs/heads/$(id)/😀", "refs/heads/" + "x/" * 100))
    payload = {**given, "pull_request": given, "commits": [given] * 3, "schedule": "*/5 * * * *", "head_commit": None}
    inputs = {"a": "b"} if name == "workflow_dispatch" and chance.random() < 0.5 else {}
    paths = chance.choice((None, (), ("src/a.py", "README.md"), tuple(f"{'x/' * 50}{n}" for n in range(200))))
    return Event(
        name=name,
        ref=ref,
        sha="c0ffee",
        action="opened",
        base_branch="main",
        head_branch="patch",
        message=given["title"],
        paths=paths,
        inputs=inputs,
        payload=payload,
    )


def _build(plan: BuildPlan, chance: random.Random) -> None:
    """Some of what runs ends, again and again, with any result and any outputs, until all is over."""
    build = Build(plan)
    while build.progress.result is None:
        live = [id for id, end in build.rows.items() if end is None]
        assert live, f"nothing runs and the build goes on: {build.states}"
        build.cancelled = build.cancelled or chance.random() < 0.05
        for id in chance.sample(live, chance.randint((len(live) + 1) // 2, len(live))):
            outputs = {name: chance.choice(HOSTILE) for name in ("o", "host", "versions", "matrix")}
            build.rows[id] = JobEnd(result=chance.choice(list(Result)), outputs=outputs, order=len(build.rows))
        build.progress = build.settle()
    assert all(end is not None for end in build.rows.values())
    assert all(note for note in build.notes.values())
    for job in list(build.jobs.values())[:5]:
        _prepare(msgspec.json.decode(msgspec.json.encode(job), type=PlannedJob))


def _prepare(job: PlannedJob) -> None:
    """What its steps are to do, each as if it were the first."""
    place = Place(root=PurePosixPath("/buildsys"), runner="fuzz")
    contexts = job_contexts(job, place, {})
    try:
        env = job_environment(job, contexts)
    except ExpressionError:
        return
    hasher = FileHasher(folder=Path("/var/empty/none"), seen_at=PurePosixPath(place.workspace))
    around = Around(
        untouched=True,
        contexts={**contexts, "job": {"status": "success"}, "steps": {}},
        env=env,
        given={},
        fixed={},
        paths=(),
        status=Status(failed=False, canceled=False, hasher=hasher),
        defaults=job.defaults,
        place=place,
        workspace=Path("/var/empty/none"),
    )
    for number, step in enumerate(job.steps[:5], start=1):
        prepared = prepare(step, around, number=number)
        if prepared is not None:
            assert "\n" not in prepared.name
            msgspec.json.encode(prepared)
