"""A node's lease: the right to own actors, and how long the node itself believes in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from actors.clock import DatabaseClock
from actors.database import TROUBLE, Database
from actors.errors import LeaseLost, NodeReplaced
from actors.queries import Queries

logger = structlog.get_logger(__name__)


class Lease:
    """Held by the database's clock for `ttl` seconds at a time and renewed every third of it.

    The node trusts it from the moment a renewal was *sent* until `ttl` less a tenth later, on a clock that counts a
    suspended machine: whoever takes over by the database's clock does so after that. A lease that ran out is never
    renewed: the node registers anew under the next incarnation.
    """

    def __init__(
        self, *, database: Database, queries: Queries, clock: DatabaseClock, node: str, address: str, ttl: float
    ) -> None:
        self._database = database
        self._queries = queries
        self._clock = clock
        self._address = address
        self._ttl = ttl
        self._until = 0.0
        self.node = node
        self.incarnation: int | None = None

    @property
    def trusted(self) -> bool:
        """Whether the node may still speak for its actors."""
        return self.left > 0

    @property
    def left(self) -> float:
        """For how many seconds more, unless it is renewed."""
        return self._until - self._clock.monotonic()

    def check(self) -> None:
        """Raise `LeaseLost` unless `trusted`."""
        if not self.trusted:
            raise LeaseLost(f"node {self.node} has not renewed its lease in time")

    async def take(self) -> None:
        """Register under a new incarnation. Raises `NodeReplaced` where another process has the id by now."""
        sent = self._clock.monotonic()
        row = await self._database.one(
            self._queries["node_register"], id=self.node, address=self._address, ttl=self._ttl, mine=self.incarnation
        )
        if row is None:
            raise NodeReplaced(f"another process has started as node {self.node}")
        self.incarnation = row["incarnation"]
        self._extend(sent, row["now"])

    async def keep(self, lost: Callable[[], None]) -> None:
        """Renew for ever, waiting out a database in trouble. Calls `lost` when the lease turns out to be over."""
        pause = self._ttl / 3
        while True:
            await self._clock.sleep(pause)
            try:
                if not await self._renew():
                    self._until = 0.0
                    lost()
                    await self.take()
                    logger.warning("lease_lost", node=self.node, incarnation=self.incarnation)
                pause = self._ttl / 3
            except TROUBLE as error:
                logger.warning("lease_not_renewed", node=self.node, error=str(error))
                pause = min(1.0, self._ttl / 10)

    async def watch(self, lost: Callable[[], None]) -> None:
        """Call `lost` whenever the trust runs out before a renewal came."""
        while True:
            while self.trusted:
                await self._clock.sleep(self._until - self._clock.monotonic())
            lost()
            while not self.trusted:
                await self._clock.sleep(self._ttl / 20)

    async def end(self) -> None:
        """Give the lease up, so that nobody waits for it."""
        self._until = 0.0
        await self._database.execute(self._queries["lease_end"], id=self.node, incarnation=self.incarnation)

    async def _renew(self) -> bool:
        sent = self._clock.monotonic()
        async with asyncio.timeout(self._ttl):
            row = await self._database.one(
                self._queries["lease_renew"], id=self.node, incarnation=self.incarnation, ttl=self._ttl
            )
        if row is not None:
            self._extend(sent, row["now"])
        return row is not None

    def _extend(self, sent: float, now: object) -> None:
        self._clock.sample(now)  # type: ignore[arg-type]  # timestamptz
        self._until = sent + self._ttl * 0.9
