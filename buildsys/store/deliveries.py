"""The webhook inbox: every delivery is kept, once, with what became of it."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID, uuid4

from actors import Database
from buildsys.core.project import Delivery, PendingDelivery
from buildsys.store.queries import QUERIES


class Deliveries:
    """Deliveries in the order of their arrival."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def keep(self, project: UUID, *, forge: str, delivery: str, event: str, body: bytes) -> bool:
        """Keep a delivery; False where the same one is here already."""
        row = await self._database.one(
            QUERIES["delivery_insert"],
            id=uuid4(),
            project=project,
            forge=forge,
            delivery=delivery,
            event=event,
            body=body,
        )
        return row is not None

    async def pending(self, size: int, *, busy: Collection[UUID]) -> list[PendingDelivery]:
        """At most one delivery a project, the longest due first, of projects that are not among the busy ones."""
        rows = await self._database.many(QUERIES["delivery_pending"], size=size, busy=list(busy))
        return [
            PendingDelivery(
                id=row["id"], project=row["project"], forge=row["forge"], event=row["event"], body=row["body"]
            )
            for row in rows
        ]

    async def attempt(self, id: UUID) -> int:
        """Count an attempt at processing, and put the next off by 2, 4, 8, … seconds.

        Returns the number of attempts so far, 0 where the delivery is settled.
        """
        row = await self._database.one(QUERIES["delivery_attempt"], id=id)
        return 0 if row is None else int(row["attempts"])

    async def settle(self, id: UUID, *, outcome: str, reason: str | None = None) -> None:
        """Record what became of a delivery: `built`, `skipped` or `failed`. Only the first word counts."""
        await self._database.execute(QUERIES["delivery_settle"], id=id, outcome=outcome, reason=reason)

    async def list(self, project: UUID, *, size: int = 50) -> list[Delivery]:
        """A project's latest deliveries, newest first."""
        rows = await self._database.many(QUERIES["delivery_list"], project=project, size=size)
        return [
            Delivery(
                id=row["id"],
                forge=row["forge"],
                delivery=row["delivery"],
                event=row["event"],
                received_at=row["received_at"],
                outcome=row["outcome"],
                reason=row["reason"],
                builds=tuple(row["builds"]),
            )
            for row in rows
        ]
