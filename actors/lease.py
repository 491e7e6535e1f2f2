"""A node's lease: the right to own actors, and how long the node itself believes in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from actors.clock import DatabaseClock
from actors.database import TROUBLE, Database
from actors.errors import LeaseLost, NodeReplaced
from actors.queries import Queries

logger = structlog.get_logger(__name__)

TRUST = 0.9
"""The part of a renewal's time for which the node believes in it: whoever takes over does so after that."""

NOTICE = 1.0
"""Seconds in which it is noticed that the database is another one by now."""

PATIENCE = 30.0
"""Seconds in which a starting node must find its database."""


class Lease:
    """Held by the database's clock for `ttl` seconds at a time; a `Renewal` prolongs it.

    The node trusts it from the moment a renewal was *sent* until `ttl` less a tenth later, on a clock that counts a
    suspended machine. When the trust runs out all activations are dropped, whatever has become of the lease, and the
    node registers anew under its next incarnation: what one incarnation owned no later one speaks for.
    """

    def __init__(
        self, *, database: Database, queries: Queries, clock: DatabaseClock, node: str, address: str, ttl: float
    ) -> None:
        self._database = database
        self._queries = queries
        self._address = address
        self._until = 0.0
        self._since = 0.0
        self._identity: str | None = None
        self.registered: int | None = None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self.node = node
        self.ttl = ttl
        self.incarnation: int | None = None
        self.clock = clock

    @property
    def trusted(self) -> bool:
        """Whether the node may still speak for its actors: the lease holds, in the database that it was taken in."""
        return self.left > 0 and self._database.identity == self._identity

    @property
    def left(self) -> float:
        """For how many seconds more, unless it is renewed."""
        return self._until - self.clock.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the renewal that it holds by was sent."""
        return self.clock.monotonic() - self._since

    @property
    def idle_limit(self) -> str:
        """For how long the server is to let a transaction of this node stand idle, which may hold actors' rows.

        Half of the lease: of a node that stands still, at least two thirds of it are left when it last did anything.
        """
        return f"{self.ttl * 500:.0f}ms"

    def check(self, incarnation: int | None = None) -> None:
        """Raise `LeaseLost` unless `trusted`, and for what this incarnation of the node owned, where one is given."""
        if not self.trusted:
            raise LeaseLost(f"node {self.node} has not renewed its lease in time")
        if incarnation is not None and incarnation != self.incarnation:
            raise LeaseLost(f"node {self.node} owned this under incarnation {incarnation} and has another by now")

    async def take(self, patience: float = PATIENCE) -> None:
        """Register under the next incarnation. Raises `NodeReplaced` where another process has the id by now.

        A database in trouble is waited out for `patience` seconds.
        """
        self._loop = asyncio.get_running_loop()
        until, pause = self._loop.time() + patience, 0.02
        while True:
            try:
                return await self._register()
            except TROUBLE as error:
                if self._loop.time() > until:
                    raise
                logger.warning("node_not_registered", node=self.node, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def keep(self, lost: Callable[[], None]) -> None:
        """Whenever the trust has run out, call `lost` and take the lease anew, for ever."""
        while True:
            await self._lapse()
            with self._lock:
                self.incarnation, self._until = None, 0.0
            lost()
            logger.warning("lease_lost", node=self.node, incarnation=self.registered)
            await self.take(float("inf"))
            logger.warning("lease_taken_anew", node=self.node, incarnation=self.incarnation)

    async def leave(self) -> None:
        """Have nothing fall to this node any more; the lease goes on."""
        await self._database.execute(self._queries["node_leave"], id=self.node, incarnation=self.registered)

    async def end(self) -> None:
        """Give the lease up, so that nobody waits for it."""
        self._until = 0.0
        await self._database.execute(self._queries["lease_end"], id=self.node, incarnation=self.registered)

    def renewed(self, incarnation: int, sent: float, now: datetime) -> None:
        """The database has prolonged this incarnation's lease. From any thread, like `lose`."""
        self.clock.sample(now, sent)
        with self._lock:
            if incarnation == self.incarnation:
                self._since, self._until = sent, sent + self.ttl * TRUST

    def lose(self, incarnation: int) -> None:
        """The database says that this incarnation's lease is over."""
        with self._lock:
            if incarnation != self.incarnation:
                return
            self._until = 0.0
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)

    async def _register(self) -> None:
        connection = await self._database.connect(limit=self.ttl)
        try:
            identity, sent = self._database.identity, self.clock.monotonic()
            query = self._queries["node_register"]
            row = await connection.fetchrow(
                query.text,
                *query.arguments({"id": self.node, "address": self._address, "ttl": self.ttl, "mine": self.registered}),
            )
        finally:
            connection.terminate()
        if row is None:
            raise NodeReplaced(f"another process has started as node {self.node}")
        with self._lock:
            self.registered = self.incarnation = row["incarnation"]
            self._identity = identity
        self.renewed(row["incarnation"], sent, row["now"])

    async def _lapse(self) -> None:
        while self.trusted:
            self._over.clear()
            try:
                async with self.clock.timeout(min(self.left, NOTICE)) as limit:
                    await self._over.wait()
            except TimeoutError:
                if not limit.expired():
                    raise
