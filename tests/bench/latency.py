"""Webhook sent -> first byte of the first step at an SSE client, against the floor, run by run."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildsys.core.logs import LINES
from tests.bench.figures import Say, spread
from tests.bench.floor import SCRIPT, Start, docker, floor, process
from tests.bench.site import Site, site
from tests.docker_image import base_image
from tests.git_server import Repository, git_server

DRIVERS = ("process", "process-without-sandbox", "docker")
WARM_UP = 3
IDLE = 0.3
"""Seconds between a build's end and the next measurement, in which the system comes to rest."""

LOOK_AGAIN = 0.002
"""Seconds between two looks for the build's id. The client takes it from the database: no stream announces builds."""

TIMES = """
SELECT d.received_at AS kept, b.queued_at AS queued, b.starting_at AS starting, j.claimed_at AS assigned,
       s.started_at AS set_up_begun, j.started_at AS set_up_done, t.started_at AS step_started, l.at AS printed
FROM builds b
JOIN deliveries d ON d.id = b.delivery
JOIN jobs j ON j.build = b.id
JOIN steps s ON s.build = b.id AND s.number = 0
JOIN steps t ON t.build = b.id AND t.number = 1
JOIN log_records l ON l.build = b.id AND l.step = 1 AND l.kind = 'lines'
WHERE b.id = $1
"""
STAGES = (
    "answered",
    "kept",
    "queued",
    "starting",
    "assigned",
    "set_up_begun",
    "set_up_done",
    "step_started",
    "printed",
)
"""Moments of a build's life in their order: `starting` is when the job is offered too, `printed` when the runner read
the first byte."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One build: the seconds to each of its moments since the webhook was sent."""

    seen: float
    moments: dict[str, float]


async def measure(driver: str, *, runs: int, say: Say) -> dict[str, Any]:
    """The figures of one driver in milliseconds, `runs` builds of it."""
    product, fetches, starts = list[Run](), list[float](), list[float]()
    sandbox = driver == "process"
    async with site(driver=driver.partition("-")[0], sandbox=sandbox) as running, _by_hand(driver, running) as start:
        repository = Repository(running.folder / "served" / "project")
        async with git_server(running.folder / "served") as server:
            url = f"{server.url}/project/.git"
            secret = await running.system.add_project("bench", url)
            for number in range(-min(WARM_UP, runs), runs):
                commit = repository.commit({".buildsys.yml": _workflow(driver), "number": str(number)})
                by_hand = running.folder / "by-hand"
                if number % 2:
                    run = await _run(running, secret, commit)
                    fetch, first = await floor(start, url=url, commit=commit, folder=by_hand)
                else:
                    fetch, first = await floor(start, url=url, commit=commit, folder=by_hand)
                    run = await _run(running, secret, commit)
                shutil.rmtree(by_hand)
                say(f"{driver} {number}: {run.seen * 1e3:.0f} ms, by hand {fetch * 1e3:.0f} + {first * 1e3:.0f} ms")
                if number >= 0:
                    product.append(run)
                    fetches.append(fetch)
                    starts.append(first)
    return _figures(product, fetches, starts)


@asynccontextmanager
async def _by_hand(driver: str, running: Site) -> AsyncIterator[Start]:
    if driver == "docker":
        async with docker(base_image()) as start:
            yield start
    else:
        yield process(sandbox=driver == "process", hidden=running.folder / "data")


def _workflow(driver: str) -> str:
    container = f"    container: {base_image()}\n" if driver == "docker" else ""
    return f"on: push\njobs:\n  only:\n    runs-on: linux\n{container}    steps:\n      - run: {SCRIPT}\n"


async def _run(running: Site, secret: str, commit: str) -> Run:
    """Push, find the build, follow it to its end, and ask when what happened."""
    system = running.system
    sent = time.time()
    assert await system.push("bench", secret, commit=commit) == 202
    answered = time.time()
    async with running.database.session() as session:
        while (build := await session.connection.fetchval("SELECT id FROM builds WHERE commit = $1", commit)) is None:
            await asyncio.sleep(LOOK_AGAIN)
    seen = await _first_byte(running, build)
    async with running.database.session() as session:
        row = await session.connection.fetchrow(TIMES, build)
    moments = {name: at.timestamp() - sent for name, at in row.items() if isinstance(at, datetime)}
    await asyncio.sleep(IDLE)
    return Run(seen=seen - sent, moments={**moments, "answered": answered - sent})


async def _first_byte(running: Site, build: UUID) -> float:
    """When the first line of the step arrived; returns at the log's end."""
    seen = None
    async for _, kind, data in running.system.events(str(build)):
        if seen is None and kind == LINES and data["step"] == 1:
            seen = time.time()
    assert seen is not None, f"build {build} printed nothing: see its set-up"
    return seen


def _figures(product: list[Run], fetches: list[float], starts: list[float]) -> dict[str, Any]:
    milliseconds = [run.seen * 1e3 for run in product]
    by_hand = [(fetch + first) * 1e3 for fetch, first in zip(fetches, starts, strict=True)]
    parallel = [max(fetch, first) * 1e3 for fetch, first in zip(fetches, starts, strict=True)]
    ours, theirs = spread(milliseconds), spread(by_hand)
    return {
        "unit": "ms",
        "first_byte": ours,
        "floor": theirs,
        "floor_fetch": spread([fetch * 1e3 for fetch in fetches]),
        "floor_start": spread([first * 1e3 for first in starts]),
        "floor_parallel": spread(parallel),
        "over_floor": {name: round(ours[name] - theirs[name], 2) for name in ("p50", "p95")},
        "stages": _stages(product),
    }


def _stages(product: list[Run]) -> dict[str, dict[str, float]]:
    """What each moment adds to the one before it; by their own clocks, so a small one may be negative."""
    stages, before = {}, [0.0] * len(product)
    for name in STAGES:
        at = [run.moments[name] for run in product]
        stages[name] = spread([(now - then) * 1e3 for now, then in zip(at, before, strict=True)])
        before = at
    stages["seen"] = spread([(run.seen - then) * 1e3 for run, then in zip(product, before, strict=True)])
    return stages
