"""How a node that leaves hands its actors over."""

from __future__ import annotations

import asyncio
import contextlib

from actors.catalog import Catalog
from actors.database import TROUBLE
from actors.lease import Lease
from actors.messages import ActorId
from actors.placement import Placement

GATHER = 0.02
"""Seconds in which actors that have finished gather, to be let go of together."""

LEAVE = 2.0
"""Seconds to have nothing new fall to the node in; without a database it leaves all the same."""


class HandOver:
    """Lets go of actors as soon as nothing of them is under way, and has the other nodes told at once.

    No actor waits for another one's turn. What this does not get done, `Placement.release` must do afterwards.
    """

    def __init__(self, *, catalog: Catalog, placement: Placement, lease: Lease) -> None:
        self._catalog = catalog
        self._placement = placement
        self._lease = lease
        self._finished: list[ActorId] = []
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Finish what is under way, and hand over meanwhile."""
        with contextlib.suppress(*TROUBLE):
            async with asyncio.timeout(LEAVE):
                await self._lease.leave()
        held = self._catalog.close()
        async with asyncio.TaskGroup() as group:
            releasing = [
                group.create_task(self._release_all_but(held), name="hand over what is not in memory"),
                group.create_task(self._release(), name="hand over"),
            ]
            await self._catalog.drain(self._finish)
            for task in releasing:
                task.cancel()

    def _finish(self, id: ActorId) -> None:
        self._finished.append(id)
        self._changed.set()

    async def _release_all_but(self, held: list[ActorId]) -> None:
        with contextlib.suppress(*TROUBLE):
            await self._placement.release(held, others=True)

    async def _release(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER)
            self._changed.clear()
            finished, self._finished = self._finished, []
            with contextlib.suppress(*TROUBLE):
                await self._placement.release(finished)
