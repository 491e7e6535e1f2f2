"""How long to wait before looking, or trying, again."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

SHORTEST = 0.002
LONGEST = 0.05


class Pace:
    """The waits of someone who looks for news: 2 ms at first, longer while it is quiet, never over 50 ms."""

    def __init__(self) -> None:
        self._next = SHORTEST

    async def wait(self, news: asyncio.Event | None = None) -> None:
        """Until there is news, or it is time to look without any."""
        if news is None or news.is_set():
            await asyncio.sleep(self.next())
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.next()):
                await news.wait()

    def next(self) -> float:
        wait = self._next
        self._next = min(wait * 1.25, LONGEST)
        return wait

    def reset(self) -> None:
        self._next = SHORTEST


def backoff(attempt: int, *, most: float = 5.0) -> float:
    """Seconds before trying again after `attempt` failures: from 0.1 doubling to `most`, less up to half by chance."""
    longest = min(0.1 * 2.0 ** min(attempt - 1, 20), most)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the load, hides nothing
