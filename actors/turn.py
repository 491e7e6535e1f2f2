"""A turn: an exclusive stretch of an actor's time, and all that it will write in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

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


class TurnOwner(Protocol):
    """Whose turn it is."""

    def begin(self, turn: Turn) -> None:
        """Let the running code have its turn."""
        ...

    def finish(self, turn: Turn, error: BaseException | None) -> None:
        """Send what was written on its way, or, where the turn raised, undo it."""
        ...


class Turn:
    """Writes gather here and are committed together, or not at all. The turn lasts as long as its `with` block.

    `size`: bytes of what they hold. `deletes`: whether a key may be among them that is to be deleted. `expired`:
    whether the turn was cancelled because it took too long. `committed`: it has made its commit, or failed to, by a
    transaction of its own, in which it is while `transacting`. `stands`: that commit is durable, or may be.
    """

    __slots__ = (
        "_cancelling",
        "_task",
        "callbacks",
        "committed",
        "deletes",
        "expired",
        "open",
        "owner",
        "schedules",
        "size",
        "spawned",
        "stands",
        "statements",
        "transacting",
        "values",
    )

    def __init__(self, owner: TurnOwner) -> None:
        self.owner = owner
        self.open = True
        self.expired = False
        self.committed = False
        self.stands = False
        self.transacting = False
        self.values: dict[str, bytes | None] = {}
        self.schedules: dict[str, ScheduleRow | None] = {}
        self.statements: list[Statement] = []
        self.callbacks: list[Callable[[], None]] = []
        self.spawned: list[tuple[Coroutine[Any, Any, Any], str]] = []
        self.size = 0
        self.deletes = False
        self._cancelling = 0
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self.owner.begin(self)
        _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.expired and self._task is not None and self._task.uncancel() > self._cancelling:
            self.expired = False  # somebody else has cancelled it as well, and is to have his way
        self.owner.finish(self, error)

    def expire(self) -> None:
        """Cancel what runs in it."""
        self.expired = True
        if self._task is not None:
            self._task.cancel()

    @property
    def writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.values or self.schedules or self.statements)

    @property
    def wrote(self) -> bool:
        """Whether something of a turn that is over well is durable, or will be."""
        return self.stands or (self.writes and not self.committed)

    def put(self, key: str, value: bytes | None) -> None:
        """Store an encoded value, or delete (None). Raises `ValueError` beyond the limits, and then changes nothing."""
        if not isinstance(key, str):
            raise TypeError(f"a key is text, and {key!r} is not")
        size = len(key) if key.isascii() else len(key.encode())
        if size > MAX_KEY:
            raise ValueError(f"a key has at most {MAX_KEY} bytes")
        if "\0" in key:
            raise ValueError(f"the key {key!r} has a NUL in it, which the database cannot store")
        if value is None:
            self.deletes = True
        elif len(value) > MAX_VALUE:
            raise ValueError(f"the value of {key!r} has {len(value)} bytes and may have {MAX_VALUE}")
        else:
            size += len(value)
        self._grow(size)
        self.values[key] = value

    def execute(self, statement: Statement) -> None:
        """Defer a statement. Raises `ValueError` for what the database cannot store, and then changes nothing."""
        self._grow(sum(_size(argument) for argument in statement.arguments))
        self.statements.append(statement)

    def _grow(self, size: int) -> None:
        if self.size + size > MAX_TURN:
            raise ValueError(f"a turn writes at most {MAX_TURN} bytes")
        self.size += size


def _size(argument: object) -> int:
    """The bytes of a statement's argument, near enough. Raises `ValueError` for text that the database cannot store."""
    if isinstance(argument, str):
        if "\0" in argument:
            raise ValueError("an argument of a statement has a NUL in it, which the database cannot store")
        return len(argument.encode())
    if isinstance(argument, (bytes, bytearray, memoryview)):
        return len(argument)
    if isinstance(argument, (list, tuple)):
        return sum(_size(one) for one in argument)
    return 8


_current: ContextVar[Turn | None] = ContextVar("actors_turn", default=None)


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
