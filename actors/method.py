"""How the arguments and the result of a method are copied between a caller and an actor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from actors.errors import BadCall

MAX_CALL = 16 << 20
"""Bytes of a call's encoded arguments, or of its result."""

SMALL = 1024
"""Characters of a text that goes as it is."""

PLAIN = frozenset({NoneType, bool, int, float, str})
"""What nobody can change: a copy of it would be the thing itself."""

LEAST, MOST = -(1 << 63), (1 << 64) - 1
"""The integers that msgpack has."""

Packed = bytes | tuple[Any, ...]
"""Arguments on their way: encoded, or as they are where all of them are plain and small."""

PLAIN_SIZE = 64
"""Bytes that arguments which are not encoded count for."""


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A result that was encoded, and decoded again to see that it is what the method says that it returns."""

    encoded: bytes
    copy: Any


class Method:
    """One method's copies: by msgpack, as its annotations say, and checked in the turn.

    A plain value that is exactly of the annotated type would come out of msgpack equal and unchanged, so inside a
    process it skips the way there and back. Whatever else is always encoded.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.title = function.__qualname__
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        strange = [one.name for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        if strange:
            raise TypeError(f"{self.title} cannot be called as an actor's: it takes *{strange[0]}")
        self._signature = inspect.Signature(parameters)
        self._names = [one.name for one in parameters]
        self._positional = all(one.kind is not one.KEYWORD_ONLY for one in parameters)
        self._plain = tuple(_plain_types(hints.get(name, Any)) for name in self._names)
        self._plain_result = _plain_types(hints.get("return", Any))
        self._arguments = msgspec.defstruct(
            f"{name}_arguments", [_field(one, hints.get(one.name, Any)) for one in parameters], kw_only=True
        )
        self._decode_arguments = msgspec.msgpack.Decoder(self._arguments).decode
        self._decode_result = msgspec.msgpack.Decoder(hints.get("return", Any)).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def pack(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Packed:
        """The arguments as a caller gave them. Raises `TypeError` as the method itself would, or `BadCall`."""
        if not kwargs and len(args) == len(self._names):
            if self._positional:
                for value, types in zip(args, self._plain, strict=True):
                    if not _is_plain(value, types):
                        break
                else:
                    return tuple(args)
            return self._encode_arguments(dict(zip(self._names, args, strict=True)))
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.title}: {error}") from None
        return self._encode_arguments(bound.arguments)

    def encoded(self, arguments: Packed) -> bytes:
        """Packed arguments as they go to another node."""
        if isinstance(arguments, bytes):
            return arguments
        return self._encode(dict(zip(self._names, arguments, strict=True)))

    def call(self, instance: object, arguments: Packed) -> Coroutine[Any, Any, Any]:
        """The method's coroutine on the received arguments. Raises `BadCall` where they are not what it takes."""
        function: Callable[..., Coroutine[Any, Any, Any]] = getattr(type(instance), self.name)
        if isinstance(arguments, tuple):
            return function(instance, *arguments)
        try:
            decoded = self._decode_arguments(arguments)
        except msgspec.DecodeError as error:
            raise BadCall(f"{self.title}: {error}") from None
        given = {name: value for name in self._names if (value := getattr(decoded, name)) is not msgspec.UNSET}
        return function(instance, **given)

    def pack_result(self, result: Any) -> Any:
        """A result: copied, or itself where it is plain and small. Raises `BadCall` where it is not as annotated."""
        if _is_plain(result, self._plain_result):
            return result
        try:
            encoded = self._encode(result)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadCall(f"the result of {self.title} cannot be copied: {error}") from None
        if len(encoded) > MAX_CALL:
            raise BadCall(f"the result of {self.title} has {len(encoded)} bytes and may have {MAX_CALL}")
        return Copied(encoded=encoded, copy=self._decoded(encoded))

    def encoded_result(self, result: Any) -> bytes:
        """A packed result as it goes to another node."""
        return result.encoded if type(result) is Copied else self._encode(result)

    def unpack_result(self, result: Any) -> Any:
        """A result as its caller gets it, packed here or encoded elsewhere.

        Raises `BadCall` where another node's method returned what this one's does not: the call ran.
        """
        if type(result) is Copied:
            return result.copy
        if type(result) is not bytes:
            return result
        try:
            return self._decoded(result)
        except BadCall as error:
            error.ran = "maybe"
            raise

    def _decoded(self, encoded: bytes) -> Any:
        try:
            return self._decode_result(encoded)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadCall(f"the result of {self.title}: {error}") from None

    def _encode_arguments(self, arguments: dict[str, Any]) -> bytes:
        try:
            encoded = self._encode(arguments)
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise self._culprit(arguments) from None
        if len(encoded) > MAX_CALL:
            raise BadCall(f"the arguments of {self.title} have {len(encoded)} bytes and may have {MAX_CALL}")
        return encoded

    def _culprit(self, arguments: dict[str, Any]) -> BadCall:
        """The error that names the argument at fault."""
        for name, value in arguments.items():
            try:
                self._encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                return BadCall(f"the argument {name!r} of {self.title} cannot be copied: {error}")
        raise AssertionError(arguments)


def _plain_types(hint: Any) -> frozenset[type]:
    """The types whose values this annotation accepts as they are."""
    if hint is Any:
        return PLAIN
    if get_origin(hint) in (Union, UnionType):
        members = [_plain_types(member) for member in get_args(hint)]
        return frozenset().union(*members)
    hint = NoneType if hint is None else hint
    return frozenset({hint}) if isinstance(hint, type) and hint in PLAIN else frozenset()


def _is_plain(value: Any, types: frozenset[type]) -> bool:
    kind = type(value)
    if kind not in types:
        return False
    if kind is int:
        return bool(LEAST <= value <= MOST)
    return kind is not str or (len(value) <= SMALL and value.isascii())


def _field(parameter: inspect.Parameter, type: Any) -> Any:
    if parameter.default is parameter.empty:
        return (parameter.name, type)
    return (parameter.name, type | msgspec.UnsetType if type is not Any else Any, msgspec.UNSET)
