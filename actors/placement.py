"""Who owns an actor. Ownership is a row with an epoch; every commit proves that it still has the latest."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from actors.database import Database
from actors.errors import ActorUnavailable
from actors.lease import Lease
from actors.messages import ActorId
from actors.queries import Queries

PATIENCE = 5.0
"""Seconds for which an actor is asked for while its row is locked: longer than a commit may hold it."""

PAUSE = 0.01
"""Seconds between two such questions."""


class Moved(Exception):
    """The actor lives on another node."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class Fence:
    """What a commit of an actor must still find: its epoch, and how many commits there were.

    `incarnation` is the node's, under which it came to own the actor; no other speaks for it.
    """

    __slots__ = ("broken", "epoch", "id", "incarnation", "seq")

    def __init__(self, *, id: ActorId, epoch: int, seq: int, incarnation: int | None) -> None:
        self.id = id
        self.epoch = epoch
        self.seq = seq
        self.incarnation = incarnation
        self.broken: BaseException | None = None


class Placement:
    """Takes actors for this node and lets them go."""

    def __init__(self, *, database: Database, queries: Queries, lease: Lease) -> None:
        self._database = database
        self._queries = queries
        self._lease = lease

    @property
    def started(self) -> bool:
        """Whether the node has ever held a lease."""
        return self._lease.registered is not None

    async def acquire(self, id: ActorId) -> Fence:
        """Own the actor under its next epoch. Raises `Moved`, `LeaseLost`, or `ActorUnavailable` where none is so.

        A commit of the actor that is under way is over when this returns.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while True:
            outcome = (await self.take([id])).get(id)
            if isinstance(outcome, Fence):
                return outcome
            if outcome is not None:
                raise outcome
            if loop.time() > until:
                raise changing_hands(id)
            await asyncio.sleep(PAUSE)

    async def take(self, ids: Collection[ActorId]) -> dict[ActorId, Fence | Moved]:
        """Own what can be owned now of these actors; who is missing is locked at the moment. Raises `LeaseLost`."""
        self._lease.check()
        incarnation = self._lease.incarnation
        rows = await self._database.many(
            self._queries["actor_acquire"], **columns(ids), node=self._lease.node, incarnation=incarnation
        )
        outcome: dict[ActorId, Fence | Moved] = {}
        for row in rows:
            id = ActorId(namespace=row["namespace"], name=row["name"])
            outcome[id] = Fence(id=id, epoch=row["epoch"], seq=row["seq"], incarnation=incarnation)
        if len(outcome) < len(ids):
            missing = [id for id in ids if id not in outcome]
            for row in await self._database.many(self._queries["actor_owner"], **columns(missing)):
                if row["id"] != self._lease.node:
                    outcome[ActorId(namespace=row["namespace"], name=row["name"])] = Moved(row["address"])
        return outcome

    async def elsewhere(self, id: ActorId) -> str | None:
        """The address of another node that has the actor or may take it; None while this node has it."""
        row = await self._database.one(
            self._queries["actor_elsewhere"], namespace=id.namespace, name=id.name, node=self._lease.node
        )
        return None if row is None else str(row["address"])

    async def release(self, ids: Collection[ActorId], *, others: bool = False) -> None:
        """Let go of these actors, or with `others` of all but these, and have the other nodes told."""
        await self._database.execute(
            self._queries["actor_release"],
            **columns(ids),
            others=others,
            node=self._lease.node,
            incarnation=self._lease.registered,
        )


def columns(ids: Collection[ActorId]) -> dict[str, list[str]]:
    """The ids as the parameters `namespaces` and `names` of a query."""
    return {"namespaces": [id.namespace for id in ids], "names": [id.name for id in ids]}


def changing_hands(id: ActorId) -> ActorUnavailable:
    """The error for an actor that could not be had in time."""
    return ActorUnavailable(f"{id} is changing hands; the call did not run", ran="no")
