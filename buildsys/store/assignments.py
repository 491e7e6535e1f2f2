"""Assignments and runners: who offers, who holds, who has been heard of."""

from __future__ import annotations

from uuid import UUID

import msgspec

from actors import Database
from buildsys.core.assignment import Poll
from buildsys.errors import Forbidden
from buildsys.store.queries import QUERIES


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment that a runner holds. `cancel`: it has been asked to end it."""

    id: UUID
    build: UUID
    job: str
    cancel: bool = False


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """A job that no runner can take, and the labels it asks for."""

    job: str
    labels: tuple[str, ...]


class Assignments:
    """The small table between builds and runners."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def seen(self, poll: Poll, token: UUID | None) -> bool:
        """Note a sign of life; False for an older incarnation than was here, or another token than is known."""
        row = await self._database.one(
            QUERIES["runner_seen"],
            id=UUID(poll.runner),
            token=token,
            name=poll.name,
            incarnation=poll.incarnation,
            drivers=list(poll.drivers),
            labels=list(poll.labels),
            slots=poll.slots,
            problem=poll.problem,
        )
        return row is not None

    async def held(self, runner: UUID, incarnation: int) -> list[Held]:
        """All that a runner holds; an older incarnation of it holds nothing from now on."""
        rows = await self._database.many(QUERIES["assignment_held"], runner=runner, incarnation=incarnation)
        return [Held(id=row["id"], build=row["build"], job=row["job"], cancel=row["cancel"]) for row in rows]

    async def claim(self, poll: Poll, size: int) -> list[Held]:
        """Give a runner the oldest offers that fit its labels, at most `size`."""
        rows = await self._database.many(
            QUERIES["assignment_claim"],
            runner=UUID(poll.runner),
            incarnation=poll.incarnation,
            labels=list(poll.labels),
            size=size,
        )
        return [Held(id=row["id"], build=row["build"], job=row["job"]) for row in rows]

    async def silence(self, runners: list[UUID]) -> dict[UUID, float]:
        """For how many seconds these runners have not been heard of."""
        rows = await self._database.many(QUERIES["runner_silence"], ids=runners)
        return {row["id"]: row["seconds"] for row in rows}

    async def unfit(self, build: UUID, seconds: float) -> Unfit | None:
        """The build's oldest offer, where there are runners but for so long none that has all its labels."""
        row = await self._database.one(QUERIES["assignment_waiting"], build=build)
        if row is None or not row["present"] or row["fitting"] or row["seconds"] < seconds:
            return None
        return Unfit(job=row["job"], labels=tuple(row["labels"]))

    async def check_token(self, runner: UUID, token: UUID | None) -> None:
        """Raise `Forbidden` where the runner is known by another token."""
        row = await self._database.one(QUERIES["runner_token"], id=runner)
        if row is not None and row["token"] != token:
            raise Forbidden(f"runner {runner} is known by another token")

    async def drop(self, id: UUID, runner: UUID, incarnation: int) -> None:
        """Forget an assignment that its build does not want run, where this life of the runner still has it."""
        await self._database.execute(QUERIES["assignment_drop"], id=id, runner=runner, incarnation=incarnation)
