"""A node in a process of its own, that measures what it is told to: requests on stdin, answers on stdout, JSON lines.

    python -m tests.bench.actors_node DSN NAME

It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import structlog
from aiohttp import web

from actors import Actor, Context, Database, Namespace, Node, SystemClock
from actors.testing import evict

SERIAL = count()


class Probe(Actor):
    """Does what the Probe of workerd.mjs does."""

    def __init__(self, ctx: Context, *, rung: list[float]) -> None:
        super().__init__(ctx)
        self._rung = rung
        self._puts = 0

    async def ping(self) -> int:
        return 1

    async def put(self) -> None:
        self._put()

    async def puts(self, number: int) -> None:
        for _ in range(number):
            self._put()

    async def arm(self, at: datetime) -> None:
        self.ctx.set_alarm(at)

    async def alarm(self) -> None:
        self._rung.append(time.time())

    def _put(self) -> None:
        """A value of 100 bytes, unlike any other."""
        self.ctx.storage.put(f"k{self._puts % 1000}", str(next(SERIAL)).ljust(100, "v"))
        self._puts += 1


class Measurements:
    """What can be asked for, by its name."""

    def __init__(self, own: Node, probes: Namespace[Probe], rung: list[float]) -> None:
        self._own = own
        self._probes = probes
        self._rung = rung

    async def load(
        self, *, method: str, prefix: str, actors: int, callers: int, calls: int, given: Sequence[Any] = ()
    ) -> float:
        """The seconds that `calls` calls took, `callers` at a time to `actors` actors in turns."""
        stubs = self._stubs(prefix, actors)
        turns = iter(range(calls))

        async def call() -> None:
            for number in turns:
                await getattr(stubs[number % actors], method)(*given)

        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        return time.perf_counter() - began

    async def single(self, *, method: str, prefix: str, calls: int) -> list[float]:
        """The seconds of each call, one after the other to one actor."""
        stub, took = self._stubs(prefix, 1)[0], list[float]()
        for _ in range(calls):
            began = time.perf_counter()
            await getattr(stub, method)()
            took.append(time.perf_counter() - began)
        return took

    async def alarms(
        self, *, prefix: str, actors: int, ahead: float, limit: float, evicted: bool
    ) -> list[float] | None:
        """Alarms of all actors at one instant, `ahead` seconds from now: how many milliseconds late each was.

        None when setting them took longer than that.
        """
        due = time.time() + ahead
        at = datetime.fromtimestamp(due, UTC)
        await self.load(method="arm", prefix=prefix, actors=actors, callers=64, calls=actors, given=[at])
        if evicted:
            for stub in self._stubs(prefix, actors):
                await evict(stub)
        if time.time() >= due:
            return None
        self._rung.clear()
        while len(self._rung) < actors and time.time() < due + limit:
            await asyncio.sleep(0.05)
        return [(at - due) * 1e3 for at in self._rung]

    async def active(self) -> int:
        """How many actors are in memory here."""
        return self._own.statistics().active

    def _stubs(self, prefix: str, actors: int) -> list[Probe]:
        return [self._probes.get(f"{prefix}{number}") for number in range(actors)]


@asynccontextmanager
async def node(database: Database, name: str) -> AsyncIterator[Measurements]:
    """A node with its web server, through which other nodes reach it."""
    rung = list[float]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        own = Node(database=database, id=name, address=address, cluster_key="bench", clock=SystemClock())
        probes = own.namespace("probe", Probe, lambda ctx: Probe(ctx, rung=rung))
        app = web.Application()
        app.add_routes(own.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        try:
            async with own:
                yield Measurements(own, probes, rung)
        finally:
            await runner.cleanup()


async def main(dsn: str, name: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    async with Database(dsn) as database, node(database, name) as measurements:
        print("null", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            answer = await getattr(measurements, wanted.pop("what"))(**wanted)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
