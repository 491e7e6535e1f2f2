"""The values of expressions, and what GitHub makes of one where it expects another.

    value            number         text         true?
    null             0              ''           no
    false, true      0, 1           as written   false: no
    number           itself         15 digits    0 and NaN: no
    text             read, or NaN   itself       '': no
    array, object    NaN            its kind     yes

Sources: "Literals", "Operators" and "Functions" in GitHub's expressions reference; where that is silent, what GitHub's
published runner does. Everything here takes time linear in the lengths of what it is given.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeGuard

Value = None | bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"]
"""Evaluation results in floats only; contexts may hold integers."""

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_HEX = re.compile(r"0x0*([0-9a-fA-F]{1,8})")
_OCTAL = re.compile(r"0o0*([0-7]{1,11})")
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}

_CASED = (*range(0x80, 0x600), *range(0x1E00, 0x2000), *range(0xFB00, 0xFB20))
"""Where Unicode has letters whose upper case is several letters, or one of ASCII."""

_LONGER = (character for character in map(chr, _CASED) if len(character.upper()) > 1 or character.upper().isascii())
_KEPT = re.compile(f"([{''.join(_LONGER)}])")


class Kind(StrEnum):
    NULL = "null"
    BOOLEAN = "boolean"
    NUMBER = "number"
    STRING = "string"
    ARRAY = "array"
    OBJECT = "object"


class CaseSensitive(dict[str, Value]):
    """An object whose names differ by case, as those of `env` do on GitHub's Linux runners; elsewhere they do not."""


def kind(value: Value) -> Kind:
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.STRING
    return Kind.OBJECT if isinstance(value, Mapping) else Kind.ARRAY


def is_primitive(value: Value) -> TypeGuard[bool | int | float | str | None]:
    return value is None or isinstance(value, bool | int | float | str)


def is_true(value: Value) -> bool:
    """Whether a condition of that value holds."""
    if isinstance(value, bool) or value is None:
        return bool(value)
    if isinstance(value, int | float):
        return value != 0 and not math.isnan(_float(value))
    return value != "" if isinstance(value, str) else True


def to_number(value: Value) -> float:
    if value is None:
        return 0.0
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, int):
        return _float(value)
    return value if isinstance(value, float) else math.nan


def parse_number(text: str) -> float:
    """The number that a text is: decimal, hexadecimal or octal of 32 bits, ±Infinity; 0 for '', NaN for all others."""
    text = text.strip()
    if not text:
        return 0.0
    if _NUMBER.fullmatch(text):
        return float(text)
    for pattern, base in ((_HEX, 16), (_OCTAL, 8)):
        if (digits := pattern.fullmatch(text)) and (bits := int(digits[1], base)) < 1 << 32:
            return float(bits - (1 << 32) if bits >> 31 else bits)
    return _INFINITIES.get(text, math.nan)


def to_text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(_float(value))
    if isinstance(value, str):
        return value
    return "Object" if isinstance(value, Mapping) else "Array"


def to_json_text(value: bool | int | float | str | None) -> str:
    """A primitive in JSON; beyond ASCII only what ends a line is escaped, and NaN and Infinity are written as such."""
    if value is None:
        return "null"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text.replace("\x85", r"\u0085").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
    return to_text(value)


def equal(left: Value, right: Value) -> bool:
    """GitHub's loose `==`: texts without regard to case, different kinds as numbers, arrays and objects by identity."""
    left, right = _alike(left, right)
    if isinstance(left, str) and isinstance(right, str):
        return fold(left) == fold(right)
    if isinstance(left, bool | float) and isinstance(right, bool | float):
        return left == right
    return left is right


def less(left: Value, right: Value) -> bool:
    """`<`; false where a side is NaN, an array or an object."""
    left, right = _alike(left, right)
    if isinstance(left, str) and isinstance(right, str):
        return _order(left) < _order(right)
    return isinstance(left, bool | float) and isinstance(right, bool | float) and left < right


def fold(text: str) -> str:
    """Equal for texts that differ by case alone.

    Letter by letter: what is longer in upper case (ß) stays, and no other letter becomes one of ASCII (dotless i).
    """
    if text.isascii():
        return text.upper()
    return "".join(part.upper() if number % 2 == 0 else part for number, part in enumerate(_KEPT.split(text)))


def _alike(left: Value, right: Value) -> tuple[Value, Value]:
    """Both as they are if they are of one kind, else as numbers if neither is an array or an object."""
    kinds = kind(left), kind(right)
    if kinds[0] == kinds[1] != Kind.NUMBER:
        return left, right
    if Kind.ARRAY in kinds or Kind.OBJECT in kinds:
        return math.nan, math.nan
    return to_number(left), to_number(right)


def _order(text: str) -> bytes:
    """What texts are ordered by: UTF-16, as .NET holds them."""
    return fold(text).encode("utf-16-be", "surrogatepass")


def _number_text(number: float) -> str:
    if math.isinf(number) or math.isnan(number):
        return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
    return "0" if number == 0 else format(number, ".15g").replace("e", "E")


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
