"""What has become of a commit whose answer was lost: no guess; the actor's next epoch ends it, then its count tells."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.database import TROUBLE
from actors.errors import ActorUnavailable, LeaseLost
from actors.lease import Lease
from actors.placement import Fence, Moved, Placement

PATIENCE = 15.0
"""Seconds to find it out in: longer than the server keeps a transaction whose client says nothing more."""

PAUSE = 0.02
"""Seconds between two questions, while the commit still holds the actor's row."""


class Outcomes:
    """Finds out. A statement that is still on its way is fenced off by then, and one under way has been waited for."""

    def __init__(self, *, placement: Placement, lease: Lease) -> None:
        self._placement = placement
        self._lease = lease

    async def find(self, fences: Sequence[Fence], *, before: dict[Fence, int]) -> dict[Fence, bool]:
        """Whether commits of these actors are durable, which counted on from `before`; each has its next epoch then.

        Who is missing cannot be told of: the node's lease is over, another node has the actor, or the database is away.
        Where it is not durable nothing has changed since, so that it may be tried again.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        left = {fence.id: fence for fence in fences}
        found: dict[Fence, bool] = {}
        while left and self._lease.trusted and loop.time() < until:
            try:
                taken = await self._placement.take(list(left))
            except LeaseLost:
                break
            except TROUBLE:
                taken = {}
            for id, now in taken.items():
                fence = left.pop(id)
                if not isinstance(now, Moved) and now.incarnation == fence.incarnation:
                    found[fence] = now.seq > before[fence]
                    fence.epoch, fence.seq = now.epoch, now.seq
            if left:
                await asyncio.sleep(PAUSE)
        return found


def unknown(fence: Fence) -> ActorUnavailable:
    """The error for a commit that cannot be told of."""
    return ActorUnavailable(f"the outcome of a commit of {fence.id} is unknown")
