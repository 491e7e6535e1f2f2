"""The same runner with a Docker engine: what differs is who owns the files and where steps see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from docker_image import base_image, require_engine, user_image
from git_server import Repository
from runner_bench import Bench, docker_bench
from runner_orchestrator import assignment, script, until

from buildsys.core.assignment import Source
from buildsys.core.build import Outcome
from buildsys.core.planned import PlannedContainer, PlannedJob

pytestmark = pytest.mark.docker


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    require_engine()
    bench = docker_bench(tmp_path)
    yield bench
    await bench.close()


def job(image: str, *scripts: str) -> PlannedJob:
    steps = tuple(script(run, name="step") for run in scripts)
    container = PlannedContainer(image=image)
    return PlannedJob(id="job", name="job", runs_on=(), contexts={}, steps=steps, container=container)


@pytest.mark.parametrize("image", [base_image, user_image])
async def test_a_commit_in_an_image_of_any_user(bench: Bench, tmp_path: Path, image: Callable[[], str]) -> None:
    repository = Repository(tmp_path / "repository")
    commit = repository.commit({"a/b": "c"})
    await bench.start()
    plan = job(image(), "cat a/b; echo new > a/new; rm a/b; mkdir d; chmod 000 d", 'test -e a/new; pwd; echo "$HOME"')
    done = await bench.run(job=plan, source=Source(url=str(repository.path), commit=commit))
    assert done.logs[1] == b"c"
    assert done.logs[2] == b"/buildsys/workspace\n/buildsys/home\n"
    assert done.outcomes == dict.fromkeys(range(3), Outcome.SUCCESS)
    await until(lambda: not bench.folders())
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []


async def test_a_next_life_goes_on_and_a_cancel_is_proven(bench: Bench) -> None:
    await bench.start()
    script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"
    begun = bench.orchestrator.offer(assignment(job=job(base_image(), script)))
    await until(lambda: begun.logs.get(1))
    await bench.stop()
    stored = len(begun.logs[1])
    await bench.start()
    await until(lambda: len(begun.logs[1]) > stored + 20)
    bench.orchestrator.cancel(begun)
    await until(lambda: begun.stopped)
    assert begun.outcomes == {0: Outcome.SUCCESS, 1: Outcome.CANCELED}
    numbers = [line for line in begun.logs[1].split() if line.isdigit()]
    assert numbers == [b"%d" % number for number in range(len(numbers))]
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []


async def test_an_image_that_does_not_exist(bench: Bench) -> None:
    await bench.start()
    done = await bench.run(job=job("buildsys-test-missing:0", "echo no"))
    assert done.stopped is not None
    assert done.stopped.outcome is Outcome.ERRORED
    assert "buildsys-test-missing:0" in (done.stopped.reason or "")
    assert done.outcomes == {0: Outcome.ERRORED, 1: Outcome.SKIPPED}
