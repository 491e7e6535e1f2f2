"""A node: one process's share of all actors."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from aiohttp import web

from actors.actor import Actor, Context
from actors.alarms import Alarms
from actors.catalog import Catalog
from actors.clock import Clock, DatabaseClock
from actors.committer import Committer
from actors.database import LOST, Database
from actors.errors import ActorsError, LeaseLost
from actors.kind import Kind
from actors.lease import Lease
from actors.messages import Batch
from actors.namespace import Namespace
from actors.placement import Placement
from actors.queries import load_queries
from actors.retry import Retry
from actors.router import PATH, Router
from actors.shared import NodeSettings, Shared
from actors.waking import Waking

A = TypeVar("A", bound=Actor)

GIVE_BACK = 5.0
"""Seconds in which a leaving node tells the database so."""

MAX_BODY = 64 << 20
"""Bytes of a request from another node, well above what a batch of calls may hold."""


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has done since its start, and how it stands."""

    activations: int
    active: int
    resets: int
    turns: int
    committed_turns: int
    transactions: int
    errors: int
    exhausted_schedules: int


class Node:
    """Owns actors and runs them, while it holds its lease. Used with `async with`, once.

    `id` names the node for ever. A process that starts under it says that the one before is dead, whose actors are free
    at once: hold a lock on whatever holds the id. The end of the block finishes the turns under way, commits them, and
    lets go of all actors. A side task that dies stops the node: `wait_failed` and the end of the block raise its error.
    """

    def __init__(
        self,
        *,
        database: Database,
        id: str,
        address: str,
        cluster_key: str,
        clock: Clock,
        settings: NodeSettings | None = None,
    ) -> None:
        self.id = id
        self.clock = DatabaseClock(clock)
        self.settings = settings or NodeSettings()
        self._database = database
        self._queries = load_queries("actors")
        self._cluster_key = cluster_key
        self._kinds: dict[str, Kind] = {}
        self._lease = Lease(
            database=database,
            queries=self._queries,
            clock=self.clock,
            node=id,
            address=address.rstrip("/"),
            ttl=self.settings.lease_ttl,
        )
        self._placement = Placement(database=database, queries=self._queries, lease=self._lease)
        self._committer = Committer(
            database=database,
            queries=self._queries,
            placement=self._placement,
            lease=self._lease,
            faults=self.settings.faults,
        )
        self._alarms = Alarms(database=database, queries=self._queries, clock=self.clock, lease=self._lease)
        self._shared = Shared(
            settings=self.settings,
            database=database,
            queries=self._queries,
            clock=self.clock,
            lease=self._lease,
            committer=self._committer,
            alarms=self._alarms,
        )
        self._waking = Waking(
            database=database, queries=self._queries, placement=self._placement, faults=self.settings.faults
        )
        self.catalog = Catalog(kinds=self._kinds, shared=self._shared, waking=self._waking)
        self._router = Router(
            catalog=self.catalog, clock=self.clock, cluster_key=cluster_key, limit=self.settings.call_limit
        )
        self._stopping = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def namespace(
        self,
        name: str,
        cls: type[A],
        factory: Callable[[Context], A],
        *,
        retry: Retry | None = None,
        errors: Sequence[type[BaseException]] = (),
    ) -> Namespace[A]:
        """Declare a namespace, on all nodes alike. `errors` cross to callers as themselves, others as `CallFailed`."""
        if name in self._kinds:
            raise ActorsError(f"the namespace {name!r} exists already")
        kind = Kind(namespace=name, cls=cls, factory=factory, retry=retry or Retry(), errors=errors)
        self._kinds[name] = kind
        return Namespace(kind=kind, router=self._router, database=self._database, queries=self._queries)

    def routes(self) -> list[web.RouteDef]:
        """What the host's web application must serve at the node's address, for calls from other nodes."""
        return [web.post(PATH, self._receive)]

    def statistics(self) -> Statistics:
        """Numbers for an operator."""
        count = self._shared.count
        return Statistics(
            activations=count.activations,
            active=len(self.catalog),
            resets=count.resets,
            turns=count.turns,
            committed_turns=self._committer.turns,
            transactions=self._committer.transactions,
            errors=count.errors,
            exhausted_schedules=self._alarms.exhausted,
        )

    async def wait_failed(self) -> None:
        """Wait until the node stops by itself, and raise why; return when it is stopped in order."""
        assert self._life is not None
        await asyncio.wait([self._life])
        await self._life

    async def kill(self) -> None:
        """Stop as a crash would, for tests: nothing is finished and nothing given back."""
        assert self._life is not None
        self._life.cancel()
        await asyncio.wait([self._life])

    async def __aenter__(self) -> Self:
        await self._lease.take()
        self._life = asyncio.create_task(self._run(), name=f"node {self.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._life is not None
        self._stopping.set()
        await asyncio.wait([self._life])
        if not self._life.cancelled():
            self._life.result()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as side:
                lost = LeaseLost(f"node {self.id} has lost its lease")
                tasks = [
                    side.create_task(work, name=name)
                    for name, work in (
                        ("committer", self._committer.run()),
                        ("waking", self._waking.run()),
                        ("lease", self._lease.keep(lambda: self.catalog.drop(lost))),
                        ("trust", self._lease.watch(lambda: self.catalog.drop(lost))),
                        ("alarms", self._alarms.ring(self.catalog.ring)),
                        ("look", self._alarms.look(lambda: list(self._kinds), self.catalog.is_active)),
                        ("eviction", self.catalog.sweep()),
                    )
                ]
                await self._stopping.wait()
                await self._drain()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # what failed first ended the others
        finally:
            async with asyncio.timeout(self.settings.drain_limit):
                await self.catalog.stop()
                await self._router.close()

    async def _drain(self) -> None:
        """Finish and give back; what cannot be done in time, or without the database, the end of the lease does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_limit):
                self.settings.faults.reach("drain_begun")
                await self.catalog.drain()
                await self._committer.flush()
                self.settings.faults.reach("drain_finished")
        with contextlib.suppress(*LOST):
            async with asyncio.timeout(GIVE_BACK):
                await self._placement.release()
                self.settings.faults.reach("drain_released")
                await self._lease.end()

    async def _receive(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {self._cluster_key}".encode()):
            raise web.HTTPUnauthorized
        if self.catalog.draining or not self._lease.trusted:
            raise web.HTTPServiceUnavailable
        try:
            batch = msgspec.msgpack.decode(await _body(request), type=Batch)
            mailbox = self.catalog.mailbox(batch.id)
        except (msgspec.DecodeError, ActorsError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        self.settings.faults.reach("call_received")
        replies: list[Any] = await asyncio.gather(*(mailbox.send(call) for call in batch.calls))
        return web.Response(body=msgspec.msgpack.encode(replies))


async def _body(request: web.Request) -> bytes:
    """The whole body: other nodes may send more than the application takes from strangers."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=len(body))
    return bytes(body)
