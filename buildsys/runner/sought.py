"""The secrets of a job in all their forms, wherever they occur in an output.

An output is searched as it is, without its line breaks for forms that tools wrap, and in capitals for those in which
either case means the same. Where less than four bytes of a form stand before the end of their line, only what is behind
that is part of the occurrence: else each line would have to wait for the next one, as any may end like that.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate

from buildsys.runner.forms import LONGEST, SHORTEST, Forms
from buildsys.runner.patterns import Patterns, Place

REACH = 3 * LONGEST
"""Bytes of the longest occurrence: of the longest form, with a CR and an LF behind each byte."""

BEGINNINGS = 32_000
"""Beginnings of secrets that are looked at in one go, which takes a moment."""


class Sought:
    """A growing set of forms, each of which counts from some place of a job on."""

    def __init__(self) -> None:
        self._plain = Patterns()
        self._wrapped = Patterns()
        self._folded = Patterns()

    def add(self, forms: Forms, *, since: Place) -> None:
        self._plain.add(forms.plain, since=since)
        self._wrapped.add(forms.wrapped, since=since)
        self._folded.add(forms.folded, since=since)

    def find(self, text: bytes, *, place: Place) -> tuple[list[tuple[int, int]], int]:
        """The ranges of `text`, which is at `place`, where they occur, and up to where it was searched for them."""
        found, searched = self._plain.find(text, place=place, most=BEGINNINGS)
        if self._folded and b"%" in text:
            folded, end = self._folded.find(text.upper(), place=place, most=BEGINNINGS)
            found, searched = found + folded, min(searched, end)
        if self._wrapped:
            joined = Joined(text)
            wrapped, end = self._wrapped.find(joined.text, place=place, most=BEGINNINGS, origin=joined.origin)
            found += [(joined.start(first, last), joined.origin(last - 1) + 1) for first, last in wrapped]
            searched = min(searched, joined.origin(end)) if end < len(joined.text) else searched
        return found, searched

    def begun(self, text: bytes, *, least: int) -> int:
        """How much of the end of `text` may be part of an occurrence, of which at least so many bytes are there."""
        tail = text[-REACH:]
        joined = Joined(tail)
        found = [(length, len(tail) - length) for length in (self._plain.begun(tail), self._folded.begun(tail.upper()))]
        length = self._wrapped.begun(joined.text)
        found.append((length, joined.start(len(joined.text) - length, len(joined.text)) if length else len(tail)))
        return len(tail) - min((start for length, start in found if length >= least), default=len(tail))


class Joined:
    """A text without its line breaks, which are LF and CR LF; of several in a row one is left for each empty line."""

    def __init__(self, text: bytes) -> None:
        self._printed = text.split(b"\n")
        lines = self._printed if b"\r" not in text else [line.removesuffix(b"\r") for line in self._printed]
        self._lines = [line or b"\n" for line in lines[:-1]] + lines[-1:]
        self.text = b"".join(self._lines)

    def origin(self, at: int) -> int:
        """Where the byte at `at` was; the end of the text is where it was before a break."""
        line = bisect_right(self._starts, at) - 1
        return self._origins[line] + at - self._starts[line]

    def start(self, first: int, last: int) -> int:
        """Where what is at [first, last) begins, less what of it is in a line that ends too soon."""
        line = bisect_right(self._starts, first) - 1
        behind = self._starts[line + 1] if line + 1 < len(self._starts) else last + 1
        is_short = behind <= last and behind - first < SHORTEST
        return self._origins[line + 1] if is_short else self._origins[line] + first - self._starts[line]

    @cached_property
    def _starts(self) -> list[int]:
        """Where the lines begin in the text that has no breaks ..."""
        return list(accumulate(map(len, self._lines[:-1]), initial=0))

    @cached_property
    def _origins(self) -> list[int]:
        """... and in the one that has."""
        return list(accumulate((len(line) + 1 for line in self._printed[:-1]), initial=0))
