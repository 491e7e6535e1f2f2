"""An actor for tests, a node to run it on, and a way to wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from actors import Actor, Clock, Context, Database, Namespace, Node, NodeSettings, Retry, scheduled
from actors.queries import Query, parse
from actors.testing import Cluster


class ProbeError(Exception):
    """An error with data of its own."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


def query(text: str, name: str = "probe_query") -> Query:
    [found] = parse(f"-- name: {name} :exec\n-- For a test.\n{text}", source="probe")
    return found


INSERT = query("INSERT INTO probe_rows (id) VALUES (:id)", "probe_insert")
UPDATE = query("UPDATE probe_rows SET n = n + 1 WHERE id = :id", "probe_update")


@dataclass
class World:
    """What probes do and have done, outside of them all."""

    events: list[str] = field(default_factory=list)
    pause: asyncio.Event = field(default_factory=asyncio.Event)
    on_run: Callable[[Probe, str], Awaitable[None]] | None = None
    stubs: Any = None

    def count(self, event: str) -> int:
        return self.events.count(event)


class Probe(Actor):
    """Counts, stores, fails and waits as it is told."""

    def __init__(self, ctx: Context, *, world: World, node: str) -> None:
        super().__init__(ctx)
        self.world = world
        self.node = node
        self.count = 0

    async def on_activate(self) -> None:
        self.world.events.append(f"activated {self.ctx.name}")
        self.count = await self.ctx.storage.get("count", int) or 0

    async def increment(self, by: int = 1) -> int:
        before = self.count
        await asyncio.sleep(0)
        self.count = before + by
        self.ctx.storage.put("count", self.count)
        return self.count

    async def where(self) -> str:
        return self.node

    async def read(self) -> int:
        return self.count

    async def stored(self) -> int | None:
        return await self.ctx.storage.get("count", int)

    async def put(self, key: str, value: Any) -> None:
        self.ctx.storage.put(key, value)

    async def get(self, key: str) -> Any:
        return await self.ctx.storage.get(key)

    async def delete(self, key: str) -> None:
        self.ctx.storage.delete(key)

    async def keys(self, prefix: str = "") -> list[str]:
        return list(await self.ctx.storage.list(prefix=prefix))

    async def note(self, text: str) -> str:
        self.world.events.append(text)
        return text

    async def append(self, items: list[int]) -> list[int]:
        items.append(4)
        return items

    async def put_and_raise(self) -> None:
        self.count += 100
        self.ctx.storage.put("count", self.count)
        self.ctx.set_alarm(self.ctx.clock.now())
        raise ProbeError("no", code=7)

    async def fail(self) -> None:
        raise ProbeError("no", code=7)

    async def fail_strangely(self) -> None:
        raise LookupError("nowhere")

    async def same(self, value: int) -> int:
        return value

    async def put_and_return_a_lock(self) -> Any:
        self.ctx.storage.put("written", 1)
        return asyncio.Lock()

    async def put_and_return_a_lot(self) -> bytes:
        self.ctx.storage.put("written", 1)
        return b"x" * (17 << 20)

    async def claim_an_integer(self) -> int:
        self.ctx.storage.put("written", 1)
        return "no integer"  # type: ignore[return-value]

    async def shadow(self) -> None:
        async def never() -> None:
            raise AssertionError

        self.read = never  # type: ignore[assignment,method-assign]

    async def call_other(self, name: str) -> int:
        return await self.world.stubs.get(name).read()  # type: ignore[no-any-return]

    async def hang(self) -> None:
        await asyncio.Event().wait()

    async def wait(self) -> None:
        self.world.events.append("waiting")
        await self.world.pause.wait()

    async def insert(self, id: int) -> None:
        self.ctx.execute(INSERT, id=id)

    async def update(self, id: int, rows: int | None = 1) -> None:
        self.ctx.storage.put("updated", id)
        self.ctx.execute(UPDATE, rows=rows, id=id)

    async def put_then_call_back(self) -> None:
        self.ctx.storage.put("x", 1)
        self.ctx.after_commit(lambda: self.world.events.append("committed"))
        self.world.events.append("turn over")

    async def transact(self, id: int, fail: bool = False) -> int:
        self.ctx.storage.put("transacted", id)
        async with self.ctx.transaction() as tx:
            await tx.execute(INSERT, id=id)
            row = await tx.connection.fetchrow("SELECT count(*) FROM probe_rows")
            if fail:
                raise ProbeError("no", code=1)
        return int(row[0])

    async def set(self, schedule: str = "alarm", seconds: float = 0) -> datetime:
        at = self.ctx.clock.now() + timedelta(seconds=seconds)
        self.ctx.schedule(schedule, at)
        return at

    async def unset(self, schedule: str = "alarm") -> None:
        self.ctx.unschedule(schedule)

    async def schedules(self) -> dict[str, datetime]:
        return self.ctx.schedules()

    async def wake(self, schedule: str = "alarm") -> None:
        self.ctx.wake(schedule)

    async def spawn(self) -> None:
        async def work() -> None:
            self.world.events.append("spawned")
            await self.world.pause.wait()
            raise ProbeError("spawned work failed", code=1)

        self.ctx.spawn(work(), name="work")

    async def alarm(self) -> None:
        await self._ran("alarm")

    @scheduled(deadline=0.2, urgency=0)
    async def urgent(self) -> None:
        await self._ran("urgent")

    @scheduled(urgency=20)
    async def later(self) -> None:
        await self._ran("later")

    async def on_error(self, error: BaseException, source: str) -> None:
        self.world.events.append(f"error in {source}: {error}")

    async def _ran(self, schedule: str) -> None:
        self.world.events.append(schedule)
        if self.world.on_run is not None:
            await self.world.on_run(self, schedule)


@dataclass
class Setup:
    """A running node with probes."""

    node: Node
    probes: Namespace[Probe]
    world: World

    def get(self, name: str = "a") -> Probe:
        return self.probes.get(name)


@contextlib.asynccontextmanager
async def cluster(
    database: Database,
    size: int,
    *,
    world: World | None = None,
    clock: Clock | None = None,
    retry: Retry | None = None,
    **settings: Any,
) -> AsyncIterator[Cluster[Setup]]:
    """Nodes with probes."""
    world = world or World()

    def declare(node: Node) -> Setup:
        probes = node.namespace(
            "probe",
            Probe,
            lambda ctx: Probe(ctx, world=world, node=node.id),
            retry=retry or Retry(base=0.01, attempts=3),
            errors=[ProbeError],
        )
        world.stubs = probes
        return Setup(node=node, probes=probes, world=world)

    async with Cluster(database, size, declare=declare, clock=clock, settings=NodeSettings(**settings)) as cluster:
        yield cluster


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until a condition, or an awaitable one, holds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.005)
