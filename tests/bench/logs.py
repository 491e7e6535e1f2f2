"""Logs from ready-made batches to readers, beside workerd and the floors of the machine; run by run in turns.

Lines are of 100 bytes. workerd keeps a row a line in its SQLite, as its users do; ours keeps compressed batches in
Postgres. Both show a batch to followers once it is durable, over server-sent events, to the same client.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import asyncpg
import msgspec

from buildsys.postgres import EmbeddedPostgres
from tests.bench.figures import Say, busy_cores, percentile, spread
from tests.bench.logs_sides import Ours, Side, followers, ours, text_seconds, theirs
from tests.bench.logs_text import WIDTH, numbered
from tests.bench.site import postgres_pid
from tests.bench.usage import Usage
from tests.bench.workerd import VERSION, install

GROUPS = ("append", "follow", "latency", "read")
LINES = 1_000_000
SMALL, LARGE = 640, 10_400
"""Lines of a batch: of 64 KiB, as a runner sends them, and of 1 MiB, as it does under a flood."""

BUILDS = 20
"""Builds that print at once, where there are many."""

FOLLOWED = {1: 500_000, 100: 100_000, 1000: 10_000}
"""Followers, and the lines that are sent to each."""

TICKS = 200
PAUSE = 0.02
"""Seconds between two batches of ten lines, where it is measured how late they come."""

RANGES = 300
Values = dict[str, float]
Open = Callable[[], AbstractAsyncContextManager[Any]]


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the usual is done."""

    factor: float

    def __call__(self, usual: int) -> int:
        return max(1, round(usual * self.factor))


async def measure(*, groups: tuple[str, ...], runs: int, scale: float, peer: bool, say: Say) -> dict[str, Any]:
    """The figures of both sides."""
    program = await install(say) if peer else None
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    others = list[float]()
    with tempfile.TemporaryDirectory(prefix="logs-bench-", ignore_cleanup_errors=True) as name:
        for group in groups:
            sides: dict[str, Open] = {"buildsys": partial(_ours, Path(name))}
            if program is not None:
                sides["workerd"] = partial(theirs, program)
            if group == "append":
                sides["floor"] = partial(_floor, Path(name))
            for run in range(runs):
                for side, open_side in sides.items():
                    others.append(busy_cores())
                    async with open_side() as running:
                        values = await MEASUREMENTS[group](running, Scale(factor=scale))
                    for what, value in values.items():
                        found.setdefault(group, {}).setdefault(what, {}).setdefault(side, []).append(value)
                        say(f"{group} {run + 1}/{runs} {side}: {what}: {value:,.4g}")
    return {
        "peer": f"workerd {VERSION}" if program else None,
        "scale": scale,
        "cores_busy_before": spread(others),
        **{
            group: {what: {side: spread(values) for side, values in sides.items()} for what, sides in whats.items()}
            for group, whats in found.items()
        },
    }


def table(figures: dict[str, Any]) -> str:
    """Medians, and in brackets the extremes."""
    lines = []
    for group in GROUPS:
        for what, sides in figures.get(group, {}).items():
            told = (f"{side} {v['p50']:,.6g} ({v['min']:,.6g} to {v['max']:,.6g})" for side, v in sides.items())
            lines.append(f"{group:8} {what:55} {'  '.join(told)}")
    return "\n".join(lines)


class Installation(msgspec.Struct, kw_only=True):
    """Our node with its Postgres."""

    node: Ours
    dsn: str
    postgres: int


class Floor:
    """The same bytes without any of it: through a pipe, and by COPY into Postgres."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def pipe(self, text: bytes) -> float:
        return await asyncio.to_thread(_through_a_pipe, text)

    async def copy(self, lines: list[bytes]) -> float:
        connection = await asyncpg.connect(self._dsn)
        await connection.execute("CREATE TABLE IF NOT EXISTS copied (line text)")
        began = time.perf_counter()
        await connection.copy_records_to_table("copied", records=[(line.decode(),) for line in lines])
        took = time.perf_counter() - began
        await connection.close()
        return took


async def append(running: Installation | Side | Floor, scale: Scale) -> Values:
    """Lines a second from a report, or what is like it, until it is durable."""
    lines = scale(LINES)
    if isinstance(running, Floor):
        text = numbered(1, lines)
        return {
            "1 build, batches of 1 MiB, lines/s": lines / await running.pipe(text),
            "COPY, lines/s": lines / await running.copy(text.splitlines()),
        }
    side, values = _side(running), Values()
    for builds, batch, name in ((1, SMALL, "64 KiB"), (1, LARGE, "1 MiB"), (BUILDS, SMALL, "64 KiB")):
        if builds > 1 and not isinstance(running, Installation):
            continue
        begun = [await side.begin() for _ in range(builds)]
        await side.prepare(builds=begun, lines=lines // builds, batch=batch)
        async with _usage(running) as usage:
            took = await side.append(builds=begun)
        what = f"{builds} build{'s' * (builds > 1)}, batches of {name}"
        values[f"{what}, lines/s"] = lines // builds * builds / took
        for process, seconds in usage.seconds.items():
            values[f"{what}, {process}'s processor us a line"] = seconds / lines * 1e6
        values |= _peaks(what, usage)
    return values


async def follow(running: Installation | Side, scale: Scale) -> Values:
    """Lines a second that all followers together got, from the first to the last."""
    side, values = _side(running), Values()
    for count, usual in FOLLOWED.items():
        readers, lines = min(count, scale(count * 10)), scale(usual)
        build = await side.begin()
        await side.prepare(builds=[build], lines=lines, batch=SMALL)
        async with followers(side, build, readers) as watching:
            async with _usage(running) as usage:
                began = time.monotonic()
                await side.append(builds=[build])
                await side.end(build=build)
                seen = await watching.seen()
        assert seen["lines"] == lines, f"{seen['lines']} lines of {lines}"
        what = f"{count} followers"
        values[f"{what}, delivered lines/s"] = readers * lines / (seen["ended"] - began)
        values |= {f"{what}, {process}'s processor s": seconds for process, seconds in usage.seconds.items()}
        values[f"{what}, client's processor s"] = seen["cpu"]
        values |= _peaks(what, usage) | {f"{what}, client's peak MiB": seen["peak"]}
    return values


async def latency(running: Installation | Side, scale: Scale) -> Values:
    """Milliseconds from a report until a follower has its lines: ten lines at a time, fifty times a second."""
    side, values = _side(running), Values()
    for count in FOLLOWED:
        build = await side.begin()
        async with followers(side, build, min(count, scale(count * 10))) as watching:
            await side.tick(build=build, ticks=max(10, scale(TICKS)), pause=PAUSE, lines=10)
            await side.end(build=build)
            late = (await watching.seen())["late"]
        values[f"{count} followers, p50 ms"] = statistics.median(late)
        values[f"{count} followers, p99 ms"] = percentile(late, 0.99)
    return values


async def read(running: Installation | Side, scale: Scale) -> Values:
    """A long log over HTTP: all of it as text, stretches of it, and what a search finds in it."""
    side, values, lines = _side(running), Values(), scale(LINES)
    build = await side.begin()
    await side.prepare(builds=[build], lines=lines, batch=SMALL)
    await side.append(builds=[build])
    if not isinstance(running, Installation):
        url, *_ = side.following(build)
        took, size = await text_seconds(f"{url}/text")
        assert size == lines * WIDTH
        return {"text from rows, s": took}
    url, token = running.node.following(build)
    connection = await asyncpg.connect(running.dsn)
    try:
        stored = await connection.fetchval("SELECT pg_total_relation_size('log_records')")
        values["rows and their indexes, bytes a line"] = stored / lines
        for place in ("rows", "the archive"):
            async with _usage(running) as usage:
                values |= {what.format(place): value for what, value in (await _read(url, token, lines)).items()}
            values |= _peaks(f"reading {place}", usage)
            if place == "rows":
                await side.end(build=build)
                while await connection.fetchval("SELECT EXISTS (SELECT FROM log_records WHERE build = $1)", build):
                    await asyncio.sleep(0.05)
        size = await connection.fetchval("SELECT size FROM log_archives WHERE build = $1", build)
        values["archive, bytes a line"] = size / lines
    finally:
        await connection.close()
    return values


MEASUREMENTS: dict[str, Any] = {"append": append, "follow": follow, "latency": latency, "read": read}


async def _read(url: str, token: str, lines: int) -> Values:
    took, size = await text_seconds(url, token)
    assert size == lines * WIDTH, f"{size} bytes of {lines} lines"
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    ranges, empty = list[float](), list[float]()
    async with aiohttp.ClientSession(headers=headers) as session:
        for number in range(RANGES):
            after = (number * 7919 * 1000) % max(1, lines - 1000)
            ranges.append(await _get(session, url, after=str(after), limit="1000"))
            empty.append(await _get(session, urljoin(url, "/healthz")))
        searched = []
        for wanted in ({"q": f"{lines:012d}"}, {"q": f"^0*{lines} .*(ok|passed|warning)", "regex": "true"}):
            began = time.perf_counter()
            async with session.get(url, params={**wanted, "seconds": "30"}) as response:
                found = await response.json()
            searched.append(time.perf_counter() - began)
            assert len(found["hits"]) == 1, found
    return {
        "text from {}, s": took,
        "1,000 lines from {}, p50 ms": statistics.median(ranges),
        "1,000 lines from {}, p99 ms": percentile(ranges, 0.99),
        "an empty answer in turns with lines from {}, p50 ms": statistics.median(empty),
        "an empty answer in turns with lines from {}, p99 ms": percentile(empty, 0.99),
        "search of {} to the last line, s": searched[0],
        "search of {} by a regular expression, s": searched[1],
    }


async def _get(session: aiohttp.ClientSession, url: str, **query: str) -> float:
    """Milliseconds until all of the answer is there."""
    began = time.perf_counter()
    async with session.get(url, params=query) as response:
        body = await response.read()
    assert response.status == 200, body[:500]
    return (time.perf_counter() - began) * 1e3


def _side(running: Installation | Side) -> Side:
    return running.node if isinstance(running, Installation) else running


def _usage(running: Installation | Side) -> Usage:
    if isinstance(running, Installation):
        return Usage(server=running.node.pid, postgres=running.postgres)
    return Usage(server=running.pid)


def _peaks(what: str, usage: Usage) -> Values:
    return {f"{what}, {process}'s peak MiB": peak for process, peak in usage.peaks.items()}


@asynccontextmanager
async def _ours(folder: Path) -> AsyncIterator[Installation]:
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        async with (
            EmbeddedPostgres(Path(name) / "postgres") as postgres,
            ours(postgres.dsn, Path(name) / "data") as node,
        ):
            yield Installation(node=node, dsn=postgres.dsn, postgres=postgres_pid(Path(name) / "postgres"))


@asynccontextmanager
async def _floor(folder: Path) -> AsyncIterator[Floor]:
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        async with EmbeddedPostgres(Path(name) / "postgres") as postgres:
            yield Floor(postgres.dsn)


def _through_a_pipe(text: bytes) -> float:
    out, into = os.pipe()
    began = time.perf_counter()
    writer = os.fork()
    if writer == 0:
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(into, view) :]
        finally:
            os._exit(0)
    os.close(into)
    while os.read(out, 1 << 16):
        pass
    os.close(out)
    os.waitpid(writer, 0)
    return time.perf_counter() - began
