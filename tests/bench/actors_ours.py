"""Our side of `actors`: nodes in processes of their own, on a Postgres as durable as any."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.bench.figures import resident_kib

LIMIT = 1 << 24
"""Bytes of an answer."""

GOODBYE = 30.0
"""Seconds that a node has to leave."""


class Ours:
    """A node that measures inside itself what it is told to."""

    room = sys.maxsize

    def __init__(self, process: Process) -> None:
        self._process = process

    async def load(self, **wanted: Any) -> float:
        """The seconds that `calls` calls took, `callers` at a time to `actors` actors in turns."""
        return float(await self._ask("load", **wanted))

    async def single(self, **wanted: Any) -> list[float]:
        """The seconds of each of `calls` calls, one after the other to one actor."""
        return list(await self._ask("single", **wanted))

    async def blocks(self, *, blocks: int, calls: int, **wanted: Any) -> list[float]:
        """The mean seconds of a call in each of so many blocks of so many calls, one after the other to one actor."""
        single = await self.single(calls=blocks * calls, **wanted)
        return [sum(single[at : at + calls]) / calls for at in range(0, len(single), calls)]

    async def alarms(self, **wanted: Any) -> list[float] | None:
        """How many milliseconds late each alarm was; None if setting them took too long."""
        late: list[float] | None = await self._ask("alarms", **wanted)
        return late

    async def active(self) -> int:
        """How many actors are in this node's memory."""
        return int(await self._ask("active"))

    async def resident_kib(self) -> int:
        return resident_kib(self._process.pid)

    async def ready(self) -> None:
        await self._answer()

    async def _ask(self, what: str, **wanted: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **wanted}).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "our node has died; its own words are above"
        return json.loads(line)


@asynccontextmanager
async def ours(dsn: str, name: str = "ours") -> AsyncIterator[Ours]:
    """A node on a migrated database."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.actors_node", dsn, name),
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
        async with asyncio.timeout(GOODBYE):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
