r"""The patterns of `hashFiles`, walked along a path one name at a time.

    *      any characters of a name        **       any folders, or none (as a name of its own)
    ?      one character                   [a-z]    one of those, [!a-z] none of those
    \X     X itself                        !P       leaves out what P fits, as far as no later pattern brings it back

A pattern that fits a folder fits everything in it. Patterns are relative to the workspace, or absolute and within it;
a name may begin with a dot. In a text of several lines each is a pattern, but for those that begin with `#`.

Fitting takes time in proportion to pattern times name, whatever both are. Source: the documentation of GitHub's
`@actions/glob`, which `hashFiles` refers to.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec

from buildsys.core.expressions import ExpressionError

MAX_PATTERNS = 1000
MAX_LENGTH = 4096
ANY_FOLDERS = "**"

_STAR = None
_Token = frozenset[str] | tuple[frozenset[str]] | str | None
"""One character, one of a set, one outside a set (a tuple of it), or `_STAR`."""


class Segment(msgspec.Struct, frozen=True):
    """What a name must be; `literal` is the name itself where only one fits."""

    tokens: tuple[_Token, ...]
    literal: str | None

    def fits(self, name: str) -> bool:
        """Whether the whole name fits: greedy, going back to the last star only."""
        if self.literal is not None:
            return name == self.literal
        token = at = 0
        star, resume = -1, 0
        while at < len(name):
            if token < len(self.tokens) and self.tokens[token] is _STAR:
                star, resume = token, at
                token += 1
            elif token < len(self.tokens) and _takes(self.tokens[token], name[at]):
                token, at = token + 1, at + 1
            elif star >= 0:
                resume += 1
                token, at = star + 1, resume
            else:
                return False
        return all(token is _STAR for token in self.tokens[token:])


class Pattern(msgspec.Struct, frozen=True):
    """A pattern's segments, None for `**`. One with a `/` at its end fits folders only, and so what is in them."""

    segments: tuple[Segment | None, ...]
    excludes: bool
    folders_only: bool

    @property
    def start(self) -> tuple[str, ...]:
        """The names up to the first that is not told by the pattern."""
        names: list[str] = []
        for segment in self.segments:
            if segment is None or segment.literal is None:
                break
            names.append(segment.literal)
        return tuple(names)

    def begin(self) -> frozenset[int]:
        """Where in the pattern the workspace itself is."""
        return self._closed({0})

    def step(self, at: frozenset[int], name: str) -> frozenset[int]:
        """Where one is behind a name; the end, once reached, is not left: all below fits, too."""
        reached = set()
        for place in at:
            if place == len(self.segments) or (segment := self.segments[place]) is None:
                reached.add(place)
            elif segment.fits(name):
                reached.add(place + 1)
        return self._closed(reached)

    def fits(self, before: frozenset[int], at: frozenset[int], *, folder: bool) -> bool:
        """Whether what is reached by a last name fits; `before` is where that name began."""
        end = len(self.segments)
        return end in at and (folder or not self.folders_only or end in before)

    def _closed(self, places: set[int]) -> frozenset[int]:
        """With those that `**` reaches without a name."""
        for place in range(len(self.segments)):
            if place in places and self.segments[place] is None:
                places.add(place + 1)
        return frozenset(places)


def read_patterns(texts: Iterable[str], *, workspace: PurePosixPath) -> tuple[Pattern, ...]:
    """The patterns of a call; one that is outside the workspace fits nothing and is left out.

    Raises `ExpressionError` for one with `..` or a NUL in it, or too long, and for too many.
    """
    lines = [line.strip() for text in texts for line in text.split("\n")]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) > MAX_PATTERNS:
        raise ExpressionError(f"hashFiles() takes at most {MAX_PATTERNS} patterns", at=0)
    patterns = (_pattern(line, workspace) for line in lines)
    return tuple(pattern for pattern in patterns if pattern is not None)


def _pattern(line: str, workspace: PurePosixPath) -> Pattern | None:
    text = line.lstrip("!").strip()
    excludes = (len(line) - len(line.lstrip("!"))) % 2 == 1
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"a pattern of hashFiles() is at most {MAX_LENGTH} characters", at=0)
    if "\0" in text:
        raise ExpressionError("a pattern of hashFiles() has no NUL in it", at=0)
    if text.startswith("/"):
        root = f"{workspace}/"
        if not f"{text}/".startswith(root):
            return None
        text = text[len(root) :]
    names = [name for name in text.split("/") if name]
    names = names[1:] if names[:1] == ["."] else names
    if "." in names or ".." in names:
        raise ExpressionError("a pattern of hashFiles() has no . and no .. in it", at=0)
    segments = tuple(None if name == ANY_FOLDERS else _segment(name) for name in names)
    return Pattern(segments=segments, excludes=excludes, folders_only=text.endswith("/") and bool(names))


def _segment(name: str) -> Segment:
    tokens: list[_Token] = []
    at = 0
    while at < len(name):
        character = name[at]
        end = _set_end(name, at) if character == "[" else -1
        if character == "\\" and at + 1 < len(name):
            tokens.append(name[at + 1])
            at += 2
        elif character == "*":
            if not tokens or tokens[-1] is not _STAR:
                tokens.append(_STAR)
            at += 1
        elif character == "?":
            tokens.append((frozenset(),))
            at += 1
        elif end > 0:
            tokens.append(_set(name[at + 1 : end]))
            at = end + 1
        else:
            tokens.append(character)
            at += 1
    literal = "".join(token for token in tokens if isinstance(token, str))
    return Segment(tuple(tokens), literal if len(literal) == len(tokens) else None)


def _set_end(name: str, at: int) -> int:
    """Where a set ends; its first character may be `]` itself."""
    first = at + 1 + (name[at + 1 : at + 2] in ("!", "^"))
    return name.find("]", first + 1)


def _set(listed: str) -> _Token:
    outside = listed[:1] in ("!", "^")
    listed = listed[1:] if outside else listed
    found: set[str] = set()
    while listed:
        if len(listed) > 2 and listed[1] == "-" and 0 <= ord(listed[2]) - ord(listed[0]) < 256:
            found.update(map(chr, range(ord(listed[0]), ord(listed[2]) + 1)))
            listed = listed[3:]
        else:
            found.add(listed[0])
            listed = listed[1:]
    return (frozenset(found),) if outside else frozenset(found)


def _takes(token: _Token, character: str) -> bool:
    if isinstance(token, tuple):
        return character not in token[0]
    return token is not None and character in token
