"""Logs from a program that prints to readers: the whole product, beside Buildbot at the same flood, in turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.bench.buildbot import Buildbot, buildbot
from tests.bench.figures import Say, busy_cores, spread
from tests.bench.logs_product import Printed, Product
from tests.bench.logs_text import flood, masked, paced
from tests.bench.site import site

DRIVERS = ("process", "docker")
LINES = 1_000_000
THEIR_LINES = 200_000
"""Fewer, for Buildbot takes long."""

AT_ONCE = 20
WATCHERS = 200
PACED, PACE = 100_000, 10_000
"""Lines of a build that prints as fast as a busy one does, and how many a second, less what its shell takes."""

EACH = 500
"""Lines that it prints at a time."""

TICKS = 40
FIRSTS = 10
LEAST = 1000

SAY_WHEN = "read up rest < /proc/uptime; echo $up"

Values = Mapping[str, float | list[float]]


async def measure(
    *, drivers: tuple[str, ...], runs: int, scale: float, apart: bool, peer: bool, venv: Path | None, say: Say
) -> dict[str, Any]:
    """The figures of each driver, and of Buildbot."""
    found: dict[str, dict[str, list[float]]] = {}
    others = list[float]()
    theirs = max(LEAST, round(THEIR_LINES * scale))
    async with AsyncExitStack() as stack:
        sides: dict[str, Product | Buildbot] = {}
        for driver in drivers:
            sides[driver] = await stack.enter_async_context(_product(driver, apart=apart))
        if peer:
            command = ["sh", "-c", flood(theirs)]
            sides["buildbot"] = await stack.enter_async_context(buildbot(slots=6, venv=venv, say=say, command=command))
        for run in range(runs):
            for name, side in sides.items():
                others.append(busy_cores())
                values = await (_theirs(side, theirs) if isinstance(side, Buildbot) else _ours(side, scale))
                for what, value in values.items():
                    several = value if isinstance(value, list) else [value]
                    found.setdefault(name, {}).setdefault(what, []).extend(several)
                    say(f"{run + 1}/{runs} {name}: {what}: {sum(several) / len(several):,.4g}")
    return {
        "scale": scale,
        "runner": "apart" if apart else "inside",
        "cores_busy_before": spread(others),
        **{name: {what: spread(values) for what, values in whats.items()} for name, whats in found.items()},
    }


async def _ours(product: Product, scale: float) -> Values:
    lines = max(LEAST, round(LINES * scale))
    one = await product.run(masked(flood(lines)), lines=lines)
    values: dict[str, float | list[float]] = {
        "1 build, lines/s": lines / one.took,
        "1 build, lines/s from its order on": lines / one.ordered,
        **_taken("1 build", one, lines),
    }
    each = max(LEAST, lines // AT_ONCE)
    many = await product.run(masked(flood(each)), lines=each, builds=AT_ONCE)
    values |= {
        f"{AT_ONCE} builds, lines/s": AT_ONCE * each / many.took,
        **_taken(f"{AT_ONCE} builds", many, AT_ONCE * each),
    }
    ticks = max(2, round(PACED * scale / EACH))
    slow, watchers = paced(ticks=ticks, lines=EACH, pause=EACH / PACE), max(1, round(WATCHERS * min(1.0, scale)))
    alone = await product.run(masked(slow), lines=ticks * EACH)
    seen = await product.run(masked(slow), lines=ticks * EACH, watchers=watchers)
    values |= {
        f"paced build, % of its rate that {WATCHERS} followers cost": 100 * (1 - alone.took / seen.took),
        f"paced build, lines/s before {WATCHERS} followers": ticks * EACH / seen.took,
        **_taken(f"paced build before {WATCHERS}", seen, ticks * EACH),
    }
    firsts = max(1, round(FIRSTS * scale))
    values["first line of a build, ms until seen"] = [
        late for _ in range(firsts) for late in await product.late(SAY_WHEN)
    ]
    quiet = max(2, round(TICKS * scale))
    values["a line after quiet, ms until seen"] = await product.late(
        f"for i in $(seq {quiet}); do {SAY_WHEN}; sleep 0.3; done"
    )
    return values


async def _theirs(bot: Buildbot, lines: int) -> Values:
    return {"1 build, lines/s from its order on": lines / await bot.one()}


def _taken(what: str, printed: Printed, lines: int) -> dict[str, float]:
    usage = printed.usage
    taken = {f"{what}, {name}'s processor us a line": spent / lines * 1e6 for name, spent in usage.seconds.items()}
    taken |= {f"{what}, {name}'s peak MiB": peak for name, peak in usage.peaks.items()}
    if printed.client is not None:
        seconds, peak = printed.client
        taken |= {f"{what}, client's processor us a line": seconds / lines * 1e6, f"{what}, client's peak MiB": peak}
    return taken


@asynccontextmanager
async def _product(driver: str, *, apart: bool) -> AsyncIterator[Product]:
    settings = {"BUILDSYS_SLOTS": str(AT_ONCE), "BUILDSYS_MAX_RUNNING": str(2 * AT_ONCE)}
    async with site(driver=driver, apart=apart, **settings) as running:
        await running.system.add_project("bench", "https://example.invalid/never-fetched.git")
        async with running.database.session() as session:
            project = UUID(str(await session.connection.fetchval("SELECT id FROM projects")))
        product = Product(running, driver, project)
        await product.run(masked(flood(LEAST)), lines=LEAST)
        yield product
