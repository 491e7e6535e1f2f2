"""What workflows and project settings ask to be run; and the examples, each of which is decoded, planned and sound."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from buildsys.core.plan import StepPlan
from buildsys.core.project import ProjectSettings
from buildsys.core.workflow import decode, freestyle, plan

EXAMPLES = Path(__file__).parents[2] / "examples"
HELLO = EXAMPLES / "hello"
WORKFLOWS = sorted([*EXAMPLES.glob("workflows/*.yml"), HELLO / ".github/workflows/ci.yml"])
IMAGES = {"ubuntu-latest": "ubuntu:24.04", "linux": "debian:13"}


@pytest.mark.parametrize(
    ("job", "default", "image"),
    [
        ("runs-on: ubuntu-latest", None, "ubuntu:24.04"),
        ("runs-on: [self-hosted, linux, ubuntu-latest]", None, "debian:13"),
        ("runs-on: other", "alpine:3", "alpine:3"),
        ("runs-on: other", None, None),
        ("runs-on: ubuntu-latest, container: python:3", "alpine:3", "python:3"),
    ],
)
def test_a_jobs_image(job: str, default: str | None, image: str | None) -> None:
    workflow = decode(f"on: push\njobs: {{a: {{{job}, steps: [run: x]}}}}", file="ci.yml")
    assert plan(workflow, images=IMAGES, default_image=default).jobs[0].image == image


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (
            ProjectSettings(repository="r", build_command="make", deploy_command="make deploy"),
            (StepPlan(number=1, name="Build", run="make"), StepPlan(number=2, name="Deploy", run="make deploy")),
        ),
        (ProjectSettings(repository="r", build_command="make"), (StepPlan(number=1, name="Build", run="make"),)),
        (ProjectSettings(repository="r", deploy_command="up"), (StepPlan(number=1, name="Deploy", run="up"),)),
    ],
)
def test_a_projects_own_commands_are_one_job(settings: ProjectSettings, steps: tuple[StepPlan, ...]) -> None:
    (job,) = freestyle(settings, default_image="alpine:3").jobs
    assert (job.id, job.image, job.steps) == ("build", "alpine:3", steps)


def test_a_projects_own_image_comes_first() -> None:
    settings = ProjectSettings(repository="r", image="rust:1", build_command="cargo build")
    assert freestyle(settings, default_image="alpine:3").jobs[0].image == "rust:1"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_an_example_is_a_plan(file: Path) -> None:
    planned = plan(decode(file.read_bytes(), file=file.name), images=IMAGES, default_image=None)
    placed: set[str] = set()
    for job in planned.jobs:
        assert placed.issuperset(job.needs)
        assert job.steps
        assert job.image
        placed.add(job.id)


@pytest.mark.parametrize("shell", [["sh"], ["dash"], ["bash"], ["busybox", "sh"]], ids=" ".join)
def test_the_project_hello_passes_its_own_tests(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} here")
    ran = subprocess.run([*shell, str(HELLO / "test.sh")], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "12 of 12 tests passed" in ran.stdout


def test_the_workflow_of_hello_runs_to_its_end(tmp_path: Path) -> None:
    """Each step's script, as it is, in a copy of the project."""
    workspace = shutil.copytree(HELLO, tmp_path / "workspace")
    workflow = decode((HELLO / ".github/workflows/ci.yml").read_bytes(), file="ci.yml")
    printed = ""
    for job in workflow.jobs:
        for step in job.steps:
            env = {"PATH": "/usr/bin:/bin", "GITHUB_SHA": "1" * 40, "GITHUB_REF_NAME": "main", **job.env, **step.env}
            command = ["sh", "-e", "-c", step.run]
            printed += subprocess.run(
                command, cwd=workspace, env=env, check=True, capture_output=True, text=True
            ).stdout
    assert "line 100 of 100\n" in printed
    assert "semver-1.4.2/semver.sh" in printed
    assert printed.endswith("The next release is 1.5.0\n")
