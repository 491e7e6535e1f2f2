"""Namespaces and stubs: how an actor is named and called."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import msgspec

from actors.actor import Actor
from actors.call import Pending
from actors.database import Database
from actors.kind import Kind
from actors.line import Line
from actors.messages import MAX_NAME, ActorId, check_name
from actors.queries import Queries
from actors.router import Router

A = TypeVar("A", bound=Actor)


class Exhausted(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that has used up its attempts; setting it again gives it new ones."""

    name: str
    schedule: str
    due_at: datetime
    attempt: int
    error: str | None


class Namespace(Generic[A]):
    """The actors of one class, by name."""

    def __init__(self, *, kind: Kind, router: Router, database: Database, queries: Queries) -> None:
        self.name = kind.namespace
        self._kind = kind
        self._router = router
        self._database = database
        self._queries = queries

    def get(self, name: str, *, timeout: float | None = None) -> A:
        """A stub of the actor, typed as its class. Does nothing yet; calls on one stub arrive in their order.

        Each call on it ends with `ActorUnavailable` after `timeout` seconds (None: `NodeSettings.call_limit`), on
        whatever node the actor is. A call that has not begun by then never does. Any text is a name that has at most
        512 bytes, and no NUL; other names are a `ValueError`.
        """
        return cast(A, Stub(self._line(name, timeout)))

    async def ensure(self, name: str, schedule: str = "alarm") -> None:
        """Make sure that a schedule of the actor is set, due now if it is not; for singletons, at the node's start."""
        arguments = msgspec.msgpack.encode(schedule)
        await self._line(name).call(None, arguments)

    async def exhausted(self) -> list[Exhausted]:
        """The schedules of this namespace that have used up their attempts."""
        rows = await self._database.many(self._queries["schedule_exhausted"], namespace=self.name)
        return [msgspec.convert(dict(row), Exhausted) for row in rows]

    async def names(self) -> list[str]:
        """The names of all actors that have ever been active."""
        return [row["name"] for row in await self._database.many(self._queries["actor_list"], namespace=self.name)]

    def _line(self, name: str, limit: float | None = None) -> Line:
        check_name(name, "an actor", MAX_NAME)
        return self._router.line(ActorId(namespace=self.name, name=name), self._kind, limit)


class Stub:
    """Stands for an actor: has its public methods, each of which starts a call."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Callable[..., Pending]:
        line, method = self._line, self._line.kind.method(name)

        def call(*args: Any, **kwargs: Any) -> Pending:
            return line.call(method, method.pack(args, kwargs))

        self.__dict__[name] = call
        return call

    def __repr__(self) -> str:
        return f"<stub of {self._line.id}>"


def line_of(stub: object) -> Line:
    """What is behind a stub."""
    assert isinstance(stub, Stub)
    return stub._line
