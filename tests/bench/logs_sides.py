"""Both sides of `logs` as the benchmark drives them, and the followers, each in processes of their own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import aiohttp

from tests.bench.logs_text import stamped
from tests.bench.workerd import Workerd, workerd

LIMIT = 1 << 26
"""Bytes of an answer."""

SCRIPT = Path(__file__).with_name("workerd_logs.mjs")


class Followed(Protocol):
    """Something that shows logs to followers."""

    def following(self, build: str) -> tuple[str, ...]:
        """The URL at which the log is followed, and the token for it, if it takes one."""


class Side(Followed, Protocol):
    """Something that keeps logs, too."""

    pid: int

    async def begin(self) -> str:
        """Start a log; its name."""

    async def prepare(self, *, builds: list[str], lines: int, batch: int) -> None: ...

    async def append(self, *, builds: list[str]) -> float:
        """Append what is ready, to all logs at once; the seconds until it is durable."""

    async def tick(self, *, build: str, ticks: int, pause: float, lines: int) -> None:
        """Append some lines at a time that say when that was."""

    async def end(self, *, build: str) -> None: ...


class Ours:
    """`logs_node`."""

    url: str
    token: str

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    async def begin(self) -> str:
        return str(await self._ask("begin"))

    async def prepare(self, **wanted: Any) -> None:
        await self._ask("prepare", **wanted)

    async def append(self, *, builds: list[str]) -> float:
        return float(await self._ask("append", builds=builds))

    async def tick(self, **wanted: Any) -> None:
        await self._ask("tick", **wanted)

    async def end(self, *, build: str) -> None:
        await self._ask("end", build=build)

    def following(self, build: str) -> tuple[str, ...]:
        return f"{self.url}/api/v1/builds/{build}/logs", self.token

    async def ready(self) -> None:
        told = await answer_of(self._process)
        self.url, self.token = told["url"], told["token"]

    async def _ask(self, what: str, **wanted: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **wanted}).encode() + b"\n")
        await self._process.stdin.drain()
        return await answer_of(self._process)


class Theirs:
    """workerd, each log an object."""

    def __init__(self, running: Workerd) -> None:
        self._running = running
        self.pid = running.pid

    async def begin(self) -> str:
        return uuid4().hex

    async def prepare(self, *, builds: list[str], lines: int, batch: int) -> None:
        for build in builds:
            await self._running.ask(what="prepare", name=build, lines=lines, batch=batch)

    async def append(self, *, builds: list[str]) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(self._running.ask(what="append", name=build) for build in builds))
        return time.perf_counter() - began

    async def tick(self, *, build: str, ticks: int, pause: float, lines: int) -> None:
        for _ in range(ticks):
            await asyncio.sleep(pause)
            text = stamped(time.monotonic_ns(), lines).decode().splitlines()
            await self._running.ask(what="add", name=build, lines=text)

    async def end(self, *, build: str) -> None:
        await self._running.ask(what="end", name=build)

    def following(self, build: str) -> tuple[str, ...]:
        return (f"{self._running.url}/logs/{build}",)


@asynccontextmanager
async def ours(dsn: str, folder: Path) -> AsyncIterator[Ours]:
    """A node on a fresh database."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.logs_node", dsn, str(folder)),
        stdin=PIPE,
        stdout=PIPE,
        limit=LIMIT,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        running = Ours(process)
        await running.ready()
        yield running
        process.stdin.close()
        async with asyncio.timeout(60):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def theirs(program: Path) -> AsyncIterator[Theirs]:
    async with workerd(program, script=SCRIPT) as running:
        yield Theirs(running)


class Followers:
    """Followers of one log; `seen` once the log has ended."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def seen(self) -> dict[str, Any]:
        return dict(await answer_of(self._process))


@asynccontextmanager
async def followers(side: Followed, build: str, count: int) -> AsyncIterator[Followers]:
    """So many, once they all follow."""
    url, *token = side.following(build)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.logs_client", url, str(count), *token),
        stdout=PIPE,
        limit=LIMIT,
        start_new_session=True,
    )
    try:
        await answer_of(process)
        yield Followers(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def text_seconds(url: str, token: str | None = None) -> tuple[float, int]:
    """How long it takes to read a log as text, and its bytes."""
    headers = {"Accept": "text/plain", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    began, size = time.perf_counter(), 0
    async with aiohttp.ClientSession(headers=headers, read_bufsize=1 << 20) as session, session.get(url) as response:
        response.raise_for_status()
        async for piece in response.content.iter_any():
            size += len(piece)
    return time.perf_counter() - began, size


async def answer_of(process: Process) -> Any:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "a process of the benchmark has died; its own words are above"
    return json.loads(line)
