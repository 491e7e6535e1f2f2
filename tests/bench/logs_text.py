"""What is printed where logs are measured: lines of 100 bytes, numbered, as unlike each other as a compiler's."""

from __future__ import annotations

import random

WIDTH = 100
"""Bytes of a line, its newline included."""

_WORDS = ("compiling", "linking", "src/store/records.c", "warning:", "unused", "test_archive", "ok", "-O2", "passed")


def _fillings(count: int, room: int) -> list[bytes]:
    chance = random.Random(1)
    texts = (f"{' '.join(chance.choices(_WORDS, k=8))} {chance.getrandbits(64):016x}" for _ in range(count))
    return [text.encode()[-room:].rjust(room) for text in texts]


FILLINGS = _fillings(4096, WIDTH - 14)

SECRETS = tuple(f"{random.Random(number).getrandbits(96):024x}" for number in range(20))
"""What a program's output must not show; one line of 200 has one."""

_PRINTED = "\n".join([text.decode() for text in _fillings(199, WIDTH - 8)] + [f"{f'token {SECRETS[7]}':{WIDTH - 8}}"])


def flood(lines: int) -> str:
    """Shell that prints so many numbered lines as fast as programs do."""
    return f"yes '{_PRINTED}' | head -n {lines} | cat -n"


def paced(*, ticks: int, lines: int, pause: float) -> str:
    """Shell that prints some lines, and pauses, again and again."""
    return f"text='{_PRINTED}'; for i in $(seq {ticks}); do yes \"$text\" | head -n {lines}; sleep {pause}; done"


def masked(script: str) -> str:
    """The shell, behind commands that mask the secrets."""
    return "".join(f"echo ::add-mask::{secret}\n" for secret in SECRETS) + script


def numbered(first: int, count: int) -> bytes:
    """So many lines from number `first` on."""
    size = len(FILLINGS)
    return b"".join(b"%012d %s\n" % (n, FILLINGS[n % size]) for n in range(first, first + count))


def stamped(at: int, count: int) -> bytes:
    """So many lines that begin with a time, in nanoseconds."""
    return b"".join(b"%019d %s\n" % (at, FILLINGS[n][7:]) for n in range(count))
