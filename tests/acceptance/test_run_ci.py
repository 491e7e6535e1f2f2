"""This repository's own workflow file: what it runs, and that it runs here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from cli_command import Command
from git_server import git
from readme import ROOT
from run_place import Place

FILE = ROOT / ".github" / "workflows" / "ci.yml"
TESTS = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}


def test_its_parts_are_all_tests() -> None:
    parts = yaml.safe_load(FILE.read_text())["jobs"]["test"]["strategy"]["matrix"]["include"]
    words = [shlex.split(part["paths"]) for part in parts]
    own = {word.removeprefix("tests/") for part in words for word in part if word.startswith("tests/")}
    (rest,) = [part for part in words if part[0] == "tests"]
    assert {word.removeprefix("--ignore=tests/") for word in rest[1:]} == own
    assert own < TESTS


async def test_it_is_sound_and_has_these_jobs(tmp_path: Path) -> None:
    buildsys = Command()
    linted = await buildsys("lint", "--strict", str(FILE))
    assert linted.code == 0, linted.text
    listed = await buildsys("run", "--list", "--json", cwd=ROOT)
    (workflow,) = listed.json
    assert workflow["on"] == ["push", "pull_request", "workflow_dispatch"]
    assert [(job["id"], job["needs"]) for job in workflow["jobs"]] == [
        ("scripts", []),
        ("lint", []),
        ("test", ["lint"]),
    ]


@pytest.mark.timeout(180)
async def test_a_job_of_it_runs_here(tmp_path: Path) -> None:
    place = Place(tmp_path)
    git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(place.folder))
    ended = await place.run("ci", "--job", "scripts", limit=150)
    assert ended.code == 0, ended.text + ended.errors
    assert "12 of 12 tests passed" in ended.text
