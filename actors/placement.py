"""Who owns an actor. Ownership is a row with an epoch; every commit proves that it still has the latest."""

from __future__ import annotations

from actors.database import Database
from actors.errors import ActorUnavailable
from actors.lease import Lease
from actors.messages import ActorId
from actors.queries import Queries

TRIES = 3
"""How often a node asks for an actor whose owner's lease ends between the question and the answer."""


class Moved(Exception):
    """The actor lives on another node."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class Fence:
    """What a commit of an actor must still find: its epoch, and how many commits there were."""

    def __init__(self, *, id: ActorId, epoch: int, seq: int) -> None:
        self.id = id
        self.epoch = epoch
        self.seq = seq
        self.broken: BaseException | None = None


class Placement:
    """Takes actors for this node and lets them go."""

    def __init__(self, *, database: Database, queries: Queries, lease: Lease) -> None:
        self._database = database
        self._queries = queries
        self._lease = lease

    async def acquire(self, id: ActorId) -> Fence:
        """Own the actor under its next epoch. Raises `Moved`, `LeaseLost`, or `ActorUnavailable` where none is so."""
        for _ in range(TRIES):
            self._lease.check()
            row = await self._database.one(
                self._queries["actor_acquire"],
                namespace=id.namespace,
                name=id.name,
                node=self._lease.node,
                incarnation=self._lease.incarnation,
            )
            if row is not None:
                return Fence(id=id, epoch=row["epoch"], seq=row["seq"])
            owner = await self._database.one(self._queries["actor_owner"], namespace=id.namespace, name=id.name)
            if owner is not None and owner["id"] != self._lease.node:
                raise Moved(owner["address"])
        raise ActorUnavailable(f"{id} is changing hands; the call did not run")

    async def release(self) -> None:
        """Let go of all actors at once."""
        await self._database.execute(
            self._queries["actor_release"], node=self._lease.node, incarnation=self._lease.incarnation
        )
