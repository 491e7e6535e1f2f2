"""A build that waits loses nothing by it, and one that cannot be run does not hold up the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from system import Repository, System, until

SLEEP = "on: push\njobs: {a: {runs-on: linux, steps: [{run: 'sleep 2; echo done'}]}}\n"
UNFIT = "on: push\njobs: {a: {runs-on: no-such-label, steps: [{run: echo never}]}}\n"
HELLO = "on: push\njobs: {a: {runs-on: linux, steps: [{run: echo done}]}}\n"


async def test_the_time_limit_does_not_run_while_a_build_waits_for_a_slot(
    tmp_path: Path, repository: Repository
) -> None:
    async with System(tmp_path / "data", BUILDSYS_SLOTS="1", BUILDSYS_TIME_LIMIT="4") as system:
        secret = await system.add_project("demo", str(repository.path))
        commit = repository.workflow(SLEEP)
        for _ in range(3):
            await system.push("demo", secret, commit=commit)

        async def all_there() -> bool:
            return len(await system.builds("demo")) == 3

        await until(all_there)
        ended = [await system.stopped(build["id"]) for build in await system.builds("demo")]
        assert [build["outcome"] for build in ended] == ["success"] * 3


async def test_builds_that_no_runner_can_take_end_by_themselves(tmp_path: Path, repository: Repository) -> None:
    environment = {"BUILDSYS_MAX_RUNNING": "2", "BUILDSYS_STARTUP_LIMIT": "2"}
    async with System(tmp_path / "data", **environment) as system:
        secret = await system.add_project("demo", str(repository.path))
        unfit = repository.workflow(UNFIT)
        for _ in range(4):
            await system.push("demo", secret, commit=unfit)
        await system.push("demo", secret, commit=repository.workflow(HELLO))

        async def all_there() -> bool:
            return len(await system.builds("demo")) == 5

        await until(all_there)
        last, *rest = [await system.stopped(build["id"]) for build in await system.builds("demo")]
        assert last["outcome"] == "success"
        assert {build["outcome"] for build in rest} == {"errored"}
        assert all("no-such-label" in build["reason"] for build in rest)


@pytest.fixture
def silent_host() -> Iterator[str]:
    """A host that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.git"


async def test_a_silent_repository_holds_up_only_its_own_project(
    tmp_path: Path, repository: Repository, silent_host: str
) -> None:
    async with System(tmp_path / "data") as system:
        silent = await system.add_project("silent", silent_host)
        secret = await system.add_project("demo", str(repository.path))
        pushes = [system.push("silent", silent, commit=f"{number:040x}") for number in range(30)]
        assert set(await asyncio.gather(*pushes)) == {202}
        await system.push("demo", secret, commit=repository.workflow(HELLO))
        build = await system.only_build("demo")
        assert (await system.stopped(build))["outcome"] == "success"
