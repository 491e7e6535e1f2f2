"""When a failed run of a schedule is tried again."""

from __future__ import annotations

import random
from typing import Self

import msgspec


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses of 2, 4, 8 ... seconds, at most `cap`, each up to a quarter longer by chance; so many `attempts` in all.

    The defaults are those of Cloudflare's alarms, but here running out is a state that shows.
    """

    attempts: int | None = 6
    base: float = 2.0
    cap: float = 1024.0
    jitter: float = 0.25

    @classmethod
    def forever(cls, *, cap: float = 60.0, base: float = 1.0) -> Self:
        """Never give up; for an actor that the whole system rests on."""
        return cls(attempts=None, base=base, cap=cap)

    def exhausted(self, failed: int) -> bool:
        """Whether this many failed runs are all there may be."""
        return self.attempts is not None and failed >= self.attempts

    def pause(self, failed: int) -> float:
        """Seconds until the run after this many failed ones."""
        pause = min(self.cap, self.base * 2.0 ** min(failed - 1, 32))
        return pause * (1 + self.jitter * random.random())  # noqa: S311  # spreads load, hides nothing
