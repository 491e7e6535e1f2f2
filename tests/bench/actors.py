"""Actors beside workerd's Durable Objects: the same calls inside both, run by run in turns, on one disk.

Both sides run one thread of user code; ours has Postgres' processes beside it. A call is made inside a node, and inside
the Worker: what HTTP costs is no part of it. Each value stored is of 100 bytes and unlike any other. Each run begins
with fresh processes and empty storage.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from actors import Database, migrate
from buildsys.postgres import EmbeddedPostgres
from tests.bench.actors_ours import Ours, ours
from tests.bench.figures import Say, busy_cores, cpu_seconds, fsync_seconds, percentile, spread
from tests.bench.workerd import VERSION, install, workerd

GROUPS = ("calls", "puts", "alarms", "memory", "nodes")
AT_ONCE = 64
"""Callers at a time, where there are many."""

PROCESSOR = ", processor us each"
"""What a call or a put took of all processes, Postgres' as well: it says more where others keep the machine busy."""

PATIENCE = 60.0
"""Seconds after the instant at which the last alarm must have run."""


class Side(Protocol):
    """A runtime under measurement; `room` is how many actors it can have in memory here."""

    room: int

    async def load(self, **wanted: Any) -> float: ...

    async def blocks(self, **wanted: Any) -> list[float]: ...

    async def alarms(self, **wanted: Any) -> list[float] | None: ...

    async def resident_kib(self) -> int: ...


Open = Callable[[], AbstractAsyncContextManager[Any]]
Values = dict[str, float]
"""What one run has found, by the words of the table."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Something to measure on a side that has room for so many actors."""

    take: Callable[[Any], Awaitable[Values]]
    actors: int = 0


async def measure(*, groups: tuple[str, ...], runs: int, scale: float, peer: bool, say: Say) -> dict[str, Any]:
    """The figures of both sides."""
    program = await install(say) if peer else None
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    others = list[float]()
    with tempfile.TemporaryDirectory(prefix="actors-bench-", ignore_cleanup_errors=True) as name:
        disk = [seconds * 1e6 for seconds in fsync_seconds(Path(name))]
        async with EmbeddedPostgres(Path(name) / "postgres") as postgres:
            for group in groups:
                sides: dict[str, Open] = {"actors": partial(_ours, postgres.dsn)}
                if group == "nodes":
                    sides = {"actors": partial(_two_nodes, postgres.dsn)}
                elif program is not None:
                    sides["workerd"] = partial(workerd, program)
                for run in range(runs):
                    for side, open_side in sides.items():
                        others.append(busy_cores())
                        async with open_side() as running:
                            for measurement in measurements(group, scale):
                                if measurement.actors > running.room:
                                    continue
                                values = await measurement.take(running)
                                for what, value in values.items():
                                    found.setdefault(group, {}).setdefault(what, {}).setdefault(side, []).append(value)
                                    say(f"{group} {run + 1}/{runs} {side}: {what}: {readable(value)}")
    return {
        "peer": f"workerd {VERSION}" if program else None,
        "scale": scale,
        "cores_busy_before": spread(others),
        "fsync_4k_us": {"p50": round(percentile(disk, 0.5)), "p99": round(percentile(disk, 0.99))},
        **{
            group: {what: {side: spread(values) for side, values in sides.items()} for what, sides in whats.items()}
            for group, whats in found.items()
        },
    }


def measurements(group: str, scale: float) -> list[Measurement]:
    """What is measured of a group, in its order, with so many times the usual numbers of calls and actors."""

    def many(number: int) -> int:
        return max(1, round(number * scale))

    match group:
        case "calls":
            return [
                _rate("1 actor, one call at a time: calls/s", "ping", 1, 1, many(20_000)),
                _rate("1,000 actors, one call at a time: calls/s", "ping", many(1000), 1, many(20_000)),
                _rate("1 actor, 64 callers: calls/s", "ping", 1, AT_ONCE, many(20_000)),
                _rate("1,000 actors, 64 callers: calls/s", "ping", many(1000), AT_ONCE, many(20_000)),
                _blocks("one call at a time, means of 100", "ping", many(200), 100),
            ]
        case "puts":
            return [
                _rate("1 actor, one put at a time: puts/s", "put", 1, 1, many(3000)),
                _rate("64 actors at once: puts/s", "put", AT_ONCE, AT_ONCE, many(10_000)),
                _rate("1 actor, 64 callers: puts/s", "put", 1, AT_ONCE, many(10_000)),
                _rate("1 actor, 1,000 puts a turn: puts/s", "puts", 1, 1, many(30), each=1000),
                _blocks("one put at a time, means of 10", "put", many(200), 10),
            ]
        case "alarms":
            return [
                _alarms(f"{number:,} due at once, {state}", many(number), evicted=state == "evicted")
                for number in (1000, 10_000)
                for state in ("in memory", "evicted")
            ]
        case "memory":
            return [Measurement(take=partial(_memory, many(10_000)))]
        case _:
            return [
                _single("one call at a time to another node", "ping", many(5000)),
                _rate("1 actor of another node, 64 callers: calls/s", "ping", 1, AT_ONCE, many(20_000)),
                _single("one put at a time on another node", "put", many(2000)),
            ]


def table(figures: dict[str, Any]) -> str:
    """The figures for a person, as Markdown: medians of the runs, and their extremes."""
    rows = [("", "actors", figures["peer"] or "workerd", "ratio")]
    for group in GROUPS:
        for what, sides in figures.get(group, {}).items():
            if what.endswith(PROCESSOR):
                continue
            mine, theirs = sides["actors"], sides.get("workerd")
            ratio = readable(mine["p50"] / theirs["p50"]) if theirs and theirs["p50"] else ""
            rows.append((what, _cell(mine), _cell(theirs) if theirs else "", ratio))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in [cells[0], ["-" * width for width in widths], *cells[1:]]]
    disk, others = figures["fsync_4k_us"], figures["cores_busy_before"]
    return "\n".join(
        [
            *lines,
            "",
            "Median (least-most) of the runs. Empty: it has no other nodes, or needs more open files than may be had.",
            f"A write of 4 KiB and its fsync on this disk: p50 {disk['p50']} us, p99 {disk['p99']} us.",
            f"Processors that others kept busy before each run: {_cell(others)}.",
        ]
    )


def readable(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cell(told: dict[str, float]) -> str:
    return f"{readable(told['p50'])} ({readable(told['min'])}-{readable(told['max'])})"


def _rate(what: str, method: str, actors: int, callers: int, calls: int, *, each: int = 1) -> Measurement:
    """Calls a second, or what they do `each` times."""
    given = [] if each == 1 else [each]

    async def take(side: Side) -> Values:
        load = partial(side.load, method=method, prefix="probe", actors=actors, callers=callers, given=given)
        await load(calls=max(actors, calls // 2))
        before = cpu_seconds(os.getpid())
        seconds = await load(calls=calls)
        spent = cpu_seconds(os.getpid()) - before
        return {what: calls * each / seconds, what + PROCESSOR: spent * 1e6 / calls / each}

    return Measurement(take=take, actors=actors)


def _blocks(what: str, method: str, blocks: int, calls: int) -> Measurement:
    async def take(side: Side) -> Values:
        return _percentiles(what, await side.blocks(method=method, prefix="probe", blocks=blocks, calls=calls))

    return Measurement(take=take)


def _single(what: str, method: str, calls: int) -> Measurement:
    async def take(side: Ours) -> Values:
        await side.single(method=method, prefix="probe", calls=max(1, calls // 10))
        return _percentiles(what, await side.single(method=method, prefix="probe", calls=calls))

    return Measurement(take=take)


def _percentiles(what: str, seconds: list[float]) -> Values:
    return {f"{what}: p{share} us": percentile(seconds, share / 100) * 1e6 for share in (50, 99)}


def _alarms(what: str, actors: int, *, evicted: bool) -> Measurement:
    async def take(side: Side) -> Values:
        prefix = f"alarms{actors}-"
        await side.load(method="ping", prefix=prefix, actors=actors, callers=AT_ONCE, calls=actors)
        ahead, late = 2 + actors / 1000, None
        while late is None:
            late = await side.alarms(prefix=prefix, actors=actors, ahead=ahead, limit=PATIENCE, evicted=evicted)
            ahead *= 2
        assert len(late) == actors, f"{len(late)} of {actors} alarms ran within {PATIENCE:g} s"
        assert min(late) > -1, f"an alarm ran {-min(late):.1f} ms early"
        return {f"{what}: p{share} ms late": percentile(late, share / 100) for share in (50, 99)}

    return Measurement(take=take, actors=actors)


async def _memory(number: int, side: Side) -> Values:
    actors = min(number, side.room)
    await side.load(method="put", prefix="warm-up", actors=100, callers=AT_ONCE, calls=1000)
    before = await side.resident_kib()
    values: Values = {}
    for what, method in (("called once", "ping"), ("and with one put", "put")):
        await side.load(method=method, prefix="memory", actors=actors, callers=AT_ONCE, calls=actors)
        values[f"an actor in memory, {what}: KiB"] = (await side.resident_kib() - before) / actors
    return values


@asynccontextmanager
async def _fresh_database(server: str) -> AsyncIterator[str]:
    """The DSN of a new one, migrated. It is not dropped, for that is a checkpoint, which the next run would feel."""
    name = f"bench_{uuid4().hex}"
    dsn = urlsplit(server)._replace(path=f"/{name}").geturl()
    async with Database(server) as database:
        await database.pool.execute(f"CREATE DATABASE {name}")
    async with Database(dsn) as database:
        await migrate(database)
    yield dsn


@asynccontextmanager
async def _ours(server: str) -> AsyncIterator[Ours]:
    async with _fresh_database(server) as dsn, ours(dsn) as running:
        yield running


@asynccontextmanager
async def _two_nodes(server: str) -> AsyncIterator[Ours]:
    """A node next to the one that has the actor: what is called "probe0" is elsewhere."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(_fresh_database(server))
        there = await stack.enter_async_context(ours(dsn, "there"))
        await there.single(method="ping", prefix="probe", calls=1)
        here = await stack.enter_async_context(ours(dsn, "here"))
        yield here
        assert await there.active() == 1, "the actor did not stay where it was"
