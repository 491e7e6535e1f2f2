"""Trivial builds a second: ours, and Buildbot's in the same minutes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import UUID

import msgspec

from buildsys.core.definition import Workflow
from buildsys.core.workflow_file import decode_workflow
from buildsys.store.builds import Builds
from buildsys.store.hints import CHANNEL
from buildsys.testing import queue_build
from tests.bench.buildbot import buildbot
from tests.bench.figures import Say, cpu_seconds, spread
from tests.bench.site import Site, site

SLOTS = 6
WAITING = 24
"""Builds that may run at a time: more than there are slots, so that a runner that gets free finds one ready."""

LOOK_AGAIN = 0.002
WORKFLOW = decode_workflow("steps: [{name: echo, run: echo hello}]", file="bench")


class Builder(Protocol):
    """Something that builds."""

    async def one(self) -> float:
        """Run one build; the seconds that took."""

    async def many(self, count: int) -> float:
        """Queue so many builds and wait until all are over; the seconds that took."""


class Ours:
    """Builds of no commit in a running system, queued in its database as its API queues them."""

    def __init__(self, running: Site, project: UUID, workflow: Workflow) -> None:
        self._running = running
        self._builds = Builds(database=running.database)
        self._project = project
        self._workflow = workflow

    @classmethod
    async def of(cls, running: Site, workflow: Workflow) -> Self:
        """Builds of a workflow, in a project of their own."""
        await running.system.add_project("bench", "https://example.invalid/never-fetched.git")
        async with running.database.session() as session:
            project = await session.connection.fetchval("SELECT id FROM projects")
        return cls(running, UUID(str(project)), workflow)

    async def one(self) -> float:
        began = time.perf_counter()
        await self._queue()
        await self._all_stopped(LOOK_AGAIN)
        return time.perf_counter() - began

    async def many(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            await self._queue()
        await self._all_stopped(LOOK_AGAIN * 10)
        return time.perf_counter() - began

    async def check(self) -> None:
        """Every build of this bench was a success, and its log is whole."""
        async with self._running.database.session() as session:
            wrong = await session.connection.fetchval(
                "SELECT count(*) FROM builds b WHERE outcome <> 'success' OR NOT EXISTS "
                "(SELECT FROM log_records l WHERE l.build = b.id AND l.step = 1 AND l.kind = 'lines')"
            )
        assert wrong == 0, f"{wrong} builds did not succeed"

    async def _queue(self) -> None:
        await queue_build(self._builds, self._project, self._workflow, title="bench", time_limit=600.0)
        await self._running.database.pool.execute("SELECT pg_notify($1, $2)", CHANNEL, "bench\nqueue")

    async def _all_stopped(self, look_again: float) -> None:
        async with self._running.database.session() as session:
            while await session.connection.fetchval("SELECT EXISTS (SELECT FROM builds WHERE state <> 'stopped')"):
                await asyncio.sleep(look_again)


class Measured(msgspec.Struct, kw_only=True):
    """What one of them took so far, in seconds, and the processor time a build of it took, in milliseconds."""

    single: list[float] = []
    bursts: list[float] = []
    cpu: list[float] = []

    def figures(self, burst: int) -> dict[str, Any]:
        return {
            "one_at_a_time_ms": spread([seconds * 1e3 for seconds in self.single]),
            "burst_builds_per_s": spread([burst / seconds for seconds in self.bursts]),
            "cpu_ms_a_build": spread(self.cpu),
        }


async def measure(
    *, burst: int, single: int, rounds: int, sandbox: bool, peer: bool, venv: Path | None, say: Say
) -> dict[str, Any]:
    """The figures of both, each round of one beside that of the other."""
    async with AsyncExitStack() as stack:
        settings = {"BUILDSYS_SLOTS": str(SLOTS), "BUILDSYS_MAX_RUNNING": str(WAITING)}
        running = await stack.enter_async_context(site(driver="process", sandbox=sandbox, **settings))
        ours = await Ours.of(running, WORKFLOW)
        assert running.system.process is not None
        builders: dict[str, tuple[Builder, int]] = {"buildsys": (ours, running.system.process.pid)}
        if peer:
            theirs = await stack.enter_async_context(buildbot(slots=SLOTS, venv=venv, say=say))
            builders["buildbot"] = theirs, theirs.pid
        measured = {name: Measured() for name in builders}
        for number in range(rounds):
            for name, (builder, pid) in builders.items():
                await _round(builder, pid, measured[name], burst=burst, single=single)
                last = measured[name]
                say(f"{name} {number}: {last.single[-1] * 1e3:.0f} ms, {burst / last.bursts[-1]:.1f} builds/s")
        await ours.check()
        figures = {name: measured[name].figures(burst) for name in builders}
    if peer:
        ratio = figures["buildsys"]["burst_builds_per_s"]["p50"] / figures["buildbot"]["burst_builds_per_s"]["p50"]
        figures["times_buildbot"] = {"burst": round(ratio, 1)}
    return {"slots": SLOTS, "burst": burst, "sandbox": sandbox, **figures}


async def _round(builder: Builder, pid: int, measured: Measured, *, burst: int, single: int) -> None:
    await builder.one()
    measured.single += [await builder.one() for _ in range(single)]
    before = cpu_seconds(pid)
    measured.bursts.append(await builder.many(burst))
    measured.cpu.append((cpu_seconds(pid) - before) * 1e3 / burst)
