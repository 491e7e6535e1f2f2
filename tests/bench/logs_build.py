"""Logs from a program that prints to readers: the whole product, beside Buildbot at the same flood."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from buildsys.core.plan import JobPlan, Plan, StepPlan
from buildsys.store.builds import Builds, NewBuild
from tests.bench.buildbot import buildbot
from tests.bench.figures import Say, cpu_seconds, spread
from tests.bench.logs_sides import followers
from tests.bench.logs_text import WIDTH
from tests.bench.site import Site, site
from tests.docker_image import base_image

DRIVERS = ("process", "docker")
LINES = 1_000_000
THEIR_LINES = 200_000
"""Fewer, for Buildbot takes long."""

AT_ONCE = 20
WATCHERS = 200
SECRETS = 10
TICKS = 60
LOOK_AGAIN = 0.02

FILLING = "compiling src/store/records.c with -O2 and all warnings, of which there were none this time ok"
FLOOD = f"yes '{FILLING:.{WIDTH - 1}}' | head -n"
"""As fast as a program prints; the number of lines is to follow."""


class Product:
    """A running system, and builds of no commit in it that print."""

    def __init__(self, running: Site, driver: str, project: UUID) -> None:
        self._running = running
        self._driver = driver
        self._builds = Builds(database=running.database)
        self._project = project

    @property
    def pid(self) -> int:
        assert self._running.system.process is not None
        return self._running.system.process.pid

    def following(self, build: str) -> tuple[str, str]:
        return f"{self._running.system.url}/api/v1/builds/{build}/logs", self._running.system.token

    async def start(self, script: str) -> UUID:
        """Queue a build of one step."""
        image = base_image() if self._driver == "docker" else None
        step = StepPlan(number=1, name="print", run=script)
        plan = Plan(workflow="bench", jobs=(JobPlan(id="only", name="only", image=image, steps=(step,)),))
        id = await self._builds.insert(
            NewBuild(
                project=self._project,
                workflow="bench",
                event="bench",
                branch="main",
                commit="",
                title="bench",
                plan=plan,
                time_limit=3600.0,
            )
        )
        assert id is not None
        return id

    async def flood(self, *, builds: int, lines: int, watchers: int = 0) -> float:
        """Lines a second of builds that print at once, from the first step's start until the last one's end counts."""
        masks = "".join(f"echo ::add-mask::secret-{number}-of-ten\n" for number in range(SECRETS))
        ids = [await self.start(f"{masks}{FLOOD} {lines}") for _ in range(builds)]
        async with AsyncExitStack() as stack:
            watching = [await stack.enter_async_context(followers(self, str(id), watchers)) for id in ids if watchers]
            async with self._running.database.session() as session:
                while await session.connection.fetchval("SELECT EXISTS (SELECT FROM builds WHERE state <> 'stopped')"):
                    await asyncio.sleep(LOOK_AGAIN)
                took = await session.connection.fetchval(
                    "SELECT extract(epoch FROM max(b.stopped_at) - min(s.started_at)) FROM builds b "
                    "JOIN steps s ON s.build = b.id AND s.number = 1 WHERE b.id = ANY($1)",
                    ids,
                )
            for id in ids:
                verdict = await self._running.system.call("GET", f"/builds/{id}/logs/verification")
                assert verdict["state"] == "complete", verdict
                assert verdict["lines"] >= lines, verdict
            for each in watching:
                await each.seen()
        return builds * lines / float(took)

    async def first_seen(self, ticks: int) -> list[float]:
        """Milliseconds from when a quiet step prints a line until a follower has it.

        Each line says how long this machine has been up, in hundredths of a second that are begun.
        """
        build = await self.start(f"for i in $(seq {ticks}); do read up rest < /proc/uptime; echo $up; sleep 0.2; done")
        late = []
        async for _, kind, data in self._running.system.events(str(build)):
            if kind == "lines" and data["step"] == 1:
                up = time.clock_gettime(time.CLOCK_BOOTTIME)
                late += [(up - float(line)) * 1e3 for line in data["lines"]]
        assert len(late) == ticks
        return late


async def measure(
    *, drivers: tuple[str, ...], runs: int, scale: float, peer: bool, venv: Path | None, say: Say
) -> dict[str, Any]:
    """The figures of each driver, and of Buildbot."""
    figures: dict[str, Any] = {}
    lines = max(1000, round(LINES * scale))
    for driver in drivers:
        found: dict[str, list[float]] = {}

        def tell(what: str, *values: float, driver: str = driver, found: dict[str, list[float]] = found) -> None:
            found.setdefault(what, []).extend(values)
            say(f"{driver}: {what}: {sum(values) / len(values):,.4g}")

        settings = {"BUILDSYS_SLOTS": str(AT_ONCE), "BUILDSYS_MAX_RUNNING": str(2 * AT_ONCE)}
        async with site(driver=driver, sandbox=True, **settings) as running:
            await running.system.add_project("bench", "https://example.invalid/never-fetched.git")
            async with running.database.session() as session:
                project = UUID(str(await session.connection.fetchval("SELECT id FROM projects")))
            product = Product(running, driver, project)
            await product.flood(builds=1, lines=1000)
            for _ in range(runs):
                before = cpu_seconds(product.pid)
                tell("1 build, lines/s", await product.flood(builds=1, lines=lines))
                tell("1 build, our processor us a line", (cpu_seconds(product.pid) - before) / lines * 1e6)
                some = max(1000, lines // AT_ONCE)
                tell(f"{AT_ONCE} builds, lines/s", await product.flood(builds=AT_ONCE, lines=some))
                fewer = max(1000, lines // 10)
                tell("1 build that nobody watches, lines/s", await product.flood(builds=1, lines=fewer))
                watched = await product.flood(builds=1, lines=fewer, watchers=max(1, round(WATCHERS * min(1, scale))))
                tell(f"1 build that {WATCHERS} watch, lines/s", watched)
                tell("a line seen, ms after it was printed", *await product.first_seen(max(2, round(TICKS * scale))))
        figures[driver] = {what: spread(values) for what, values in found.items()}
    if peer:
        theirs = max(1000, round(THEIR_LINES * scale))
        command = ["sh", "-c", f"{FLOOD} {theirs}"]
        async with buildbot(slots=6, venv=venv, say=say, command=command) as bot:
            rates = [theirs / await bot.one() for _ in range(runs)]
        figures["buildbot"] = {"1 build, lines/s": spread(rates)}
        say(f"buildbot: 1 build, lines/s: {max(rates):,.4g}")
    return figures
