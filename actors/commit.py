"""A turn on its way into the database, and what a group of them writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from actors.errors import ActorReset, LeaseLost
from actors.placement import Fence
from actors.queries import Queries, Query
from actors.turn import ScheduleRow, Statement, Turn

T = TypeVar("T")


class Commit:
    """`done` is set when the turn is durable, or fails when it will never be, or nobody can tell."""

    __slots__ = ("done", "fence", "turn")

    def __init__(self, fence: Fence, turn: Turn) -> None:
        self.fence = fence
        self.turn = turn
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Not known to be durable, and neither is what the actor did on top of it."""
        if self.fence.broken is None:
            self.fence.broken = error if isinstance(error, LeaseLost) else ActorReset(f"a turn before failed: {error}")
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # a commit nobody waits for has failed all the same; its actor knows


class Writes:
    """What a group of turns writes: their actors' rows in one statement, and their own statements after it."""

    def __init__(self, group: Iterable[Commit]) -> None:
        self._turns: dict[Fence, list[Turn]] = {}
        for commit in group:
            self._turns.setdefault(commit.fence, []).append(commit.turn)
        self.fences = list(self._turns)

    @property
    def sequences(self) -> list[list[Statement]]:
        """The deferred statements of each actor, in order; none of actors that have none."""
        sequences = ([one for turn in turns for one in turn.statements] for turns in self._turns.values())
        return [sequence for sequence in sequences if sequence]

    def statement(self, queries: Queries, *, step: int = 1) -> tuple[Query, list[Any]]:
        """What fences, counts and writes all of it, and its arguments; it answers with the numbers of `fences`."""
        if len(self.fences) == 1 and step == 1:
            [(fence, turns)] = self._turns.items()
            if not any(turn.schedules or turn.deletes for turn in turns):
                values = _merged(turn.values for turn in turns)
                query = queries["commit_values"]
                columns = [fence.id.namespace, fence.id.name, fence.epoch, list(values), list(values.values())]
                return query, columns
        query = queries["commit_writes"]
        return query, query.arguments({"step": step} | self._fence_columns() | self._columns())

    def _fence_columns(self) -> dict[str, list[Any]]:
        return {
            "namespaces": [fence.id.namespace for fence in self.fences],
            "names": [fence.id.name for fence in self.fences],
            "epochs": [fence.epoch for fence in self.fences],
            "numbers": list(range(len(self.fences))),
        }

    def _columns(self) -> dict[str, list[Any]]:
        put: list[tuple[str, str, str, bytes]] = []
        gone: list[tuple[str, str, str]] = []
        rows: list[tuple[str, str, str, ScheduleRow]] = []
        unset: list[tuple[str, str, str]] = []
        for fence, turns in self._turns.items():
            namespace, name = fence.id.namespace, fence.id.name
            for key, value in _merged(turn.values for turn in turns).items():
                if value is None:
                    gone.append((namespace, name, key))
                else:
                    put.append((namespace, name, key, value))
            for schedule, row in _merged(turn.schedules for turn in turns).items():
                if row is None:
                    unset.append((namespace, name, schedule))
                else:
                    rows.append((namespace, name, schedule, row))
        stored = [row for _, _, _, row in rows]
        return {
            **_turned("put", ("namespaces", "names", "keys", "values"), put),
            **_turned("gone", ("namespaces", "names", "keys"), gone),
            **_turned("set", ("namespaces", "names", "schedules"), rows),
            "set_due_ats": [row.due_at for row in stored],
            "set_attempts": [row.attempt for row in stored],
            "set_states": [row.state for row in stored],
            "set_errors": [row.error for row in stored],
            **_turned("unset", ("namespaces", "names", "schedules"), unset),
        }


def by_actor(group: Iterable[Commit]) -> list[list[Commit]]:
    """The turns of each actor, in order."""
    parts: dict[Fence, list[Commit]] = {}
    for commit in group:
        parts.setdefault(commit.fence, []).append(commit)
    return list(parts.values())


def _merged(writes: Iterable[dict[str, T]]) -> dict[str, T]:
    """What is left of the writes of turns after one another; of one turn, its own."""
    first, *further = writes
    if not further:
        return first
    merged = dict(first)
    for later in further:
        merged |= later
    return merged


def _turned(what: str, columns: tuple[str, ...], rows: list[Any]) -> dict[str, list[Any]]:
    """Rows as columns."""
    return {f"{what}_{column}": [row[place] for row in rows] for place, column in enumerate(columns)}
