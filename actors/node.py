"""A node: one process's share of all actors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import msgspec
from aiohttp import web

from actors.actor import Actor, Context
from actors.alarms import Alarms
from actors.apart import run_apart
from actors.catalog import Catalog
from actors.clock import Clock, DatabaseClock, SystemClock
from actors.committer import Committer
from actors.database import TROUBLE, Database
from actors.errors import ActorsError, LeaseLost
from actors.hand_over import HandOver
from actors.kind import Kind
from actors.lease import Lease
from actors.namespace import Namespace
from actors.placement import Placement
from actors.queries import load_queries
from actors.receiver import Receiver
from actors.renewal import Renewal
from actors.retry import Retry
from actors.router import PATH, Router
from actors.shared import NodeSettings, Shared
from actors.turn_limit import TurnLimit
from actors.waking import Waking
from actors.watchdog import Block, Watchdog

A = TypeVar("A", bound=Actor)

GIVE_BACK = 5.0
"""Seconds in which a leaving node tells the database so."""


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has done since its start, and how it stands.

    The node stands: `active` actors are in its memory, for whose turn `waiting_calls` wait; `waiting_commits` turns
    are not yet durable; `exhausted_schedules` of its namespaces, anywhere, have used up their attempts. Its lease was
    last renewed `lease_age` seconds ago and holds for `lease_left` more, none where it is lost.

    It has done: `activations`; `turns`, of which `committed_turns` wrote something, in so many `transactions`;
    `resets`, which are activations that ended, with `resets_by_reason` telling by what error; `errors` beside turns;
    `held_steps`, which kept the event loop from all else for too long, and `last_held`, the latest of them.
    """

    active: int
    waiting_calls: int
    waiting_commits: int
    exhausted_schedules: int
    lease_age: float
    lease_left: float
    activations: int
    turns: int
    committed_turns: int
    transactions: int
    resets: int
    resets_by_reason: dict[str, int]
    errors: int
    held_steps: int
    last_held: Block | None


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """Another node, and the address at which it takes calls."""

    id: str
    address: str


class Node:
    """Owns actors and runs them, while it holds its lease. Used with `async with`, once.

    `id` names the node for ever. A process that starts under it says that the one before is dead, whose actors are free
    at once: hold a lock on whatever holds the id. `address` is the URL at which other nodes reach it, which all know
    the same `cluster_key`; a node that is alone on its database needs neither. The end of the block finishes the turns
    under way, commits them, and lets go of all actors. A side task that dies stops the node: `wait_failed` and the end
    of the block raise its error.
    """

    def __init__(
        self,
        *,
        database: Database,
        id: str,
        address: str | None = None,
        cluster_key: str | None = None,
        clock: Clock | None = None,
        settings: NodeSettings | None = None,
    ) -> None:
        if (address is None) != (cluster_key is None) or "" in (address, cluster_key):
            raise ValueError("a node among others needs an address and the cluster's key, one alone neither")
        self.id = id
        self.clock = DatabaseClock(clock or SystemClock())
        self.settings = settings or NodeSettings()
        self._database = database
        self._queries = load_queries("actors")
        self._kinds: dict[str, Kind] = {}
        self._lease = Lease(
            database=database,
            queries=self._queries,
            clock=self.clock,
            node=id,
            address=(address or "").rstrip("/"),
            ttl=self.settings.lease_ttl,
        )
        self._watchdog = Watchdog(clock=self.clock)
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
            limit=TurnLimit(clock=self.clock, seconds=self.settings.turn_limit),
        )
        self._waking = Waking(
            database=database, queries=self._queries, placement=self._placement, faults=self.settings.faults
        )
        self.catalog = Catalog(kinds=self._kinds, shared=self._shared, waking=self._waking)
        self._router = Router(
            catalog=self.catalog,
            placement=self._placement,
            clock=self.clock,
            cluster_key=cluster_key,
            settings=self.settings,
        )
        self._cluster_key = cluster_key
        self._stopping = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def namespace(
        self,
        name: str,
        cls: type[A],
        factory: Callable[[Context], A] | None = None,
        *,
        retry: Retry | None = None,
        errors: Sequence[type[BaseException]] = (),
    ) -> Namespace[A]:
        """Declare a namespace, on all nodes alike, before the node starts; `factory` makes an actor, by default `cls`.

        `errors` cross to callers as themselves, others as `CallFailed`.
        """
        if self._life is not None:
            raise ActorsError(f"the namespace {name!r} must be declared before the node starts")
        if name in self._kinds:
            raise ActorsError(f"the namespace {name!r} exists already")
        kind = Kind(namespace=name, cls=cls, factory=factory or cls, retry=retry or Retry(), errors=errors)
        self._kinds[name] = kind
        return Namespace(kind=kind, router=self._router, database=self._database, queries=self._queries)

    def routes(self) -> list[web.RouteDef]:
        """What the host's web application must serve at the node's address, for calls from other nodes."""
        if self._cluster_key is None:
            raise ActorsError(f"node {self.id} takes no calls from others: it has no address and no cluster_key")
        receiver = Receiver(
            catalog=self.catalog,
            kinds=self._kinds,
            lease=self._lease,
            clock=self.clock,
            cluster_key=self._cluster_key,
            faults=self.settings.faults,
        )
        return [web.post(PATH, receiver.receive)]

    def statistics(self) -> Statistics:
        """Numbers for an operator."""
        count = self._shared.count
        return Statistics(
            active=len(self.catalog),
            waiting_calls=self.catalog.waiting,
            waiting_commits=self._committer.waiting,
            exhausted_schedules=self._alarms.exhausted,
            lease_age=self._lease.age,
            lease_left=max(0.0, self._lease.left),
            activations=count.activations,
            turns=count.turns,
            committed_turns=self._committer.turns,
            transactions=self._committer.transactions,
            resets=count.resets.total(),
            resets_by_reason=dict(count.resets),
            errors=count.errors,
            held_steps=self._watchdog.blocks,
            last_held=self._watchdog.last,
        )

    async def others(self) -> list[Neighbour]:
        """The other nodes that live now, by id."""
        rows = await self._database.many(self._queries["node_others"], id=self.id)
        return [Neighbour(id=row["id"], address=row["address"]) for row in rows]

    async def wait_failed(self) -> None:
        """Wait until the node stops by itself, and raise why; return when it is stopped in order."""
        life = self._started()
        await asyncio.wait([life])
        await life

    async def kill(self) -> None:
        """Stop as a crash would, for tests: nothing is finished and nothing given back."""
        life = self._started()
        life.cancel()
        await asyncio.wait([life])

    async def __aenter__(self) -> Self:
        if self._life is not None:
            raise ActorsError(f"node {self.id} has been started before; a further life is a Node of its own")
        await self._lease.take()
        self._life = asyncio.create_task(self._run(), name=f"node {self.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        life = self._started()
        self._stopping.set()
        await asyncio.wait([life])
        if not life.cancelled():
            life.result()

    def _started(self) -> asyncio.Task[None]:
        if self._life is None:
            raise ActorsError(f"node {self.id} has not been started: this is done inside its 'async with'")
        return self._life

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as side:
                lost = LeaseLost(f"node {self.id} has lost its lease")
                tasks = [
                    side.create_task(work, name=name)
                    for name, work in (
                        ("committer", self._committer.run()),
                        ("turn limit", self._shared.limit.run()),
                        ("waking", self._waking.run()),
                        ("lease", self._lease.keep(lambda: self.catalog.drop(lost))),
                        ("renewal", self._renew()),
                        ("alarms", self._alarms.ring(self.catalog.ring)),
                        ("look", self._alarms.look(self._kinds, self.catalog.is_active, self.catalog.ring)),
                        ("eviction", self.catalog.sweep()),
                    )
                ]
                await self._stopping.wait()
                await self._drain()
                for task in tasks:
                    task.cancel()
            await self._give_back()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None  # it ended the others
        finally:
            async with asyncio.timeout(self.settings.drain_limit):
                await self.catalog.stop()
                await self._router.close()
                await self._shared.eager.close()

    async def _renew(self) -> None:
        """Renew the lease: from a thread that watches this event loop, or here, where time is moved by hand."""
        here = asyncio.get_running_loop()
        ttl, threaded = self.settings.lease_ttl, self.clock.any_thread

        def look(seconds: float) -> None:
            here.call_soon_threadsafe(self.clock.call_later, seconds, self._alarms.look_now)

        renewal = Renewal(
            lease=self._lease,
            database=self._database,
            queries=self._queries,
            alive=lambda: not threaded or self._watchdog.age < ttl / 2,
            look=look,
            faults=self.settings.faults,
        )

        async def apart() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(renewal.run(), name="renewal")
                group.create_task(self._watchdog.watch(), name="watch")

        if not threaded:
            await self.clock.sleep(ttl / 20)  # time by hand goes on beside whoever has not slept by it yet
            await renewal.run()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watchdog.beat(), name="beat")
            await run_apart(apart, name=f"node {self.id}")

    async def _drain(self) -> None:
        """Finish; what cannot be done in time, or without the database, is lost with the end of the lease."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_limit):
                self.settings.faults.reach("drain_begun")
                await HandOver(catalog=self.catalog, placement=self._placement, lease=self._lease).run()
                await self._committer.flush()
                self.settings.faults.reach("drain_finished")

    async def _give_back(self) -> None:
        """Let go of all actors and of the lease, so that nobody waits for it.

        Where something of an actor does not end, all that is left waits for the end of the lease.
        """
        with contextlib.suppress(*TROUBLE):
            async with asyncio.timeout(GIVE_BACK):
                if not await self.catalog.stop():
                    return
                await self._placement.release([], others=True)
                self.settings.faults.reach("drain_released")
                await self._lease.end()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
