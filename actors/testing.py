"""What tests of actors need: a database of their own, a look inside, a run on demand, time by hand, and nodes that die."""

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
