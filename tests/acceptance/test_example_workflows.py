"""The examples of workflows: each is decoded, planned, run where that takes no internet, and says what it should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import docker_image
import msgspec
import pytest
from system import Repository

from buildsys.core.build import Build, Outcome
from buildsys.core.workflow_file import examine_workflow
from buildsys.testing import BuildSystem

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
NAMES = sorted(file.name for file in FOLDER.glob("*.yml"))
HERE = ".github/workflows"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of one: its jobs by name with their outcomes, and lines that its log has.

    It is pushed, or started by hand with `inputs`; `also` are other files that it needs.
    """

    jobs: dict[str, str]
    says: tuple[str, ...]
    inputs: dict[str, str] | None = None
    also: tuple[str, ...] = ()


ONE = {"test": "success"}
EXAMPLES = {
    "composite.yml": Example(
        jobs={"greet": "success"},
        says=("hello, everybody", "it said 'hello, everybody'"),
        also=("actions/greet/action.yml",),
    ),
    "concurrency.yml": Example(jobs=ONE, says=("testing COMMIT",)),
    "conditions.yml": Example(jobs=ONE, says=("all tests passed", "this always runs")),
    "deploy.yml": Example(
        jobs={"test": "success", "deploy": "success", "preview": "skipped", "tell": "success"},
        says=("deploying COMMIT", "deploy success, preview skipped"),
    ),
    "dynamic-matrix.yml": Example(
        jobs={"find": "success", "test (core)": "success", "test (web)": "success"},
        says=("testing core", "testing web"),
    ),
    "env.yml": Example(
        jobs={"greet": "success"}, says=("good morning from version 1.10", "good night from main at COMMIT")
    ),
    "inputs.yml": Example(
        jobs={"release": "success"},
        says=("level debug, 3 times", "releasing"),
        inputs={"level": "debug", "times": "3"},
    ),
    "matrix.yml": Example(
        jobs={
            "Test on debian with postgres": "success",
            "Test on debian with sqlite": "success",
            "Test on alpine with sqlite": "success",
            "Test on fedora with sqlite": "success",
        },
        says=("testing on alpine with sqlite", "testing all of it"),
    ),
    "needs.yml": Example(
        jobs={"publish": "success", "test": "success", "lint": "success"}, says=("publishing COMMIT", "linting")
    ),
    "outputs.yml": Example(
        jobs={"version": "success", "package": "success"}, says=("counted 1.1", "packing version 1.1")
    ),
    "reusable.yml": Example(
        jobs={"staging / deploy": "success", "production / deploy": "success", "tell": "success"},
        says=(
            "deploying to production",
            "https://staging.example.org and https://production.example.org are new",
        ),
        also=("called.yml",),
    ),
    "schedule.yml": Example(jobs={"report": "success"}, says=("a report, by workflow_dispatch",), inputs={}),
    "secrets.yml": Example(jobs={"deploy": "success"}, says=("deploying to eu-central with ***",)),
    "short.yml": Example(jobs={"build": "success"}, says=("Hello world", "42")),
    "summary.yml": Example(jobs=ONE, says=()),
}
NOT_RUN = {
    "called.yml": "it runs where reusable.yml calls it",
    "container.yml": "its images are on the internet",
    "services.yml": "its image is on the internet",
    "build-container.yml": "it is run below, with a Dockerfile",
}


@pytest.fixture
async def system(postgres_dsn: str) -> AsyncIterator[BuildSystem]:
    async with BuildSystem(database_url=postgres_dsn) as system:
        yield system


def test_each_example_is_run_or_it_is_said_why_not() -> None:
    assert sorted([*EXAMPLES, *NOT_RUN]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_without_errors_and_warnings(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert examine_workflow(text, file=name).findings == ()
    assert text.startswith("# "), "it should say what it shows"


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_runs(system: BuildSystem, name: str) -> None:
    example = EXAMPLES[name]
    await system.api.put("/secrets/DEPLOY_TOKEN", {"value": "a token of some length"})
    await system.api.put("/variables/REGION", {"value": "eu-central"})
    build = await built(system, (name, *example.also), inputs=example.inputs)
    assert (build.outcome, build.reason) == (Outcome.SUCCESS, None)
    assert {job.name: job.outcome for job in build.jobs} == example.jobs
    lines = (await system.log(build.id)).replace(build.commit, "COMMIT").splitlines()
    assert set(example.says) <= set(lines)


async def test_the_deployment_of_another_branch(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    repository.commit({f"{HERE}/deploy.yml": (FOLDER / "deploy.yml").read_text()}, branch="idea")
    await system.add_project("shop", repository=repository.path)
    build = await system.wait((await system.push("shop", branch="idea")).builds[0])
    outcomes = {job.id: job.outcome for job in build.jobs}
    assert outcomes == {"test": "success", "deploy": "skipped", "preview": "success", "tell": "success"}
    assert "deploy skipped, preview success\n" in await system.log(build.id)


@pytest.mark.docker
async def test_the_image_of_the_projects_own_dockerfile(postgres_dsn: str) -> None:
    docker_image.require_engine()
    dockerfile = f"FROM {docker_image.base_image()}\nARG GREETING\nRUN echo $GREETING from the image > /greeting\n"
    async with BuildSystem(database_url=postgres_dsn, driver="docker") as system:
        build = await built(system, ("build-container.yml",), Dockerfile=dockerfile)
        assert (build.outcome, build.reason) == (Outcome.SUCCESS, None)
        assert await system.log(build.id, job="test", step=1) == "hello from the image\n"


async def built(
    system: BuildSystem, paths: tuple[str, ...], *, inputs: dict[str, str] | None = None, **files: str
) -> Build:
    """The build of a repository that has these files of the examples, and others: of a push, or with the inputs."""
    repository = Repository(system.folder / "shop")
    for path in paths:
        files[path if "/" in path else f"{HERE}/{path}"] = (FOLDER / path).read_text()
    repository.commit(files)
    await system.add_project("shop", repository=repository.path)
    made = (await system.push("shop")).builds if inputs is None else await system.start("shop", **inputs)
    return await system.wait(made[0], seconds=100)
