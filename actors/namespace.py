"""Namespaces and stubs: how an actor is named and called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import msgspec

from actors.actor import Actor
from actors.database import Database
from actors.kind import Kind
from actors.messages import ENSURE, ActorId, Call, Method, Raised, Reply, Returned
from actors.queries import Queries
from actors.router import Line, Router

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

    def get(self, name: str) -> A:
        """A stub of the actor, typed as its class. Does nothing yet; calls on one stub arrive in their order."""
        return cast(A, Stub(self._line(name)))

    async def ensure(self, name: str, schedule: str = "alarm") -> None:
        """Make sure that a schedule of the actor is set, due now if it is not; for singletons, at the node's start."""
        arguments = msgspec.msgpack.encode(schedule)
        await Reception(self._line(name).call(Call(method=ENSURE, arguments=arguments)), self._kind, None)

    async def exhausted(self) -> list[Exhausted]:
        """The schedules of this namespace that have used up their attempts."""
        rows = await self._database.many(self._queries["schedule_exhausted"], namespace=self.name)
        return [msgspec.convert(dict(row), Exhausted) for row in rows]

    async def names(self) -> list[str]:
        """The names of all actors that have ever been active."""
        return [row["name"] for row in await self._database.many(self._queries["actor_list"], namespace=self.name)]

    def _line(self, name: str) -> Line:
        return self._router.line(ActorId(namespace=self.name, name=name), self._kind)


class Stub:
    """Stands for an actor: has its public methods, each of which starts a call."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        line, method = self._line, self._line.kind.method(name)

        def call(*args: Any, **kwargs: Any) -> Reception:
            arguments = method.encode_arguments(args, kwargs)
            return Reception(line.call(Call(method=name, arguments=arguments)), line.kind, method)

        self.__dict__[name] = call
        return call

    def __repr__(self) -> str:
        return f"<stub of {self._line.id}>"


def line_of(stub: object) -> Line:
    """What is behind a stub."""
    assert isinstance(stub, Stub)
    return stub._line


class Reception(Coroutine[Any, Any, Any]):
    """A call under way, as the coroutine that a method call is: awaiting it gives the result or raises the error.

    The call has started already, awaited or not. Whoever stops waiting does not stop it.
    """

    def __init__(self, reply: asyncio.Future[Reply], kind: Kind, method: Method | None) -> None:
        self._reply = reply
        self._kind = kind
        self._method = method
        self._steps: Generator[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        reply = yield from self._reply.__await__()
        match reply:
            case Returned(value=value):
                return None if self._method is None else self._method.decode_result(value)
            case Raised(failure=failure):
                raise self._kind.failures.decode(failure)
        raise AssertionError(reply)

    def send(self, value: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()
