"""An actor's own keys and values. Writes belong to the turn they are made in; reads see them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import msgspec

from actors.database import Database
from actors.memory import UNKNOWN, Memory, cost
from actors.queries import Queries
from actors.turn import Turn, turn_of
from actors.waking import Woken

T = TypeVar("T")

MAX_KEYS = 128
"""Keys of one `get_many`; the limit is that of Cloudflare's durable objects."""

MAX_LIST = 16 << 20
"""Bytes of one listing, as many as a turn may write."""

MAX_DELETE = 100_000
"""Keys that `delete_all` deletes in one turn."""

PAGE = 256
"""Rows of a listing that are read at a time."""

_LAST = "\U0010ffff"
_END = _LAST * 513  # behind all keys, which have at most 512 such characters

_encode = msgspec.msgpack.Encoder().encode


class Storage:
    """Values are whatever msgpack can copy: None, bool, int, float, str, bytes, list, dict, datetime, UUID, structs.

    While an activation lives, nobody else writes these rows: what was read or written stays true and is remembered, in
    a megabyte or so. A small actor's storage is in memory from the start, and reading it costs nothing.
    """

    __slots__ = ("_database", "_id", "_memory", "_owner", "_queries")

    def __init__(self, *, owner: object, woken: Woken, database: Database, queries: Queries) -> None:
        self._id = woken.fence.id
        self._owner = owner
        self._database = database
        self._queries = queries
        self._memory = Memory(woken.values)

    def put(self, key: str, value: Any) -> None:
        """Store a value with this turn's commit. Raises `ValueError` beyond the limits, `TypeError` for odd values."""
        try:
            data = _encode(value)
        except (TypeError, OverflowError, RecursionError) as error:
            raise TypeError(f"the value of {key!r} cannot be stored: {error}") from error
        turn = turn_of(self._owner)
        turn.put(key, data)
        self._memory.write(key, data, turn)

    def put_many(self, values: Mapping[str, Any]) -> None:
        """Store many values with this turn's commit; all are encoded before the first is written."""
        turn = turn_of(self._owner)
        for key, data in [(key, _encode(value)) for key, value in values.items()]:
            turn.put(key, data)
            self._memory.write(key, data, turn)

    def delete(self, *keys: str) -> None:
        """Delete keys with this turn's commit, whether they exist or not."""
        turn = turn_of(self._owner)
        for key in keys:
            turn.put(key, None)
            self._memory.write(key, None, turn)

    async def delete_all(self) -> int:
        """Delete all keys with this turn's commit; how many there were. Schedules stay.

        Raises `ValueError` for more than `MAX_DELETE`: those are deleted in several turns, by `list` and `delete`.
        """
        turn_of(self._owner)
        known = self._memory.within("", None, _END)
        keys = {key for key, data in known.items() if data is not None}
        if not self._memory.whole:
            rows = await self._database.many(
                self._queries["storage_keys"],
                namespace=self._id.namespace,
                name=self._id.name,
                size=MAX_DELETE + len(known) + 1,
            )
            keys.update(row["key"] for row in rows if row["key"] not in known)
        if len(keys) > MAX_DELETE:
            raise ValueError(f"{self._id} has more than {MAX_DELETE} keys; delete them in several turns")
        self.delete(*keys)
        return len(keys)

    @overload
    async def get(self, key: str) -> Any: ...

    @overload
    async def get(self, key: str, type: type[T]) -> T | None: ...

    async def get(self, key: str, type: Any = Any) -> Any:
        """The value decoded as `type`, or None where there is none. Raises `msgspec.ValidationError`."""
        data = self._memory.get(key)
        if data is UNKNOWN:
            data = (await self._read([key]))[key]
        return None if data is None else msgspec.msgpack.decode(data, type=type)

    @overload
    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]: ...

    @overload
    async def get_many(self, keys: Iterable[str], type: type[T]) -> dict[str, T]: ...

    async def get_many(self, keys: Iterable[str], type: Any = Any) -> dict[str, Any]:
        """The values of those keys that have one, in the order asked for. At most `MAX_KEYS`."""
        wanted = list(dict.fromkeys(keys))
        if len(wanted) > MAX_KEYS:
            raise ValueError(f"{len(wanted)} keys were asked for at once and may be {MAX_KEYS}")
        found = {key: self._memory.get(key) for key in wanted}
        found |= await self._read([key for key, data in found.items() if data is UNKNOWN])
        return {key: msgspec.msgpack.decode(data, type=type) for key, data in found.items() if isinstance(data, bytes)}

    @overload
    async def list(
        self,
        *,
        prefix: str = ...,
        start: str = ...,
        after: str | None = ...,
        stop: str | None = ...,
        reverse: bool = ...,
        limit: int | None = ...,
    ) -> dict[str, Any]: ...

    @overload
    async def list(
        self,
        *,
        prefix: str = ...,
        start: str = ...,
        after: str | None = ...,
        stop: str | None = ...,
        reverse: bool = ...,
        limit: int | None = ...,
        type: type[T],
    ) -> dict[str, T]: ...

    async def list(
        self,
        *,
        prefix: str = "",
        start: str = "",
        after: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        type: Any = Any,
    ) -> dict[str, Any]:
        """Values by key in the order of the keys' UTF-8 bytes: from `start` on, behind `after`, before `stop`.

        `reverse` gives the last ones first and does not swap `start` and `stop`. At most `limit` of them; the next page
        is `after` the last key of this one, or in reverse before it as `stop`. Raises `ValueError` for a listing of
        more than `MAX_LIST` bytes: a smaller `limit` lists it page by page.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"the limit of a listing is {limit}")
        listing = _Listing(
            start=max(prefix, start, after or ""),
            after=after,
            stop=min(_end_of(prefix), _END if stop is None else stop),
            reverse=reverse,
            limit=limit,
        )
        known = self._memory.within(listing.start, after, listing.stop)
        if self._memory.whole:
            listing.add(known, {}, bound=None)
        else:
            while not listing.full:
                listing.add(known, *await self._page(listing))
        return {key: msgspec.msgpack.decode(data, type=type) for key, data in listing.found.items()}

    def settle(self, turn: Turn) -> None:
        """A turn's writes are durable; memory alone need not have them any more."""
        self._memory.settle(turn)

    async def _read(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """The stored values of keys that are not in memory, and by then are."""
        if not keys:
            return {}
        before = self._memory.forgotten
        rows = await self._database.many(
            self._queries["storage_get"], namespace=self._id.namespace, name=self._id.name, keys=keys
        )
        stored: dict[str, bytes] = {row["key"]: row["value"] for row in rows}
        found: dict[str, bytes | None] = {}
        for key in keys:
            data = self._memory.get(key)  # written meanwhile?
            if data is UNKNOWN:
                data = stored.get(key)
                if self._memory.forgotten == before:  # else it may have been written, and forgotten, meanwhile
                    self._memory.learn(key, data)
            found[key] = data
        return found

    async def _page(self, listing: _Listing) -> tuple[dict[str, bytes], str | None]:
        """The next stored rows of a listing, and how far they reach; None where they are the last."""
        size = PAGE if listing.limit is None else min(PAGE, listing.limit - len(listing.found) + 1)
        rows = await self._database.many(
            self._queries["storage_list_back" if listing.reverse else "storage_list"],
            namespace=self._id.namespace,
            name=self._id.name,
            start=listing.start,
            after=listing.after,
            stop=listing.stop,
            size=size,
            bytes=MAX_LIST,
        )
        complete = len(rows) == (rows[0]["rows"] if rows else 0) < size
        return {row["key"]: row["value"] for row in rows}, None if complete else rows[-1]["key"]


class _Listing:
    """What is left of a range of keys, and what was found of it so far."""

    __slots__ = ("after", "found", "full", "limit", "reverse", "size", "start", "stop")

    def __init__(self, *, start: str, after: str | None, stop: str, reverse: bool, limit: int | None) -> None:
        self.start = start
        self.after = after
        self.stop = stop
        self.reverse = reverse
        self.limit = limit
        self.found: dict[str, bytes] = {}
        self.size = 0
        self.full = limit == 0 or start >= stop

    def add(self, known: dict[str, bytes | None], page: dict[str, bytes], bound: str | None) -> None:
        """Add stored rows that reach to `bound` (None: to the end), as the actor's memory changes them."""
        reached = known if bound is None else {key: known[key] for key in known if self._is_within(key, bound)}
        merged: dict[str, bytes | None] = {**page, **reached}
        for key in sorted(merged, reverse=self.reverse):
            data = merged[key]
            if data is None or self.full:
                continue
            self.found[key] = data
            self.full = len(self.found) == self.limit
            self.size += cost(key, data)
            if self.size > MAX_LIST:
                raise ValueError(f"the listing has more than {MAX_LIST} bytes; list it page by page, by a limit")
        if bound is None:
            self.full = True
        elif self.reverse:
            self.stop = bound
        else:
            self.start = self.after = bound

    def _is_within(self, key: str, bound: str) -> bool:
        """Whether a key is in what is left, and not behind the bound."""
        if self.reverse:
            return bound <= key < self.stop
        return key <= bound and key >= self.start and key != self.after


def _end_of(prefix: str) -> str:
    """The first key behind all that begin with a prefix."""
    bare = prefix.rstrip(_LAST)
    if not bare:
        return _END
    last = ord(bare[-1]) + 1
    return bare[:-1] + chr(0xE000 if last == 0xD800 else last)  # no character lies between these two
