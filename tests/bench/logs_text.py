"""What is printed where logs are measured: lines of 100 bytes, numbered, as unlike each other as a compiler's."""

from __future__ import annotations

import random

WIDTH = 100
"""Bytes of a line, its newline included."""

_WORDS = ("compiling", "linking", "src/store/records.c", "warning:", "unused", "test_archive", "ok", "-O2", "passed")


def _fillings(count: int = 4096) -> list[bytes]:
    chance = random.Random(1)
    room = WIDTH - 14
    texts = (f"{' '.join(chance.choices(_WORDS, k=8))} {chance.getrandbits(64):016x}" for _ in range(count))
    return [text.encode()[-room:].rjust(room) for text in texts]


FILLINGS = _fillings()


def numbered(first: int, count: int) -> bytes:
    """So many lines from number `first` on."""
    size = len(FILLINGS)
    return b"".join(b"%012d %s\n" % (n, FILLINGS[n % size]) for n in range(first, first + count))


def stamped(at: int, count: int) -> bytes:
    """So many lines that begin with a time, in nanoseconds."""
    return b"".join(b"%019d %s\n" % (at, FILLINGS[n][7:]) for n in range(count))
