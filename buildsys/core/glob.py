r"""GitHub's patterns for names of branches and tags, and for paths of files.

    *      any characters but /            **     any characters
    X?     X or nothing                    X+     X once or more
    [ab0-9]  one of the listed             \X     X itself
    **/    at the start of a part: any folders, or none

A pattern fits a whole name, and upper and lower case differ. It becomes an expression of RE2, so that no pattern takes
longer than in proportion to its length times the name's.
Source: the "filter pattern cheat sheet" in GitHub's workflow syntax reference.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import re2

MAX_LENGTH = 1000

_RANGES = (("a", "z"), ("A", "Z"), ("0", "9"))


class Glob:
    """A pattern that was read without an error; it is compiled when it is first used."""

    def __init__(self, expression: str) -> None:
        self._expression = expression

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern. Raises `ValueError` that says what is wrong with it."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a pattern is at most {MAX_LENGTH} characters")
        return cls(_expression(text))

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        return self._compiled.fullmatch(_bytes(name)) is not None

    @cached_property
    def _compiled(self) -> Any:
        return re2.compile(_bytes(f"(?s){self._expression}"))


def _expression(text: str) -> str:
    """The same pattern in the words of RE2."""
    parts: list[str] = []
    repeatable = False
    at = 0
    while at < len(text):
        character = text[at]
        if character in "?+":
            if not repeatable:
                raise ValueError(f"{character!r} must follow a character; write \\{character} for itself")
            parts.append(character)
            repeatable = False
            at += 1
        elif character == "*":
            part, length = _star(text, at)
            parts.append(part)
            repeatable = False
            at += length
        else:
            part, at = _character(text, at)
            parts.append(part)
            repeatable = True
    return "".join(parts)


def _star(text: str, at: int) -> tuple[str, int]:
    if text.startswith("**/", at) and text[at - 1 : at] in ("", "/"):
        return "(?:.*/)?", 3
    return (".*", 2) if text.startswith("**", at) else ("[^/]*", 1)


def _character(text: str, at: int) -> tuple[str, int]:
    """What fits at a place in the pattern that takes one character, and where the pattern goes on."""
    if text[at] == "\\":
        if at + 1 == len(text):
            raise ValueError("nothing follows the last \\")
        return _quoted(text[at + 1]), at + 2
    if text[at] != "[":
        return _quoted(text[at]), at + 1
    end = text.find("]", at)
    if end < 0:
        raise ValueError("'[' without a ']'; write \\[ for itself")
    if end == at + 1:
        raise ValueError("'[]' lists no character")
    return f"[{_listed(text[at + 1 : end])}]", end + 1


def _listed(listed: str) -> str:
    parts = []
    while listed:
        if len(listed) > 2 and listed[1] == "-":
            parts.append(_range(listed[0], listed[2]))
            listed = listed[3:]
        else:
            parts.append(_quoted(listed[0]))
            listed = listed[1:]
    return "".join(parts)


def _range(first: str, last: str) -> str:
    alike = any(all(low <= character <= high for character in (first, last)) for low, high in _RANGES)
    if not alike or first > last:
        raise ValueError(f"'{first}-{last}' is not a range within a-z, A-Z or 0-9")
    return f"{first}-{last}"


def _quoted(character: str) -> str:
    """The character itself; those with a meaning in RE2 are all of ASCII."""
    return f"\\x{ord(character):02x}" if character.isascii() and not character.isalnum() else character


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
