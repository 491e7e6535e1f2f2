"""An actor's own keys and values. Writes belong to the turn they are made in; reads see them at once."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

from actors.database import Database
from actors.queries import Queries
from actors.turn import turn_of
from actors.waking import Woken

T = TypeVar("T")

REMEMBERED = 1024
"""Keys whose values stay in memory while the actor does; beyond it they are read again."""


class Storage:
    """Values are whatever msgpack can copy: None, bool, int, float, str, bytes, list, dict, datetime, UUID, structs.

    While an activation lives, nobody else writes these rows: what was read or written stays true and is remembered.
    """

    def __init__(self, *, owner: object, woken: Woken, database: Database, queries: Queries) -> None:
        self._id = woken.fence.id
        self._owner = owner
        self._database = database
        self._queries = queries
        self._known: dict[str, bytes | None] = dict(woken.values or {})

    def put(self, key: str, value: Any) -> None:
        """Store a value with this turn's commit. Raises `ValueError` beyond the limits, `TypeError` for odd values."""
        data = msgspec.msgpack.encode(value)
        turn_of(self._owner).put(key, data)
        self._known[key] = data

    def delete(self, key: str) -> None:
        """Delete a key with this turn's commit, whether it exists or not."""
        turn_of(self._owner).put(key, None)
        self._known[key] = None

    @overload
    async def get(self, key: str) -> Any: ...

    @overload
    async def get(self, key: str, type: type[T]) -> T | None: ...

    async def get(self, key: str, type: Any = Any) -> Any:
        """The value decoded as `type`, or None where there is none. Raises `msgspec.ValidationError`."""
        if key not in self._known:
            row = await self._database.one(
                self._queries["storage_get"], namespace=self._id.namespace, name=self._id.name, key=key
            )
            self._known.setdefault(key, row["value"] if row else None)
        data = self._known[key]
        return None if data is None else msgspec.msgpack.decode(data, type=type)

    @overload
    async def list(
        self, *, prefix: str = ..., start: str = ..., stop: str | None = ..., limit: int = ...
    ) -> dict[str, Any]: ...

    @overload
    async def list(
        self, *, prefix: str = ..., start: str = ..., stop: str | None = ..., limit: int = ..., type: type[T]
    ) -> dict[str, T]: ...

    async def list(
        self, *, prefix: str = "", start: str = "", stop: str | None = None, limit: int = 1000, type: Any = Any
    ) -> dict[str, Any]:
        """At most `limit` values in the order of their keys' UTF-8 bytes, from `start` on, before `stop`."""
        known = dict(self._known)
        rows = await self._database.many(
            self._queries["storage_list"],
            namespace=self._id.namespace,
            name=self._id.name,
            start=max(prefix, start, key=_order),
            stop=stop,
            size=limit + len(known),
        )
        found = {row["key"]: row["value"] for row in rows} | known
        keys = sorted(
            (
                key
                for key, data in found.items()
                if data is not None
                and key.startswith(prefix)
                and _order(key) >= _order(start)
                and (stop is None or _order(key) < _order(stop))
            ),
            key=_order,
        )
        return {key: msgspec.msgpack.decode(found[key], type=type) for key in keys[:limit]}

    def forget(self) -> None:
        """Keep memory small. Only when all writes are committed: until then the memory alone has them."""
        if len(self._known) > REMEMBERED:
            self._known.clear()


def _order(key: str) -> bytes:
    return key.encode()
