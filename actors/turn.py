"""A turn: an exclusive stretch of an actor's time, and all that it will write in one commit."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import msgspec

from actors.errors import ActorsError
from actors.queries import Query

MAX_KEY = 2048
"""Bytes of a key; the limits are those of Cloudflare's durable objects, where they have such."""

MAX_VALUE = 1 << 20
"""Bytes of an encoded value."""

MAX_TURN = 16 << 20
"""Bytes that one turn may store: a commit is never split."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A deferred statement, and how many rows it must touch (None: any number)."""

    query: Query
    arguments: list[Any]
    rows: int | None


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is stored."""

    due_at: datetime
    attempt: int = 0
    state: str = "set"
    error: str | None = None


class Turn:
    """Writes gather here and are committed together, or not at all."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.open = True
        self.committed = False
        self.values: dict[str, bytes | None] = {}
        self.schedules: dict[str, ScheduleRow | None] = {}
        self.statements: list[Statement] = []
        self.callbacks: list[Callable[[], None]] = []
        self.spawned: list[tuple[Coroutine[Any, Any, Any], str]] = []
        self._size = 0

    @property
    def writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.values or self.schedules or self.statements)

    def put(self, key: str, value: bytes | None) -> None:
        """Store an encoded value, or delete (None). Raises `ValueError` beyond the limits, and then changes nothing."""
        if len(key.encode()) > MAX_KEY:
            raise ValueError(f"a key has at most {MAX_KEY} bytes")
        size = len(value or b"")
        if size > MAX_VALUE:
            raise ValueError(f"the value of {key!r} has {size} bytes and may have {MAX_VALUE}")
        if self._size + size > MAX_TURN:
            raise ValueError(f"a turn stores at most {MAX_TURN} bytes")
        self._size += size
        self.values[key] = value


_current: ContextVar[Turn | None] = ContextVar("actors_turn", default=None)


def enter(turn: Turn) -> None:
    """From here on the running code is in this turn."""
    _current.set(turn)


def current_turn() -> Turn | None:
    """The open turn that the running code is in."""
    turn = _current.get()
    return turn if turn is not None and turn.open else None


def turn_of(owner: object) -> Turn:
    """The open turn of this owner that the running code is in. Raises `ActorsError` elsewhere."""
    turn = current_turn()
    if turn is None or turn.owner is not owner:
        raise ActorsError("this is done in a turn: in a called method, or under 'async with self.ctx.turn()'")
    if turn.committed:
        raise ActorsError("the turn has made its commit; what follows belongs into another turn")
    return turn
