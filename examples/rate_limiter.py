"""A rate limiter that no restart resets: each caller may take some at once, and then so many a second.

Run it twice against any Postgres: python examples/rate_limiter.py postgresql://localhost/postgres
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

import msgspec

from actors import Actor, Context, Database, Node, migrate


class Bucket(msgspec.Struct, frozen=True):
    tokens: float
    at: datetime


class RateLimiter(Actor):
    """A bucket of `burst` tokens, which fills at `rate` tokens a second."""

    def __init__(self, ctx: Context, *, rate: float, burst: int) -> None:
        super().__init__(ctx)
        self._rate = rate
        self._burst = burst

    async def on_activate(self) -> None:
        full = Bucket(self._burst, self.ctx.clock.now())
        self._bucket = await self.ctx.storage.get("bucket", Bucket) or full

    async def take(self, tokens: int = 1) -> float:
        """Take so many tokens and return 0.0, or take none and return the seconds until there are enough."""
        now = self.ctx.clock.now()
        filled = self._bucket.tokens + self._rate * (now - self._bucket.at).total_seconds()
        left = min(filled, self._burst) - tokens
        if left < 0:
            return -left / self._rate
        self._bucket = Bucket(left, now)
        self.ctx.storage.put("bucket", self._bucket)
        return 0.0


async def main(dsn: str) -> None:
    async with Database(dsn) as database:
        await migrate(database)
        node = Node(database=database, id="one")
        limiters = node.namespace("rate_limiter", RateLimiter, lambda ctx: RateLimiter(ctx, rate=0.01, burst=3))
        async with node:
            waits = [await limiters.get("alice").take() for _ in range(5)]
            print(f"{waits.count(0.0)} of {len(waits)} were let through")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
