"""What tests of actors need: a look inside, a run on demand, time by hand, and nodes that die.

The examples are run by this package's own tests. They are about this module, `counting.py`:

    from datetime import timedelta

    from actors import Actor, Namespace, Node


    class Counter(Actor):
        async def increment(self) -> int:
            count = await self.ctx.storage.get("count", int) or 0
            self.ctx.storage.put("count", count + 1)
            return count + 1

        async def reset_in(self, seconds: float) -> None:
            self.ctx.set_alarm(self.ctx.clock.now() + timedelta(seconds=seconds))

        async def alarm(self) -> None:
            async with self.ctx.turn():
                self.ctx.storage.put("count", 0)


    def declare(node: Node) -> list[Namespace[Counter]]:
        return [node.namespace("counter", Counter, Counter)]

**Nodes in the test's own process**, that call each other over HTTP. `declared` holds what `declare` returned for each.

    async with Cluster(database, 2, declare=declare) as cluster:
        [here], [there] = cluster.declared
        counter = here.get("a")
        assert await counter.increment() == 1
        assert await there.get("a").increment() == 2

        async def look(inside: Counter) -> int | None:  # in a turn, on the instance itself
            return await inside.ctx.storage.get("count", int)

        assert await run_in_actor(counter, look) == 2
        assert [id.name for id in await list_ids(here)] == ["a"]

**Memory** is not to be relied on: take an actor out of it, or all of a node, or each after every call.

        await evict(counter)
        assert await counter.increment() == 3
        await evict_all(cluster.nodes[0])
        assert await counter.increment() == 4

    async with Cluster(database, 1, declare=declare, settings=NodeSettings(paranoid=True)) as cluster:
        assert await cluster.declared[0][0].get("a").increment() == 5

**Processes** are killed and paused in earnest, and at exact moments, which `actors.faults` lists. The module must be
found where the test's own modules are. Here a node dies between COMMIT and its answer; its caller cannot know what
became of the call, and the next one sees it.

    settings = NodeSettings(lease_ttl=1.5)
    async with ProcessCluster(database.dsn, 2, declare="counting:declare", settings=settings) as processes:
        one, two = processes.nodes
        assert await one.call("counter", "c", "increment") == 1
        await one.stop_at("commit_sent")
        calling = asyncio.ensure_future(one.call("counter", "c", "increment"))
        await one.until_paused()  # the kernel says so
        while await database.pool.fetchval("SELECT seq FROM actors.actors WHERE name = 'c'") < 2:
            await asyncio.sleep(0.01)
        await one.kill()
        with contextlib.suppress(ActorUnavailable):
            await calling
        assert await two.call("counter", "c", "increment") == 3

**Time**: `run_alarm` runs a schedule whether it is due or not; with a `FakeClock`, which nodes and database go by
alike, schedules, leases and limits fall due when the test says so.

    clock = FakeClock()
    await clock.install(database)
    async with Cluster(database, 2, declare=declare, clock=clock) as cluster:
        [here], [there] = cluster.declared
        counter = here.get("b")
        await counter.increment()
        await counter.reset_in(3600)
        assert await run_alarm(counter)
        assert not await run_alarm(counter)
        assert await counter.increment() == 1

        await cluster.kill(cluster.nodes[0])  # as a crash would
        await clock.advance(15)  # its lease is over
        assert await there.get("b").increment() == 2
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from aiohttp import web

from actors.activation import Activation
from actors.actor import Actor
from actors.call import Errand
from actors.clock import Clock, SystemClock
from actors.database import Database
from actors.fake_clock import FakeClock
from actors.fresh_database import fresh_database
from actors.mailbox import Mailbox
from actors.messages import ActorId, Raised, Reply
from actors.namespace import Namespace, line_of
from actors.node import Node
from actors.processes import NodeProcess, ProcessCluster
from actors.shared import NodeSettings

__all__ = [
    "Cluster",
    "FakeClock",
    "NodeProcess",
    "ProcessCluster",
    "evict",
    "evict_all",
    "fresh_database",
    "list_ids",
    "run_alarm",
    "run_in_actor",
]

A = TypeVar("A", bound=Actor)
R = TypeVar("R")


async def run_in_actor(stub: A, function: Callable[[A], Awaitable[R]]) -> R:
    """Run a function on the instance itself, in a turn of the actor, which must belong to this stub's node."""
    kept: list[R] = []

    async def run(activation: Activation) -> bytes:
        kept.append(await function(cast(A, activation.instance)))
        return b""

    mailbox = _mailbox(stub)
    reply = await _do(stub, run)
    if isinstance(reply, Raised):
        raise line_of(stub).kind.failures.decode(reply.failure)
    assert kept, f"{mailbox.id} belongs to another node"
    return kept[0]


async def run_alarm(stub: Actor, schedule: str = "alarm") -> bool:
    """Run a schedule to its end, due or not; False where it is not set, or runs already."""
    started: list[asyncio.Task[None]] = []

    async def run(activation: Activation) -> bytes:
        one = activation.schedules.get(schedule)
        if one is not None and one.ready:
            started.append(activation.runs.start(schedule))
        return b""

    await _do(stub, run)
    if started:
        await asyncio.wait(started)
    return bool(started)


async def evict(stub: Actor) -> None:
    """Take the actor out of its node's memory, between two turns."""
    await _mailbox(stub).evict()


async def evict_all(node: Node) -> None:
    """Take all actors out of a node's memory."""
    for id in node.catalog.ids():
        await node.catalog.mailbox(id).evict()


async def list_ids(namespace: Namespace[Any]) -> list[ActorId]:
    """All actors of a namespace that have ever been active."""
    return [ActorId(namespace=namespace.name, name=name) for name in await namespace.names()]


async def _do(stub: object, run: Callable[[Activation], Awaitable[bytes]]) -> Reply:
    line = line_of(stub)
    errand = Errand(run, id=line.id, kind=line.kind, clock=line.router.clock, limit=line.limit)
    _mailbox(stub).submit(errand)
    return await errand.done


def _mailbox(stub: object) -> Mailbox:
    line = line_of(stub)
    return line.router.catalog.mailbox(line.id)


class Cluster(Generic[R]):
    """Nodes in this process that call each other over HTTP. `declare` declares a node's namespaces."""

    def __init__(
        self,
        database: Database,
        size: int,
        *,
        declare: Callable[[Node], R],
        clock: Clock | None = None,
        settings: NodeSettings | None = None,
    ) -> None:
        self._database = database
        self._size = size
        self._declare = declare
        self._clock = clock or SystemClock()
        self._settings = settings or NodeSettings()
        self._nodes = AsyncExitStack()
        self.nodes: list[Node] = []
        self.declared: list[R] = []

    async def __aenter__(self) -> Self:
        for _ in range(self._size):
            await self.start(f"node-{len(self.nodes) + 1}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._nodes.aclose()

    async def start(self, id: str) -> Node:
        """Start a further node, or one that was killed again under its id."""
        node, declared = await self._nodes.enter_async_context(self._serve(id))
        self.nodes.append(node)
        self.declared.append(declared)
        return node

    async def kill(self, node: Node) -> None:
        """End a node as a crash would: nothing is finished, nothing given back."""
        await node.kill()

    @asynccontextmanager
    async def _serve(self, id: str) -> AsyncIterator[tuple[Node, R]]:
        listener = socket.create_server(("127.0.0.1", 0))
        node = Node(
            database=self._database,
            id=id,
            address=f"http://127.0.0.1:{listener.getsockname()[1]}",
            cluster_key="key of the cluster",
            clock=self._clock,
            settings=self._settings,
        )
        declared = self._declare(node)
        app = web.Application()
        app.add_routes(node.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            async with node:
                yield node, declared
        finally:
            await runner.cleanup()
