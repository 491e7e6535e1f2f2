"""Nodes that share their actors: what one counts, the other counts on, and when one ends the other goes on alone.

In two terminals, with any Postgres: python examples/cluster.py postgresql://localhost/postgres 8001
                                     python examples/cluster.py postgresql://localhost/postgres 8002
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web
from counter import Counter

from actors import Database, Node, migrate


async def main(dsn: str, port: int) -> None:
    async with Database(dsn) as database:
        await migrate(database)
        address = f"http://127.0.0.1:{port}"
        node = Node(database=database, id=f"node-{port}", address=address, cluster_key="the same on all nodes")
        counters = node.namespace("counter", Counter)
        app = web.Application()
        app.add_routes(node.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with node:
            while True:
                print(await counters.get("visits").increment(), flush=True)
                await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
