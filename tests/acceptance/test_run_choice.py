"""What `buildsys run` is asked for, and what it runs of it; what cannot be meant is said with what may be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from run_place import Place, printed

FOLDER = ".github/workflows/"
CI = """
name: Checks
on: {push: {branches: [main]}, pull_request: {}}
jobs:
  test: {runs-on: ubuntu-latest, steps: [{run: 'echo "$GITHUB_EVENT_NAME ${{ github.event.number }} $GITHUB_REF"'}]}
  report: {needs: test, runs-on: ubuntu-latest, steps: [{run: 'true'}]}
"""
RELEASE = """
on:
  push: {tags: ['v*']}
  workflow_dispatch: {inputs: {level: {type: choice, options: [low, high], required: true}, fast: {type: boolean}}}
jobs:
  release:
    runs-on: ubuntu-latest
    steps:
      - run: echo "${{ inputs.level }} ${{ inputs.fast && 1 || 0 }} ${{ github.event.inputs.fast || '-' }} $GITHUB_REF"
"""
CALLED = "on: workflow_call\njobs: {inner: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write({f"{FOLDER}ci.yml": CI, f"{FOLDER}release.yml": RELEASE, f"{FOLDER}called.yml": CALLED})
    place.git("init", "--quiet", "-b", "main")
    return place


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--job", "test"], "push  refs/heads/main"),
        (["checks", "-j", "test", "--event", "pull_request"], "pull_request 1 refs/pull/1/merge"),
        (["release.yml", "--input", "level=high", "-i", "fast=true"], "high 1 true refs/heads/main"),
        (["release.yml", "--input", "level=low"], "low 0 false refs/heads/main"),
        (["release", "--payload", "-"], " 0 - refs/tags/v1"),
    ],
)
async def test_workflows_events_and_payloads(place: Place, arguments: list[str], said: str) -> None:
    ended = await place.run(*arguments, given=json.dumps({"ref": "refs/tags/v1"}).encode())
    assert ended.code == 0, ended.text + ended.errors
    assert said in printed(ended)


async def test_a_workflow_that_is_named_runs_on_any_branch(place: Place) -> None:
    place.git("checkout", "--quiet", "-b", "topic")
    unnamed = await place.run()
    assert (unnamed.code, "branch 'topic' matches none of: main" in unnamed.errors) == (2, True)
    named = await place.run(".github/workflows/ci.yml", "--job", "test")
    assert (named.code, "push  refs/heads/topic" in printed(named)) == (0, True)
    assert "The event by itself would not start it: branch 'topic' matches none of: main" in named.errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekcs"], "there is no workflow 'chekcs'; did you mean 'checks'?"),
        (["--job", "tset"], "there is no job 'tset'; did you mean 'test'?"),
        (
            ["--job", "release"],
            "the job 'release' is in .github/workflows/release.yml, which this event does not start",
        ),
        (["--event", "pull_requests"], "there is no event 'pull_requests'; did you mean 'pull_request'?"),
        (["ci", "--event", "schedule"], "ci.yml runs on push, pull_request, not on schedule"),
        (["called"], "called.yml only runs when another workflow calls it"),
        (["release", "--input", "levle=low"], "unknown input 'levle'; did you mean 'level'?"),
        (["release", "--input", "level=middle"], "input 'level': expected one of low, high, found 'middle'"),
        (["--input", "level"], "--input takes NAME=VALUE, not 'level'"),
        (["--secret", "NOT_SET_ANYWHERE"], "there is no variable NOT_SET_ANYWHERE in the environment"),
        (["--var", "GITHUB_X=1"], "does not begin with GITHUB_"),
        (["--payload", "-"], "--payload: expected a JSON object"),
        (["--image", "=x"], "--image takes IMAGE or LABEL=IMAGE"),
    ],
)
async def test_what_cannot_be_meant_runs_nothing(place: Place, arguments: list[str], said: str) -> None:
    ended = await place.run(*arguments, given=b"[]")
    assert (ended.code, ended.text) == (2, "")
    assert said in " ".join(ended.errors.split())


async def test_a_folder_without_workflows(tmp_path: Path) -> None:
    ended = await Place(tmp_path).run()
    assert (ended.code, "There is no workflow in" in ended.errors) == (2, True)


@pytest.mark.parametrize(
    ("config", "said"),
    [("[core", "fatal: bad config line"), ("[core]\nrepositoryformatversion = 99", "version <= 1, found 99")],
)
async def test_a_repository_that_git_does_not_read_is_not_taken_for_none(place: Place, config: str, said: str) -> None:
    (place.folder / ".git/config").write_text(config)
    ended = await place.run("ci")
    assert (ended.code, ended.text) == (2, "")
    assert said in ended.errors


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize("within", ["", "deep"])
async def test_a_repository_of_somebody_else(place: Place, within: str) -> None:
    (place.folder / "deep").mkdir()
    for path in (place.folder, place.folder / ".git"):
        os.chown(path, 12345, 12345)
    ended = await place.run("ci", cwd=place.folder / within, driver="process")
    assert (ended.code, ended.text) == (2, "")
    assert "dubious ownership" in ended.errors


async def test_from_a_folder_within_the_repository(place: Place) -> None:
    (place.folder / "deep").mkdir()
    before = place.state()
    process = await place.start("ci", "--job", "test")
    await process.communicate()
    ended = await place.run("../.github/workflows/ci.yml", "--list", cwd=place.folder / "deep")
    assert (process.returncode, ended.code) == (0, 0)
    place.check(before)


async def test_the_list_shows_all_and_runs_nothing(place: Place) -> None:
    shown = await place.run("--list")
    assert shown.code == 0
    assert ".github/workflows/ci.yml  Checks  on push, pull_request\n" in shown.text
    assert "  report  test   ubuntu-latest\n" in shown.text
    (called, ci, release) = (await place.run("--list", "--json")).json
    assert [job["id"] for job in ci["jobs"]] == ["test", "report"]
    assert ci["jobs"][1]["needs"] == ["test"]
    assert (called["on"], release["on"]) == (["workflow_call"], ["push", "workflow_dispatch"])
    place.write({f"{FOLDER}wrong.yml": "on: push\njobs: 1\n"})
    wrong = await place.run("--list")
    assert (wrong.code, "wrong.yml  errors: 1; buildsys lint shows them" in wrong.text) == (2, True)
