"""Two hundred builds, two orchestrators, one database: each build once, never more at a time than the limits say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from system import Repository, System, until

from buildsys.postgres import running_server

BUILDS = 200
MAX_RUNNING = 5
NARROW_LIMIT = 2

BUSY = """
    SELECT p.name, b.id FROM builds b JOIN projects p ON p.id = b.project WHERE b.state IN ('starting', 'running')
    UNION ALL
    SELECT p.name, q.build FROM queue q JOIN projects p ON p.id = q.project WHERE q.claimed_at IS NOT NULL
"""


class Gate:
    """Where each job says its build's id, and waits: the process driver leaves jobs this host's loopback."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.inside = 0
        self.most_inside = 0
        self.opened = asyncio.Event()

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._let_through, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.opened.set()
        self._server.close()

    @property
    def workflow(self) -> str:
        """One job that goes through the gate."""
        script = f"exec 3<>/dev/tcp/127.0.0.1/{self.port}; echo $BUILDSYS_BUILD_ID >&3; read -r _ <&3"
        return f"on: push\njobs: {{a: {{runs-on: linux, steps: [{{run: '{script}', shell: bash}}]}}}}\n"

    async def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrived.append((await reader.readline()).decode().strip())
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await self.opened.wait()
        self.inside -= 1
        writer.write(b"through\n")
        writer.close()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate() as gate:
        yield gate


@pytest.fixture
async def systems(tmp_path: Path) -> AsyncIterator[tuple[System, System]]:
    """Two whole systems, each with a runner, on the database of the first."""
    limits = {"BUILDSYS_MAX_RUNNING": str(MAX_RUNNING), "BUILDSYS_SLOTS": "3"}
    async with System(tmp_path / "first", **limits) as first:
        shared = {
            "BUILDSYS_DATABASE_URL": database_url(first),
            "BUILDSYS_SECRET_KEY_FILE": str(first.folder / "secret.key"),
        }
        async with System(tmp_path / "second", **limits, **shared) as second:
            yield first, second


def database_url(system: System) -> str:
    server = running_server(system.folder / "postgres")
    assert server is not None
    return server.format("buildsys")


@pytest.mark.timeout(500)
async def test_each_is_started_once_and_no_limit_is_passed(
    systems: tuple[System, System], repository: Repository, gate: Gate
) -> None:
    first, second = systems
    repository.workflow(gate.workflow)
    await first.add_project("narrow", str(repository.path), max_running=NARROW_LIMIT)
    await second.add_project("wide", str(repository.path))

    room = asyncio.Semaphore(6)

    async def queue(number: int) -> str:
        async with room:
            made = await systems[number % 2].call("POST", f"/projects/{('narrow', 'wide')[number // 2 % 2]}/builds")
            return str(made["builds"][0]["id"])

    ids = await asyncio.gather(*(queue(number) for number in range(BUILDS)))

    async def full() -> bool:
        return gate.inside == MAX_RUNNING

    await until(full, what="as many builds to run as may")
    await expect_reasons(second)

    connection = await asyncpg.connect(database_url(first))
    try:
        gate.opened.set()
        while (left := await connection.fetchval("SELECT count(*) FROM builds WHERE state <> 'stopped'")) > 0:
            busy = Counter(row["name"] for row in await connection.fetch(BUSY))
            assert busy.total() <= MAX_RUNNING, f"{busy} with {left} left"
            assert busy["narrow"] <= NARROW_LIMIT
        builds = await connection.fetch(
            "SELECT b.*, p.name, j.runner, j.started_at AS began, j.stopped_at AS ended "
            "FROM builds b JOIN projects p ON p.id = b.project JOIN jobs j ON j.build = b.id"
        )
    finally:
        await connection.close()

    assert {build["outcome"] for build in builds} == {"success"}
    assert sorted(gate.arrived) == sorted(ids) == sorted(str(build["id"]) for build in builds)
    assert gate.most_inside == MAX_RUNNING
    assert most_at_once(builds) <= MAX_RUNNING
    assert most_at_once(build for build in builds if build["name"] == "narrow") <= NARROW_LIMIT
    assert len({build["runner"] for build in builds}) == 2, "both runners had their share"
    for project in ("narrow", "wide"):
        own = sorted((build for build in builds if build["name"] == project), key=lambda build: build["number"])
        assert [build["number"] for build in own] == list(range(1, BUILDS // 2 + 1))


@pytest.mark.timeout(200)
async def test_the_other_goes_on_when_the_one_that_schedules_is_killed(
    tmp_path: Path, repository: Repository, gate: Gate
) -> None:
    limits = {"BUILDSYS_MAX_RUNNING": str(MAX_RUNNING), "BUILDSYS_SLOTS": str(MAX_RUNNING)}
    async with System(tmp_path / "first", BUILDSYS_ROLES="api,orchestrator", **limits) as first:
        shared = {
            "BUILDSYS_DATABASE_URL": database_url(first),
            "BUILDSYS_SECRET_KEY_FILE": str(first.folder / "secret.key"),
        }
        async with System(tmp_path / "second", **limits, **shared) as second:
            commit = repository.workflow(gate.workflow)
            secret = await second.add_project("demo", str(repository.path))
            for _ in range(4 * MAX_RUNNING):
                assert await second.push("demo", secret, commit=commit) == 202

            async def full() -> bool:
                return gate.inside == MAX_RUNNING and len(await second.builds("demo")) == 4 * MAX_RUNNING

            await until(full, what="all to be queued, and as many to run as may")
            first.kill()
            gate.opened.set()
            builds = await second.builds("demo")
            for build in builds:
                assert (await second.stopped(build["id"]))["outcome"] == "success"
            assert sorted(gate.arrived) == sorted(build["id"] for build in builds)
        await first.start()  # the database is its own, to be stopped in order


async def expect_reasons(system: System) -> None:
    """While five builds run, each of the others says which limit holds it and who has used it up."""

    async def explained() -> dict[str, Counter[str]] | None:
        reasons = {}
        for project in ("narrow", "wide"):
            page = await system.call("GET", f"/builds?project={project}&state=queued&limit=200")
            reasons[project] = Counter(build["waiting"] for build in page["builds"])
        return None if any("scheduler" in reason for counts in reasons.values() for reason in counts) else reasons

    reasons = await until(explained, what="all to have a reason")
    assert sum(counts.total() for counts in reasons.values()) == BUILDS - MAX_RUNNING
    (narrow,) = reasons["narrow"]
    (wide,) = reasons["wide"]
    running = (await system.call("GET", "/builds?project=narrow&state=running"))["builds"]
    assert len(running) == NARROW_LIMIT
    holders = ", ".join(
        f"narrow #{build['number']}" for build in sorted(running, key=lambda build: build["started_at"])
    )
    assert narrow == f"the project's limit of running builds is used up by {holders}"
    assert wide.startswith("the system's limit of running builds is used up by ")
    assert wide.endswith(f" and {MAX_RUNNING - 3} more")


def most_at_once(builds: Iterable[Any]) -> int:
    """How many of the builds ran at the same moment, by the clock of this host, which all their runners share."""
    moments: list[tuple[datetime, int]] = []
    for build in builds:
        moments += [(build["began"], 1), (build["ended"], -1)]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most
