"""What goes between a caller and an actor: copies, always encoded, so that no object is ever shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from actors import errors
from actors.border import message_of
from actors.errors import ActorsError, CallFailed, Ran

MAX_NAMESPACE, MAX_NAME = 64, 512
"""Bytes of the names of a namespace and an actor: with the longest key they just fit into an entry of an index."""


class ActorId(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Which actor: a name in a namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def check_name(name: object, what: str, limit: int) -> None:
    """Raise `TypeError` or `ValueError` for what the database cannot store as a name."""
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} is text, and {name!r} is not")
    size = len(name.encode(errors="surrogatepass"))
    if size > limit:
        raise ValueError(f"the name of {what} has {size} bytes and may have {limit}")
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(f"the name {name!a} of {what} has a character that the database cannot store")


ENSURE = "-ensure"
"""The one call that is not a method, and cannot be one by its name: see `Namespace.ensure`."""


class SentCall(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A method, its encoded arguments, and for how many seconds more its caller waits."""

    method: str
    arguments: bytes
    left: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error on its way to the caller: the name it is registered under, what it is made of, and what came before it.

    `ran`: "maybe" where something of the call may be durable all the same.
    """

    type: str
    message: str
    ran: Ran = "no"
    args: bytes = b"\x90"  # an empty list
    state: bytes = b"\x80"  # an empty map


class Returned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A packed result, which is always encoded between nodes."""

    value: Any


class Raised(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call's own error, or the runtime's."""

    failure: Failure


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call did not run: the actor is at this address."""

    address: str


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call did not run: the node is leaving, or the actor changes hands. In a moment it may run somewhere."""

    reason: str


Reply = Returned | Raised | Elsewhere | Refused


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one stub, in order."""

    id: ActorId
    calls: list[SentCall]


class Failures:
    """Errors cross as themselves where a namespace or this package registers them, and else as `CallFailed`."""

    def __init__(self, registered: Sequence[type[BaseException]]) -> None:
        own = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ActorsError)]
        self._types = {_name(one): one for one in (*own, *registered)}

    def encode(self, error: BaseException, *, ran: Ran = "no") -> Failure:
        """The error under the nearest of its classes that is registered."""
        message = message_of(error)
        for type in type_line(error):
            if _name(type) in self._types:
                return Failure(
                    type=_name(type),
                    message=message,
                    ran=ran,
                    args=_packed(list(error.args)),
                    state=_packed_state(error),
                )
        return Failure(type=_name(error.__class__), message=message, ran=ran)

    def decode(self, failure: Failure) -> BaseException:
        """A copy of the error, without its traceback."""
        registered = self._types.get(failure.type)
        if registered is None:
            error: BaseException = CallFailed(failure.type, failure.message)
        else:
            error = registered.__new__(registered)
            error.args = tuple(msgspec.msgpack.decode(failure.args)) or (failure.message,)
            error.__dict__.update(msgspec.msgpack.decode(failure.state))
        if failure.ran == "maybe" and isinstance(error, ActorsError):
            error.ran = failure.ran
        return error


def type_line(error: BaseException) -> list[type]:
    """The classes of an error, from its own to `Exception`."""
    return [one for one in error.__class__.__mro__ if issubclass(one, BaseException)]


def _name(type: type) -> str:
    return f"{type.__module__}.{type.__qualname__}"


def _packed(values: list[Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(values)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return b"\x90"


def _packed_state(error: BaseException) -> bytes:
    state = {}
    for name, value in vars(error).items():
        try:
            state[name] = msgspec.Raw(msgspec.msgpack.encode(value))
        except (TypeError, ValueError, OverflowError, RecursionError):
            continue  # what cannot be copied stays behind, as the traceback does
    return msgspec.msgpack.encode(state)
