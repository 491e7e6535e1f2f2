"""What project settings ask to be run; and the examples, each of which is decoded, planned and sound."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from planning_cases import FACTS, PUSH

from buildsys.core.called_workflows import gather
from buildsys.core.contexts import build_contexts
from buildsys.core.course import Course
from buildsys.core.decisions import Start
from buildsys.core.definition import Script, Workflow
from buildsys.core.planned import PlannedContainer, PlannedJob
from buildsys.core.planning import PlanSettings, plan_build
from buildsys.core.project import ProjectSettings
from buildsys.core.project_workflow import project_workflow
from buildsys.core.workflow_file import decode_workflow

EXAMPLES = Path(__file__).parents[2] / "examples"
HELLO = EXAMPLES / "hello"
WORKFLOWS = sorted([*EXAMPLES.glob("workflows/*.yml"), HELLO / ".github/workflows/ci.yml"])
CALLED = {
    f".github/workflows/{file.name}": decode_workflow(file.read_bytes(), file=f".github/workflows/{file.name}")
    for file in EXAMPLES.glob("workflows/*.yml")
}
SETTINGS = PlanSettings(images={"ubuntu-latest": "ubuntu:24.04", "linux": "debian:13"}, image="alpine:3")


def first_jobs(workflow: Workflow) -> tuple[PlannedJob, ...]:
    """The jobs that a push starts at once."""
    contexts = build_contexts(PUSH, FACTS, inputs={}, variables={})
    called = gather(workflow, CALLED.get)
    plan = plan_build(workflow, called=called, contexts=contexts, settings=SETTINGS)
    decisions = Course(plan).advance({}).decisions
    return tuple(job for decision in decisions if isinstance(decision, Start) for job in decision.jobs)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (
            ProjectSettings(repository="r", build_command="make", deploy_command="make deploy"),
            [("Build", "make"), ("Deploy", "make deploy")],
        ),
        (ProjectSettings(repository="r", build_command="make"), [("Build", "make")]),
    ],
)
def test_a_projects_own_commands_are_one_job(settings: ProjectSettings, steps: list[tuple[str, str]]) -> None:
    workflow = project_workflow(settings)
    assert workflow is not None
    (job,) = first_jobs(workflow)
    assert (job.id, job.container) == ("build", PlannedContainer(image="alpine:3"))
    assert [(step.name, step.action) for step in job.steps] == [(name, Script(run=run)) for name, run in steps]


@pytest.mark.parametrize("deploy", [None, "up"])
def test_without_a_build_command_there_is_nothing_to_build(deploy: str | None) -> None:
    assert project_workflow(ProjectSettings(repository="r", deploy_command=deploy)) is None


def test_a_projects_own_image_comes_first() -> None:
    workflow = project_workflow(ProjectSettings(repository="r", image="rust:1", build_command="cargo build"))
    assert workflow is not None
    assert [job.container for job in first_jobs(workflow)] == [PlannedContainer(image="rust:1")]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_an_example_is_a_plan(file: Path) -> None:
    jobs = first_jobs(decode_workflow(file.read_bytes(), file=file.name))
    assert jobs
    for job in jobs:
        assert job.steps
        assert job.container


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
    workflow = decode_workflow((HELLO / ".github/workflows/ci.yml").read_bytes(), file="ci.yml")
    printed = ""
    for job in workflow.jobs.values():
        for script, step in ((step.action, step) for step in job.steps if isinstance(step.action, Script)):
            given = {"PATH": "/usr/bin:/bin", "GITHUB_SHA": "1" * 40, "GITHUB_REF_NAME": "main"}
            env = {**given, **dict(job.env), **dict(step.env)}
            command = ["sh", "-e", "-c", script.run]
            printed += subprocess.run(
                command, cwd=workspace, env=env, check=True, capture_output=True, text=True
            ).stdout
    assert "line 100 of 100\n" in printed
    assert "semver-1.4.2/semver.sh" in printed
    assert printed.endswith("The next release is 1.5.0\n")
