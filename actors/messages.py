"""What goes between a caller and an actor: copies, always encoded, so that no object is ever shared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, get_type_hints

import msgspec

from actors import errors
from actors.errors import ActorsError, CallFailed


class ActorId(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Which actor: a name in a namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


ENSURE = "-ensure"
"""The one call that is not a method, and cannot be one by its name: see `Namespace.ensure`."""


class Call(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A method and its encoded arguments."""

    method: str
    arguments: bytes


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error on its way to the caller: the name it is registered under, and what it is made of."""

    type: str
    message: str
    args: bytes = b"\x90"  # an empty list
    state: bytes = b"\x80"  # an empty map


class Returned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An encoded result."""

    value: bytes


class Raised(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call's own error, or the runtime's."""

    failure: Failure


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call did not run: the actor is at this address."""

    address: str


Reply = Returned | Raised | Elsewhere


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one stub, in order."""

    id: ActorId
    calls: list[Call]


class Method:
    """How the arguments and the result of one method are copied: by msgpack, as its annotations say."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        strange = [one.name for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        if strange:
            raise TypeError(f"{function.__qualname__} cannot be called as an actor's: it takes *{strange[0]}")
        self._signature = inspect.Signature(parameters)
        self._arguments = msgspec.defstruct(
            f"{name}_arguments",
            [_field(one, hints.get(one.name, Any)) for one in parameters],
            kw_only=True,
        )
        self._names = [one.name for one in parameters]
        self._decode_arguments = msgspec.msgpack.Decoder(self._arguments).decode
        self._decode_result = msgspec.msgpack.Decoder(hints.get("return", Any)).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def encode_arguments(self, args: Sequence[Any], kwargs: dict[str, Any]) -> bytes:
        """The arguments as a caller gave them. Raises `TypeError` as the method itself would."""
        if not kwargs and len(args) == len(self._names):
            return self._encode(dict(zip(self._names, args, strict=True)))
        return self._encode(self._signature.bind(*args, **kwargs).arguments)

    def call(self, instance: object, arguments: bytes) -> Coroutine[Any, Any, Any]:
        """The method's coroutine, on a copy of the arguments. Raises `msgspec.ValidationError`."""
        decoded = self._decode_arguments(arguments)
        given = {name: value for name in self._names if (value := getattr(decoded, name)) is not msgspec.UNSET}
        coroutine: Coroutine[Any, Any, Any] = getattr(instance, self.name)(**given)
        return coroutine

    def encode_result(self, result: Any) -> bytes:
        return self._encode(result)

    def decode_result(self, result: bytes) -> Any:
        return self._decode_result(result)


def _field(parameter: inspect.Parameter, type: Any) -> Any:
    if parameter.default is parameter.empty:
        return (parameter.name, type)
    return (parameter.name, type | msgspec.UnsetType if type is not Any else Any, msgspec.UNSET)


class Failures:
    """Errors cross as themselves where a namespace or this package registers them, and else as `CallFailed`."""

    def __init__(self, registered: Sequence[type[BaseException]]) -> None:
        own = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ActorsError)]
        self._types = {_name(one): one for one in (*own, *registered)}

    def encode(self, error: BaseException) -> Failure:
        """The error under the nearest of its classes that is registered."""
        for type in type_line(error):
            if _name(type) in self._types:
                return Failure(
                    type=_name(type), message=str(error), args=_packed(list(error.args)), state=_packed_state(error)
                )
        return Failure(type=_name(error.__class__), message=str(error))

    def decode(self, failure: Failure) -> BaseException:
        """A copy of the error, without its traceback."""
        registered = self._types.get(failure.type)
        if registered is None:
            return CallFailed(failure.type, failure.message)
        error = registered.__new__(registered)
        error.args = tuple(msgspec.msgpack.decode(failure.args)) or (failure.message,)
        error.__dict__.update(msgspec.msgpack.decode(failure.state))
        return error


def type_line(error: BaseException) -> list[type]:
    """The classes of an error, from its own to `Exception`."""
    return [one for one in error.__class__.__mro__ if issubclass(one, BaseException)]


def _name(type: type) -> str:
    return f"{type.__module__}.{type.__qualname__}"


def _packed(values: list[Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(values)
    except (TypeError, ValueError, OverflowError):
        return b"\x90"


def _packed_state(error: BaseException) -> bytes:
    state = {}
    for name, value in vars(error).items():
        try:
            state[name] = msgspec.Raw(msgspec.msgpack.encode(value))
        except (TypeError, ValueError, OverflowError):
            continue  # what cannot be copied stays behind, as the traceback does
    return msgspec.msgpack.encode(state)
