"""The smallest actor: a counter that many may raise at once, and that no restart forgets.

Run it twice against any Postgres: python examples/counter.py postgresql://localhost/postgres
"""

from __future__ import annotations

import asyncio
import sys

from actors import Actor, Database, Node, migrate


class Counter(Actor):
    async def on_activate(self) -> None:
        self._count = await self.ctx.storage.get("count", int) or 0

    async def increment(self, times: int = 1) -> int:
        self._count += times
        self.ctx.storage.put("count", self._count)
        return self._count  # the answer leaves once the count is durable


async def main(dsn: str) -> None:
    async with Database(dsn) as database:
        await migrate(database)
        node = Node(database=database, id="one")
        counters = node.namespace("counter", Counter)
        async with node:
            counter = counters.get("visits")
            counts = await asyncio.gather(*(counter.increment() for _ in range(100)))
            print(f"counted from {min(counts)} to {max(counts)}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
