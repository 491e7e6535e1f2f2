"""Where any of many byte strings occurs in a stream, in time that does not grow with their number.

The first bytes of all of them are looked for at once, by an Aho-Corasick automaton; where one is found, a table says
which strings begin there.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

HEAD = 4
"""Bytes by which strings are looked for. Up to 64 different heads of that length are found at the memory's speed."""

MOST_HEADS_IN_DFA = 8192
"""The fastest automaton takes up to 4 KiB for each head."""

STRIDE = 64 << 10
"""Bytes that are searched at a time: all that is found in them takes memory."""

Place = tuple[int, int]
"""A step, and an offset in what it prints; all places of a job are in order."""

LATEST: Place = (sys.maxsize, 0)
"""A place behind all that a job prints."""


class Patterns:
    """A growing set of byte strings, each of which counts from some place of a job on."""

    def __init__(self) -> None:
        self.longest = 0
        self._since: dict[bytes, Place] = {}
        self._sorted: list[bytes] = []
        self._sizes: list[int] = []
        self._lengths: dict[bytes, list[int]] = {}
        self._layers: list[tuple[frozenset[bytes], BytesAhoCorasick]] = []

    def add(self, patterns: Iterable[bytes], *, since: Place) -> None:
        """Have these count from `since` on, or from where they did, if that is earlier."""
        fresh = set[bytes]()
        for pattern in patterns:
            if pattern not in self._since:
                fresh.add(pattern)
            self._since[pattern] = min(since, self._since.get(pattern, since))
        if fresh:
            self._sorted = sorted([*self._sorted, *fresh])
            self.longest = max(self.longest, *map(len, fresh))
            self._build(fresh)

    def __bool__(self) -> bool:
        return bool(self._since)

    def find(
        self, text: bytes, *, place: Place, most: int = sys.maxsize, origin: Callable[[int], int] = int
    ) -> tuple[list[tuple[int, int]], int]:
        """Where they occur in `text`, which is at `place`, and up to where it was searched.

        `origin` says how far behind `place` a byte was that is at some offset of `text` now.

        All bytes of an occurrence that begins before that are in one of the ranges. Whoever prints could make the
        search slow: it ends at the first multiple of `STRIDE` behind which it has looked at `most` beginnings.
        """
        found: list[tuple[int, int]] = []
        view = memoryview(text)
        for stride in range(0, len(text), STRIDE):
            if most <= 0:
                return found, stride
            for _, automaton in self._layers:
                for _, first, last in automaton.find_matches_as_indexes(view[stride : stride + STRIDE + HEAD - 1]):
                    for start in range(stride + first, stride + last):
                        if not any(text[start : start + size] in self._lengths for size in self._sizes):
                            continue
                        most -= 1
                        end = self._end(text, start, place, origin)
                        if found and found[-1][0] < start < found[-1][1]:
                            found[-1] = (found[-1][0], max(end, found[-1][1]))
                        elif end > start:
                            found.append((start, end))
        return found, len(text)

    def begun(self, text: bytes) -> int:
        """The length of the longest end of `text` that may be the beginning of one of them."""
        for length in range(min(self.longest - 1, len(text)), 0, -1):
            end = text[-length:]
            at = bisect_left(self._sorted, end)
            at += at < len(self._sorted) and self._sorted[at] == end
            if at < len(self._sorted) and self._sorted[at].startswith(end):
                return length
        return 0

    def _end(self, text: bytes, start: int, place: Place, origin: Callable[[int], int]) -> int:
        """Where the longest one that begins at `start` ends; `start` if there is none."""
        end = start
        for size in self._sizes:
            for length in self._lengths.get(text[start : start + size], ()):
                if start + length <= end:
                    break
                since = self._since.get(text[start : start + length])
                if since is None or start + length > len(text):
                    continue
                if since <= place or since <= (place[0], place[1] + origin(start)):
                    end = start + length
        return end

    def _build(self, fresh: set[bytes]) -> None:
        """Have each head in one automaton, each of which is larger than the next: so few are ever built again."""
        heads = frozenset(pattern[:HEAD] for pattern in fresh).difference(self._lengths)
        for pattern in fresh:
            lengths = self._lengths.setdefault(pattern[:HEAD], [])
            if len(pattern) not in lengths:
                self._lengths[pattern[:HEAD]] = sorted([*lengths, len(pattern)], reverse=True)
        self._sizes = sorted({*self._sizes, *map(len, heads)}, reverse=True)
        while heads and self._layers and len(self._layers[-1][0]) <= len(heads):
            heads |= self._layers.pop()[0]
        if heads:
            implementation = Implementation.DFA if len(heads) <= MOST_HEADS_IN_DFA else None
            automaton = BytesAhoCorasick(heads, matchkind=MatchKind.LeftmostLongest, implementation=implementation)
            self._layers.append((heads, automaton))
