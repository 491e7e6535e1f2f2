r"""GitHub's patterns for branch names.

    *      any characters but /            **     any characters
    X?     X or nothing                    X+     X once or more
    [ab0-9]  one of the listed             \X     X itself
    **/    at the start of a part: any folders, or none

A pattern is matched by walking all its states at once: in time proportional to the pattern times the name.
Source: the "filter pattern cheat sheet" in GitHub's workflow syntax reference.
"""

from __future__ import annotations

from typing import Self

import msgspec

MAX_LENGTH = 255

_ANY = "any"
_IN_PART = "in part"


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """Takes one character of `wanted`, or more of them if it `repeats`.

    `skips` is how many states may be left out from this one on.
    """

    wanted: frozenset[str] | str
    repeats: bool = False
    skips: tuple[int, ...] = ()

    def takes(self, character: str) -> bool:
        if self.wanted == _ANY:
            return True
        return character != "/" if self.wanted == _IN_PART else character in self.wanted


class Glob:
    """A pattern that was read without an error; `text` is the pattern itself."""

    def __init__(self, text: str, states: tuple[_State, ...]) -> None:
        self.text = text
        self._states = states

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern. Raises `ValueError` that says what is wrong with it."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a pattern is at most {MAX_LENGTH} characters")
        return cls(text, tuple(_states(text)))

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        at = self._reachable({0})
        for character in name:
            taken = [number for number in at if number < len(self._states) and self._states[number].takes(character)]
            repeated = {number for number in taken if self._states[number].repeats}
            at = self._reachable({number + 1 for number in taken} | repeated)
            if not at:
                return False
        return len(self._states) in at

    def _reachable(self, states: set[int]) -> set[int]:
        """The states and those after what may be left out; skips only lead forwards, so one walk finds all."""
        for number, state in enumerate(self._states):
            if number in states:
                states.update(number + skip for skip in state.skips)
        return states


def _states(text: str) -> list[_State]:
    states: list[_State] = []
    quantifiable = False
    at = 0
    while at < len(text):
        character = text[at]
        if character in "?+":
            if not quantifiable:
                raise ValueError(f"{character!r} must follow a character; write \\{character} for itself")
            last = states.pop()
            states.append(_State(wanted=last.wanted, repeats=character == "+", skips=(1,) if character == "?" else ()))
            quantifiable = False
            at += 1
        elif character == "*":
            deep = text.startswith("**", at)
            if text.startswith("**/", at) and text[at - 1 : at] in ("", "/"):
                states.append(_State(wanted=frozenset(), skips=(1, 3)))
            states.append(_State(wanted=_ANY if deep else _IN_PART, repeats=True, skips=(1,)))
            quantifiable = False
            at += 2 if deep else 1
        else:
            wanted_characters, at = _characters(text, at)
            states.append(_State(wanted=wanted_characters))
            quantifiable = True
    return states


def _characters(text: str, at: int) -> tuple[frozenset[str], int]:
    """The characters that fit at a place in the pattern, and where the pattern goes on."""
    if text[at] == "\\":
        if at + 1 == len(text):
            raise ValueError("nothing follows the last \\")
        return frozenset(text[at + 1]), at + 2
    if text[at] != "[":
        return frozenset(text[at]), at + 1
    end = text.find("]", at)
    if end < 0:
        raise ValueError("'[' without a ']'; write \\[ for itself")
    listed = text[at + 1 : end]
    if not listed:
        raise ValueError("'[]' lists no character")
    found: set[str] = set()
    while listed:
        if len(listed) > 2 and listed[1] == "-":
            found.update(_range(listed[0], listed[2]))
            listed = listed[3:]
        else:
            found.add(listed[0])
            listed = listed[1:]
    return frozenset(found), end + 1


def _range(first: str, last: str) -> set[str]:
    alike = any(all(low <= character <= high for character in (first, last)) for low, high in ("az", "AZ", "09"))
    if not alike or first > last:
        raise ValueError(f"'{first}-{last}' is not a range within a-z, A-Z or 0-9")
    return {chr(code) for code in range(ord(first), ord(last) + 1)}
