"""What an activation remembers of its storage: bounded by bytes, and never without a write that is not durable yet."""

from __future__ import annotations

from enum import Enum
from typing import Final

BUDGET = 1 << 20
"""Bytes of keys and values that an actor's memory holds, beside writes under way and one value that is larger."""

ENTRY = 100
"""Bytes that an entry costs beside its key and value."""

_HALF = BUDGET // 2


class Unknown(Enum):
    """Says that only the database knows."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


def cost(key: str, data: bytes | None) -> int:
    """Bytes that an entry counts for."""
    return ENTRY + len(key) + (0 if data is None else len(data))


class Memory:
    """Encoded values by key, None for a key that has none.

    Two generations: what is read or written is young; when the young fill half of the budget they become the old ones,
    and those before are forgotten at once, but not while the commit of one of them is under way. Commits of an actor
    become durable in their order, so that the last turn that wrote tells it of all. `whole`: what is not here does not
    exist. `forgotten` counts the times that something was forgotten.
    """

    __slots__ = ("_held", "_old", "_size", "_writer", "_young", "forgotten", "whole")

    def __init__(self, values: dict[str, bytes] | None) -> None:
        self._young: dict[str, bytes | None] = {} if values is None else dict(values)
        self._old: dict[str, bytes | None] = {}
        self._size = sum(cost(key, data) for key, data in self._young.items())
        self._writer: object | None = None
        self._held: object | None = None
        self.whole = values is not None
        self.forgotten = 0

    def get(self, key: str) -> bytes | Unknown | None:
        """What is known of a key."""
        found = self._young.get(key, UNKNOWN)
        if found is UNKNOWN and self._old:
            found = self._old.get(key, UNKNOWN)
            if found is not UNKNOWN:
                self.learn(key, found)
        return None if found is UNKNOWN and self.whole else found

    def within(self, start: str, after: str | None, stop: str) -> dict[str, bytes | None]:
        """What is known of the keys from `start` on, behind `after`, and before `stop`."""
        return {
            key: data
            for generation in (self._old, self._young)
            for key, data in generation.items()
            if start <= key < stop and (after is None or key > after)
        }

    def learn(self, key: str, data: bytes | None) -> None:
        """Remember what is stored, or written already."""
        before = self._young.get(key, UNKNOWN)
        self._size += cost(key, data) - (0 if before is UNKNOWN else cost(key, before))
        self._young[key] = data
        if self._size > _HALF and (self._held is None or not self._old):
            self._age()

    def write(self, key: str, data: bytes | None, turn: object) -> None:
        """Remember what a turn writes, until `settle` says that it is durable at least."""
        self._writer = turn
        self.learn(key, data)

    def settle(self, turn: object) -> None:
        """The turn is durable, and so is all that was written before it."""
        if self._held is turn:
            self._held = None
        if self._writer is turn:
            self._writer = None

    def _age(self) -> None:
        if self._old:
            self.whole = False
            self.forgotten += 1
        self._old, self._young, self._size = self._young, {}, 0
        self._held = self._writer
