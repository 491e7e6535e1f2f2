"""The product as the benchmark of logs drives it: builds of no commit whose one step prints."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from uuid import UUID

import msgspec

from buildsys.core.workflow_file import decode_workflow
from buildsys.store.builds import Builds
from buildsys.testing import queue_build
from tests.bench.logs_sides import followers
from tests.bench.logs_text import SECRETS
from tests.bench.site import Site
from tests.bench.usage import Usage
from tests.docker_image import base_image

LOOK_AGAIN = 0.02


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the first step's start until the last build's end was stored, and from the order on; what it took.

    `client` is what the followers took: processor seconds, and MiB at most.
    """

    took: float
    ordered: float
    usage: Usage
    client: tuple[float, float] | None = None


class Product:
    """A running system."""

    def __init__(self, running: Site, driver: str, project: UUID) -> None:
        self._running = running
        self._image = base_image() if driver == "docker" else None
        self._builds = Builds(database=running.database)
        self._project = project

    def following(self, build: str) -> tuple[str, str]:
        return f"{self._running.system.url}/api/v1/builds/{build}/logs", self._running.system.token

    async def run(self, script: str, *, lines: int, builds: int = 1, watchers: int = 0) -> Printed:
        """Builds at once, each of which prints so many lines at least; their logs are whole and show no secret."""
        running = self._running
        processes = {"server": running.server} | (
            {"runner": running.runner} if running.runner != running.server else {}
        )
        began = time.perf_counter()
        async with AsyncExitStack() as stack:
            usage = await stack.enter_async_context(Usage(postgres=running.postgres, **processes))
            ids = [await self._start(script) for _ in range(builds)]
            watching = [await stack.enter_async_context(followers(self, str(id), watchers)) for id in ids if watchers]
            async with running.database.session() as session:
                while await session.connection.fetchval("SELECT EXISTS (SELECT FROM builds WHERE state <> 'stopped')"):
                    await asyncio.sleep(LOOK_AGAIN)
                ordered = time.perf_counter() - began
                took = await session.connection.fetchval(
                    "SELECT extract(epoch FROM max(b.stopped_at) - min(s.started_at)) FROM builds b "
                    "JOIN steps s ON s.build = b.id AND s.number = 1 WHERE b.id = ANY($1)",
                    ids,
                )
            seen = [await each.seen() for each in watching]
        for id in ids:
            verdict = await running.system.call("GET", f"/builds/{id}/logs/verification")
            assert verdict["state"] == "complete", verdict
            assert verdict["lines"] >= lines, verdict
            shown = await running.system.call("GET", f"/builds/{id}/logs?q={SECRETS[7]}&seconds=30")
            assert not shown["hits"], shown
        client = (sum(each["cpu"] for each in seen), max(each["peak"] for each in seen)) if seen else None
        return Printed(took=float(took), ordered=ordered, usage=usage, client=client)

    async def late(self, script: str) -> list[float]:
        """How many milliseconds a follower has each line after it was printed.

        Each line says how long this machine has been up, in hundredths of a second that are begun.
        """
        build = await self._start(script)
        late = []
        async for _, kind, data in self._running.system.events(str(build)):
            if kind == "lines" and data["step"] == 1:
                up = time.clock_gettime(time.CLOCK_BOOTTIME)
                late += [(up - float(line)) * 1e3 for line in data["lines"]]
        return late

    async def _start(self, script: str) -> UUID:
        job = {
            "runs-on": "linux",
            **({"container": self._image} if self._image else {}),
            "steps": [{"name": "print", "run": script}],
        }
        workflow = decode_workflow(json.dumps({"on": "push", "jobs": {"only": job}}), file="bench")
        return await queue_build(self._builds, self._project, workflow, title="bench", time_limit=3600.0)
