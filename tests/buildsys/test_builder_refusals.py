"""Workflow files that are wrong: each is a failed build, and the others of its commit are built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from inbox_bench import FILE, WORKFLOW, Inbox, inbox_on
from thread_gate import ThreadGate

from actors import Database
from buildsys.core.build import Build
from buildsys.core.logs import END, LINES, unfold
from buildsys.core.trigger import Commit, Wanted

WRONG = ".github/workflows/wrong.yml"
CALLED = ".github/workflows/called.yml"
JOB = "jobs: {a: {runs-on: linux, steps: [run: echo hi]}}"


@pytest.fixture
async def inbox(database: Database, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with inbox_on(database, tmp_path) as inbox:
        yield inbox


async def pushed(inbox: Inbox, files: dict[str, str], *, branch: str = "main") -> dict[str, Build]:
    """The builds of a push of the files, by their workflows."""
    builds = await inbox.built(await inbox.push(inbox.repository.commit(files), branch=branch))
    return {build.workflow: build for build in builds}


async def errors(inbox: Inbox, build: Build) -> tuple[str, str, str]:
    """How a build ends that cannot run: outcome, reason, and what its log has."""
    await inbox.builds.get(str(build.id)).start_build()
    ended = await inbox.bench.stopped(build.id)
    records = await inbox.bench.logs.read(build.id, after=0)
    assert records[-1].kind == END
    printed = b"".join(unfold(record) for record in records if record.kind == LINES).decode()
    return str(ended.outcome), ended.reason or "", printed


async def test_a_wrong_file_ends_only_itself(inbox: Inbox) -> None:
    wrong = (
        "on: push\njobs:\n  a:\n    runs-on: linux\n    step: []\n  b: {needs: c, runs-on: linux, steps: [run: x]}\n"
    )
    builds = await pushed(inbox, {FILE: WORKFLOW, WRONG: wrong})
    assert sorted(builds) == [FILE, WRONG]
    assert [job.id for job in builds[FILE].jobs] == ["a"]
    outcome, reason, printed = await errors(inbox, builds[WRONG])
    assert outcome == "failed"
    assert reason.splitlines()[0] == f"{WRONG}:3:3: jobs.a: missing 'steps'"
    assert f"{WRONG}:5:5: jobs.a.step: unknown key; did you mean 'steps'?" in reason.splitlines()
    assert any("jobs.b.needs" in line for line in reason.splitlines())
    assert printed == reason + "\n"


async def test_the_setup_of_such_a_build_has_failed(inbox: Inbox) -> None:
    build = (await pushed(inbox, {WRONG: "on: push\njobs: []"}))[WRONG]
    await errors(inbox, build)
    (job,) = (await inbox.bench.builds.get(build.id)).jobs
    assert (job.name, job.outcome) == ("Workflow file", "failed")
    assert [(step.name, step.outcome) for step in job.steps] == [("Set up job", "failed")]
    verdict = await inbox.bench.verification().verify(build.id)
    assert (verdict.state, verdict.faults, verdict.missing) == ("complete", (), ())


@pytest.mark.parametrize(
    "text",
    ["on: [push", "on: psh\n" + JOB, "on: {push: {branchs: [x]}}\n" + JOB, "\0", "[1]", "&a [*a]", "on: push\n"],
)
async def test_what_cannot_be_read_at_all_is_heard_of_on_a_push(inbox: Inbox, text: str) -> None:
    build = (await pushed(inbox, {WRONG: text}))[WRONG]
    outcome, reason, _ = await errors(inbox, build)
    assert outcome == "failed"
    assert reason.startswith(f"{WRONG}:")


async def test_a_wrong_file_is_silent_where_it_would_not_have_run(inbox: Inbox) -> None:
    wrong = "on: {push: {branches: [release]}}\njobs: {a: {}}"
    assert sorted(await pushed(inbox, {FILE: WORKFLOW, WRONG: wrong})) == [FILE]


async def test_more_errors_than_anybody_reads_are_counted(inbox: Inbox) -> None:
    steps = "".join("      - rum: x\n" for _ in range(1500))
    build = (await pushed(inbox, {WRONG: f"on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n{steps}"}))[WRONG]
    _, reason, printed = await errors(inbox, build)
    assert (len(reason.splitlines()), len(printed.splitlines())) == (21, 1001)
    assert reason.splitlines()[-1].startswith("and ")
    assert reason.splitlines()[-1].endswith(" more errors")


async def test_a_called_workflow_that_is_missing_or_wrong_is_the_callers_error(inbox: Inbox) -> None:
    caller = f"on: push\njobs: {{b: {{uses: ./{CALLED}}}}}"
    build = (await pushed(inbox, {FILE: caller}))[FILE]
    missing = f"{FILE}: jobs.b.uses: there is no workflow {CALLED!r} at this commit"
    assert (await errors(inbox, build))[:2] == ("failed", missing)
    wrong = "on: workflow_call\njobs: {a: {runs-on: linux}}"
    builds = await pushed(inbox, {FILE: caller, CALLED: wrong, WRONG: WORKFLOW})
    assert sorted(builds) == [FILE, WRONG]
    _, reason, _ = await errors(inbox, builds[FILE])
    assert reason.splitlines() == [
        f"{FILE}: jobs.b.uses: {CALLED!r} is wrong",
        f"{CALLED}:2:8: jobs.a: missing 'steps'",
    ]


async def test_an_expression_that_fails_only_when_it_is_planned(inbox: Inbox) -> None:
    text = "on: push\nrun-name: '${{ fromJSON(github.event.after) }}'\n" + JOB
    outcome, reason, _ = await errors(inbox, (await pushed(inbox, {FILE: text}))[FILE])
    assert outcome == "failed"
    assert reason.startswith(f"{FILE}: run-name: ")


async def test_another_attempt_at_a_wrong_file_says_the_same(inbox: Inbox) -> None:
    build = (await pushed(inbox, {WRONG: "on: push"}))[WRONG]
    first = await errors(inbox, build)
    again = await inbox.bench.builds.get(await inbox.builder.retry(build.id))
    assert await errors(inbox, again) == first


async def test_a_person_hears_of_a_wrong_file_that_they_asked_for(inbox: Inbox) -> None:
    inbox.repository.commit({WRONG: "on: workflow_dispatch\njobs: {a: {runs-on: linux}}", FILE: WORKFLOW})
    (made,) = await inbox.builder.start(inbox.project, workflow="wrong.yml", inputs={"x": "1"}, by="ann")
    _, reason, _ = await errors(inbox, await inbox.bench.builds.get(made))
    assert reason == f"{WRONG}:2:8: jobs.a: missing 'steps'"


@pytest.mark.parametrize(("owner", "name"), [(Commit, "of_files"), (Commit, "triggered"), (Wanted, "plan")])
async def test_files_that_take_long_to_read_hold_up_nobody(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    gate = ThreadGate()
    monkeypatch.setattr(owner, name, gate.held(getattr(owner, name)))
    building = asyncio.create_task(pushed(inbox, {FILE: WORKFLOW}))
    await gate.reached.wait()
    gate.open()
    assert list(await building) == [FILE]
