"""A cancel is done when nothing of the build runs any more, and said to be done no moment earlier."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import outside
import pytest
from drivers import DRIVERS, system_on
from system import Repository, System, until

GRACE = 2.0
ALLOWANCE = 2.0
"""Seconds behind the grace within which all must be gone."""


@pytest.fixture(params=DRIVERS)
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with system_on(
        tmp_path / "data", request.param, BUILDSYS_GRACE=str(GRACE), BUILDSYS_MAX_RUNNING="1"
    ) as system:
        yield system


@pytest.fixture
async def start(system: System, repository: Repository) -> Callable[[str], Awaitable[str]]:
    """Push a workflow of one job with this script; the id of its build."""
    secret = await system.add_project("demo", str(repository.path))

    async def start(script: str) -> str:
        known = {build["id"] for build in await system.builds("demo")}
        indented = script.replace("\n", "\n          ")
        commit = repository.workflow(
            f"on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: |\n          {indented}\n"
        )
        assert await system.push("demo", secret, commit=commit) == 202

        async def appeared() -> list[str]:
            return [build["id"] for build in await system.builds("demo") if build["id"] not in known]

        (build,) = await until(appeared)
        return str(build)

    return start


async def running(system: System, build: str) -> dict[str, Any]:
    """The build, once its step has said `up`."""

    async def up() -> bool:
        return b"up\n" in await system.text(build, step=1)

    await until(up, what="the step to be up")
    return await system.build(build)


async def test_what_ignores_every_polite_signal_is_gone_in_time(
    system: System, start: Callable[[str], Awaitable[str]], request: pytest.FixtureRequest
) -> None:
    marker = f"stubborn-{uuid4().hex}"
    build = await start(outside.stubborn_step(marker))
    container = (await running(system, build))["jobs"][0]["container"]
    for part in ("orphan", "session", "child", "step"):
        assert outside.marked(f"{marker}-{part}"), "it must run to be canceled"

    answer = await system.call("POST", f"/builds/{build}/cancel")
    asked = last_seen = time.monotonic()
    assert answer["cancel_requested_at"] is not None

    while True:
        said = (await system.build(build))["state"]
        alive = outside.marked(marker)
        assert not (said == "stopped" and alive), f"said to be stopped while there is {alive}"
        if said == "stopped":
            break
        if alive:
            last_seen = time.monotonic()
        assert time.monotonic() - asked < GRACE + ALLOWANCE + 20
        await asyncio.sleep(0.02)

    assert last_seen - asked <= GRACE + ALLOWANCE
    stopped = await system.build(build)
    assert (stopped["outcome"], stopped["jobs"][0]["outcome"]) == ("canceled", "canceled")
    assert stopped["reason"].startswith("canceled by ")
    assert outside.marked(build) == []
    if "docker" in request.node.name:
        assert outside.containers(build) == []
        assert outside.in_control_group(container) == []
    assert b"up\n" in await system.text(build, step=1), "what it printed is kept"


async def test_what_ends_by_itself_on_a_cancel_may_say_so(
    system: System, start: Callable[[str], Awaitable[str]]
) -> None:
    build = await start("trap 'echo cleaned; exit 3' TERM\necho up\nwhile :; do sleep 0.1 || :; done")
    await running(system, build)
    asked = time.monotonic()
    await system.call("POST", f"/builds/{build}/cancel")
    stopped = await system.stopped(build)
    assert stopped["outcome"] == "canceled"
    assert time.monotonic() - asked < GRACE + ALLOWANCE
    assert (await system.text(build, step=1)).endswith(b"cleaned\n")


async def test_a_second_cancel_changes_nothing(system: System, start: Callable[[str], Awaitable[str]]) -> None:
    build = await start("trap '' TERM\necho up\nwhile :; do sleep 0.1; done")
    await running(system, build)
    answers = await asyncio.gather(*(system.call("POST", f"/builds/{build}/cancel") for _ in range(2)))
    answers.append(await system.call("POST", f"/builds/{build}/cancel"))
    assert len({(answer["cancel_requested_at"], answer["reason"]) for answer in answers}) == 1
    stopped = await system.stopped(build)
    assert await system.call("POST", f"/builds/{build}/cancel") == stopped
    entries = (await system.call("GET", f"/builds/{build}/logs?limit=1000"))["entries"]
    assert [entry["kind"] for entry in entries].count("cancel_requested") == 1


async def test_a_queued_build_never_starts(system: System, start: Callable[[str], Awaitable[str]]) -> None:
    first = await start("echo up\nwhile :; do sleep 0.1; done")
    await running(system, first)
    second = await start("echo up")
    assert (await system.build(second))["state"] == "queued"

    canceled = await system.call("POST", f"/builds/{second}/cancel")
    assert (canceled["state"], canceled["outcome"]) == ("stopped", "canceled")
    await system.call("POST", f"/builds/{first}/cancel")
    third = await start("echo up")
    assert (await system.stopped(third))["outcome"] == "success", "its turn has come, and that of the second gone by"

    still = await system.build(second)
    assert still == canceled | {"waiting": still["waiting"]}
    assert (still["started_at"], still["jobs"][0]["container"]) == (None, None)
    assert await system.text(second) == b""


async def test_a_stopped_build_stays_as_it_is(system: System, start: Callable[[str], Awaitable[str]]) -> None:
    build = await start("echo up")
    stopped = await system.stopped(build)
    assert stopped["outcome"] == "success"
    assert await system.call("POST", f"/builds/{build}/cancel") == stopped
    assert await system.build(build) == stopped
