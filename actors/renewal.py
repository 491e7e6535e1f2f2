"""The renewal of a node's lease, which neither a full pool nor a busy event loop delays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from actors.database import TROUBLE, Database
from actors.faults import FaultPoints
from actors.lease import Lease
from actors.queries import Queries

logger = structlog.get_logger(__name__)


class Renewal:
    """Renews a lease every third of its time, on a connection of its own, while `alive` says that the node lives.

    Runs in any event loop whose time the lease's clock knows. A `Node` gives it a thread, so that a step that holds up
    the node's own event loop for a short time does not cost the lease, and has `alive` tell how long ago that loop last
    moved, so that one which hangs does not keep it.

    `look` is told in how many seconds there may be actors without an owner: at once when a node lets go of some, and
    when a lease will be over that its node seems not to renew.
    """

    def __init__(
        self,
        *,
        lease: Lease,
        database: Database,
        queries: Queries,
        alive: Callable[[], bool],
        look: Callable[[float], None],
        faults: FaultPoints,
    ) -> None:
        self._lease = lease
        self._database = database
        self._query = queries["lease_renew"]
        self._clock = lease.clock
        self._alive = alive
        self._look = look
        self._faults = faults
        self._connection: Any = None
        self._failing = False

    async def run(self) -> None:
        """Renew for ever, waiting out a database in trouble."""
        try:
            while True:
                await self._clock.sleep(await self._renew())
        finally:
            self._hang_up()

    async def _renew(self) -> float:
        """Renew if that may be; the seconds until the next time."""
        ttl, soon = self._lease.ttl, self._lease.ttl / 20
        try:
            async with asyncio.timeout(ttl / 3):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._database.connect(limit=ttl / 4)
                    await self._connection.add_listener("actors_free", lambda *_: self._look(0))
                incarnation = self._lease.incarnation
                if incarnation is None or not self._alive():
                    return soon
                if not self._lease.trusted:
                    self._lease.lose(incarnation)
                    return soon
                self._faults.reach("lease_renewing")
                sent = self._clock.monotonic()
                arguments = self._query.arguments({"id": self._lease.node, "incarnation": incarnation, "ttl": ttl})
                row = await self._connection.fetchrow(self._query.text, *arguments)
        except TROUBLE as error:
            self._hang_up()
            if not self._failing:
                logger.warning("lease_not_renewed", node=self._lease.node, error=f"{type(error).__name__}: {error}")
            self._failing = True
            return min(0.5, soon)
        self._failing = False
        if row is None:
            self._lease.lose(incarnation)
            return soon
        self._lease.renewed(incarnation, sent, row["now"])
        if row["ends"] is not None and (left := (row["ends"] - row["now"]).total_seconds()) < ttl / 2:
            self._look(left)
        return ttl / 3

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
