"""Services go with their job, whatever becomes of it: its end, a cancel, its time, and a `kill -9` of the runner."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import docker_image
import outside
import pytest
from greeter import HEALTHY, greeter_image
from system import Repository, System, until

pytestmark = pytest.mark.docker

WAITING = "--health-cmd 'test -e /tmp/go' --health-interval 200ms --health-retries 1000"
ALL = 5
"""Containers of a job with two services of which one is on localhost: its own, those, their keeper, the forwarder."""


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    docker_image.require_engine()
    image = docker_image.base_image()
    async with System(tmp_path / "data", driver="docker", BUILDSYS_DEFAULT_IMAGE=image, BUILDSYS_GRACE="2") as system:
        yield system


async def begun(system: System, repository: Repository, script: str, options: str, **job: object) -> str:
    """A build of one job with two services, of which one is to become healthy by `options`."""
    image = greeter_image()
    services = {"db": {"image": image, "options": options, "ports": ["5432"]}, "other": {"image": image}}
    text = {"runs-on": "linux", "services": services, "steps": [{"run": script}], **job}
    commit = repository.workflow(json.dumps({"on": "push", "jobs": {"a": text}}))
    secret = await system.add_project("demo", str(repository.path))
    await system.push("demo", secret, commit=commit)
    return await system.only_build("demo")


async def has(build: str, count: int) -> None:
    async def look() -> bool:
        return len(outside.containers(build)) == count

    await until(look, what=f"{count} containers of the build")


def networks(system: System) -> list[str]:
    """Of the jobs of an installation; the one that all its jobs share has another name."""
    installation = (system.folder / "installation").read_text().strip()
    return docker("network", "ls", "--quiet", "--filter", f"name=buildsys-{installation}-").split()


def nothing_is_left(system: System, build: str) -> bool:
    return (outside.containers(build), networks(system)) == ([], [])


async def test_after_a_cancel_of_a_step(system: System, repository: Repository) -> None:
    build = await begun(system, repository, "sleep 600", HEALTHY)
    await has(build, ALL)
    await system.call("POST", f"/builds/{build}/cancel")
    assert (await system.stopped(build))["outcome"] == "canceled"
    assert nothing_is_left(system, build)


async def test_after_a_cancel_while_a_service_is_waited_for(system: System, repository: Repository) -> None:
    build = await begun(system, repository, "exit 0", WAITING)
    await has(build, ALL - 2)
    await system.call("POST", f"/builds/{build}/cancel")
    assert (await system.stopped(build))["outcome"] == "canceled"
    assert nothing_is_left(system, build)


@pytest.mark.parametrize("options", [HEALTHY, WAITING])
async def test_at_the_time_limit_of_the_job(system: System, repository: Repository, options: str) -> None:
    build = await begun(system, repository, "sleep 600", options, **{"timeout-minutes": 0.1})
    assert (await system.stopped(build))["jobs"][0]["outcome"] == "timed_out"
    assert nothing_is_left(system, build)


async def test_a_killed_runner_finds_what_it_left_and_goes_on(system: System, repository: Repository) -> None:
    """Killed while a service is waited for, and while a step talks to it: each service is started once."""
    script = "until [ -e go ]; do nc -w 5 localhost 5432 </dev/null >/dev/null; sleep 0.1; done; echo through"
    build = await begun(system, repository, script, WAITING)
    await has(build, ALL - 2)
    services = set(outside.containers(build))
    assert len(networks(system)) == 1
    system.kill()
    await system.start()
    docker("exec", one(build, "service db"), "touch", "/tmp/go")
    await has(build, ALL)
    assert services < set(outside.containers(build))

    async def runs() -> bool:
        return (await system.build(build))["jobs"][0]["steps"][1]["state"] == "running"

    await until(runs, what="the step to run")
    system.kill()
    await system.start()
    docker("exec", one(build), "touch", "/buildsys/workspace/go")
    stopped = await system.stopped(build)
    assert stopped["outcome"] == "success", stopped["reason"]
    assert await system.text(build, step=1) == b"through\n"
    assert nothing_is_left(system, build)


def one(build: str, role: str = "") -> str:
    """The container of the build with this role beside its job's own, or that."""
    look = '{{index .Config.Labels "buildsys.beside"}}'
    [found] = [each for each in outside.containers(build) if docker("inspect", "--format", look, each) == role]
    return found


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()
