"""Files as users of serverless-cd have them, through the whole system."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker_image
import pytest
from embedded import system_in_containers
from system import Repository, until

from buildsys.core.build import Build, Outcome
from buildsys.testing import BuildSystem

EXPRESS = """\
name: "Deploy Express application to FC"
steps:
- run: npm i @serverless-devs/s -g --registry=https://registry.npmmirror.com
- run: s -v
- run: echo ${{secrets.ALIYUN_ACCOUNTID}}
- run: echo ${{secrets.ALIYUN_AK}}
- run: echo ${{secrets.ALIYUN_SK}}
- run: s config add --AccountID ${{secrets.ALIYUN_ACCOUNTID}} --AccessKeyID ${{secrets.SIMPLE_ALIYUN_AK}} \
--AccessKeySecret ${{secrets.SIMPLE_ALIYUN_SK}} -a default -f
- run: s deploy --use-local -y
"""
"""The file of the article that presents serverless-cd."""

SECRETS = ("ALIYUN_ACCOUNTID", "ALIYUN_AK", "ALIYUN_SK", "SIMPLE_ALIYUN_AK", "SIMPLE_ALIYUN_SK")
STUB = '#!/bin/sh\necho "$(basename "$0") was told: $*"\n'

FIELDS = """\
env: {WHO: everybody, MOOD: good}
steps:
  - id: greet
    name: Greet ${{ env.WHO }}
    env: {WHO: you}
    run: |
      echo "$MOOD day, $WHO"
      echo "said=$WHO" >> "$GITHUB_OUTPUT"
  - run: mkdir deep
  - {run: basename "$PWD", working-directory: deep}
  - {run: exit 3, continue-on-error: true}
  - {run: 'echo ${{ steps.greet.outputs.said }}', if: "steps.greet.outcome == 'success'"}
  - {run: echo never, if: failure()}
  - {run: exit 4, name: Break}
  - {run: echo not reached}
  - {run: echo mended, if: failure()}
  - {run: echo cleaned, if: always()}
"""


@pytest.fixture
async def system(postgres_dsn: str) -> AsyncIterator[BuildSystem]:
    async with BuildSystem(database_url=postgres_dsn) as system:
        yield system


@pytest.fixture
def express_image(tmp_path: Path) -> Iterator[str]:
    """An image with commands that only say what they were told, under the names of npm and s."""
    docker_image.require_engine()
    tag = "buildsys-test-express:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {docker_image.base_image()}\nCOPY npm s /usr/bin/\n")
    for name in ("npm", "s"):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    yield tag
    subprocess.run(["docker", "rmi", "--force", tag], check=True, stdout=subprocess.DEVNULL)


async def built(system: BuildSystem, text: str) -> Build:
    """The build of a push to a repository with this file."""
    repository = Repository(system.folder / "shop")
    repository.workflow(text)
    await system.add_project("shop", repository=repository.path)
    (id,) = (await system.push("shop")).builds
    return await system.wait(id)


@pytest.mark.docker
async def test_a_file_of_serverless_cd_runs_as_it_is(express_image: str, postgres_dsn: str) -> None:
    async with BuildSystem(database_url=postgres_dsn, driver="docker", default_image=express_image) as system:
        for name in SECRETS:
            await system.api.put(f"/secrets/{name}", {"value": f"the-{name}-of-us"})
        build = await built(system, EXPRESS)
        assert (build.outcome, build.reason) == (Outcome.SUCCESS, None)
        lines = (await system.log(build.id, job="build")).splitlines()
        said = [line for line in lines if line.startswith(("npm", "s was", "***"))]
        assert said == [
            "npm was told: i @serverless-devs/s -g --registry=https://registry.npmmirror.com",
            "s was told: -v",
            *["***"] * 3,
            "s was told: config add --AccountID *** --AccessKeyID *** --AccessKeySecret *** -a default -f",
            "s was told: deploy --use-local -y",
        ]


async def test_every_field_of_a_step_and_what_is_told_of_it(system: BuildSystem) -> None:
    """Each step has its state, its outcome, and when it began and ended; those behind a failure do not begin."""
    build = await built(system, FIELDS)
    (job,) = (await system.api.get(f"/builds/{build.id}"))["jobs"]
    assert (build.outcome, job["outcome"]) == (Outcome.FAILED, "failed")
    assert [(step["name"], step["outcome"], step["exit_code"]) for step in job["steps"]] == [
        ("Set up job", "success", 0),
        ("Greet you", "success", 0),
        ("Run mkdir deep", "success", 0),
        ('Run basename "$PWD"', "success", 0),
        ("Run exit 3", "failed", 3),
        ("Run echo ${{ steps.greet.outputs.said }}", "success", 0),
        ("Run echo never", "skipped", None),
        ("Break", "failed", 4),
        ("Run echo not reached", "skipped", None),
        ("Run echo mended", "success", 0),
        ("Run echo cleaned", "success", 0),
    ]
    for step in job["steps"]:
        assert step["state"] == "stopped"
        if step["outcome"] != "skipped":
            assert step["started_at"] <= step["stopped_at"]
    printed = [await system.log(build.id, job="build", step=number) for number in (1, 3, 5, 9, 10)]
    assert printed == ["good day, you\n", "deep\n", "you\n", "mended\n", "cleaned\n"]


async def test_what_runs_after_a_cancel(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    steps = (
        "[{run: echo up; sleep 600}, {run: echo no}, {run: echo mended, if: failure()}, {run: echo yes, if: always()}]"
    )
    repository.workflow(f"steps: {steps}")
    await system.add_project("shop", repository=repository.path)
    (id,) = await system.start("shop")

    async def is_up() -> bool:
        return await system.log(id, job="build", step=1) == "up\n"

    await until(is_up)
    await system.api.post(f"/builds/{id}/cancel")
    build = await system.wait(id)
    assert [step.outcome for step in build.jobs[0].steps[1:]] == ["canceled", "skipped", "skipped", "success"]
    assert await system.log(id, job="build", step=4) == "yes\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
async def test_scripts_of_zx(system: BuildSystem) -> None:
    text = "name: zx example\nsteps:\n- script: 'const listFile = await $`ls -a`; console.log(listFile)'\n"
    build = await built(system, text + "- {shell: python, script: 'print(6 * 7)'}\n- script: await $`exit 7`\n")
    assert build.outcome == Outcome.FAILED
    assert ".buildsys.yml" in (await system.log(build.id, job="build", step=1)).split("'")[0]
    assert await system.log(build.id, job="build", step=2) == "42\n"
    assert "exit 7" in await system.log(build.id, job="build", step=3)


@pytest.mark.docker
async def test_a_script_of_zx_without_node_says_what_is_missing(postgres_dsn: str) -> None:
    async with system_in_containers(postgres_dsn, docker_image.base_image) as system:
        build = await built(system, "steps: [{script: console.log(1)}]")
        assert (build.outcome, build.jobs[0].steps[1].exit_code) == (Outcome.FAILED, 127)
        log = await system.log(build.id, job="build", step=1)
        assert log == "buildsys: error: there is no zx and no node here to run the step\n"


async def test_a_set_up_that_fails_tells_why_in_its_log(system: BuildSystem) -> None:
    build = await system.wait((await system.create_build()).id)
    (setup, say) = build.jobs[0].steps
    assert (build.outcome, setup.name, setup.outcome) == (Outcome.ERRORED, "Set up job", Outcome.ERRORED)
    assert say.outcome == Outcome.SKIPPED
    assert build.jobs[0].reason is not None
    assert build.jobs[0].reason in await system.log(build.id, job="only", step=0)


async def test_broken_yaml_is_a_failed_set_up_with_its_log(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    repository.workflow("steps: [{run: 'never closed}]")
    await system.add_project("shop", repository=repository.path)
    for id in (*(await system.push("shop")).builds, *await system.start("shop")):
        build = await system.wait(id)
        ((setup, *_),) = (job.steps for job in build.jobs)
        assert (build.outcome, setup.name, setup.outcome) == (Outcome.FAILED, "Set up job", Outcome.FAILED)
        (line,) = (await system.log(id, step=0)).splitlines()
        assert line.startswith(".buildsys.yml:1:")
        assert build.reason == line
