"""`buildsys run`, cut short: whatever the steps do against it, nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from asyncio.subprocess import Process
from pathlib import Path
from uuid import uuid4

import pytest
from docker_image import base_image, require_engine
from outside import STUBBORN, marked, stubborn_step
from run_place import Place

STUBBORN_WORKFLOW = """
on: push
jobs:
  stays:
    runs-on: ubuntu-latest
    steps:
      - run: |
          SCRIPT
      - if: always()
        run: echo last words
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def driver(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        require_engine()
    return str(request.param)


async def begun(place: Place, marker: str, *, driver: str) -> Process:
    """A run whose step does not want to end, once it runs."""
    script = stubborn_step(marker).replace("\n", "\n          ")
    place.write({".buildsys.yml": STUBBORN_WORKFLOW.replace("SCRIPT", script)})
    images = ("--image", base_image()) if driver == "docker" else ()
    process = await place.start(*images, driver=driver)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"  up\n" not in (line := await process.stdout.readline()):
            assert line, "it ended before the step began"
    return process


async def test_ctrl_c_cancels_and_leaves_nothing(place: Place, driver: str) -> None:
    marker = uuid4().hex
    process = await begun(place, marker, driver=driver)
    before, name = place.state(), installation(place) if driver == "docker" else ""
    assert marked(marker)
    assert bool(left(name)) == (driver == "docker")
    process.send_signal(signal.SIGINT)
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130, errors.decode()
    assert "canceled by Ctrl-C" in output.decode()
    assert "Traceback" not in errors.decode()
    assert marked(marker) == []
    assert left(name) == []
    place.check(before)


async def test_a_second_ctrl_c_waits_for_no_step(tmp_path: Path, driver: str) -> None:
    place = Place(tmp_path, BUILDSYS_GRACE="10m")
    marker = uuid4().hex
    process = await begun(place, marker, driver=driver)
    before, name = place.state(), installation(place) if driver == "docker" else ""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert b"Canceling" in await asyncio.wait_for(process.stderr.readline(), 30)
    process.send_signal(signal.SIGINT)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, "ended at once by a second Ctrl-C" in output.decode()) == (130, True)
    assert marked(marker) == []
    assert left(name) == []
    place.check(before)


async def test_being_terminated_is_no_other_end(place: Place) -> None:
    marker = uuid4().hex
    process = await begun(place, marker, driver="process")
    process.terminate()
    await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, marked(marker), list(place.temporary.iterdir())) == (130, [], [])


async def test_what_a_step_leaves_in_the_background_goes_with_its_job(place: Place, driver: str) -> None:
    marker = uuid4().hex
    step = f"setsid {STUBBORN} {marker} &"
    images = ("--image", base_image()) if driver == "docker" else ()
    place.write({".buildsys.yml": STUBBORN_WORKFLOW.replace("SCRIPT", step)})
    ended = await place.run(*images, driver=driver)
    assert (ended.code, "last words" in ended.text) == (0, True), ended.text
    assert marked(marker) == []


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
async def test_it_ends_with_who_reads_its_output(place: Place, form: list[str]) -> None:
    marker = uuid4().hex
    step = f"setsid {STUBBORN} {marker} &\n          while true; do echo more; sleep 0.01; done"
    place.write({".buildsys.yml": STUBBORN_WORKFLOW.replace("SCRIPT", step)})
    before = place.state()
    reader, writer = os.pipe()
    process = await place.start(*form, stdout=writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as output:
        await asyncio.to_thread(lambda: next(line for line in output if b"more" in line))
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, errors.decode()) == (141, "")
    assert marked(marker) == []
    place.check(before)


def installation(place: Place) -> str:
    """What the engine calls the run that has its files here; empty where it has no container of it."""
    shown = _docker("ps", "--no-trunc", "--format", '{{.Label "buildsys.installation"}} {{.Mounts}}')
    return next((line.split()[0] for line in shown if str(place.temporary) in line), "")


def left(installation: str) -> list[str]:
    """What the engine has of a run."""
    if not installation:
        return []
    containers = _docker("ps", "--all", "--quiet", "--filter", f"label=buildsys.installation={installation}")
    return containers + _docker("network", "ls", "--quiet", "--filter", f"label=buildsys.owner={installation}")


def _docker(*arguments: str) -> list[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()
