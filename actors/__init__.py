"""Durable objects on Postgres.

An *actor* is a named object of a class, of which there is at most one. It lives in the memory of one *node* while it
has something to do, and in Postgres always. Nobody creates, finds or stops it: one calls it by its name. A whole
program:

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

Run with the URL of any Postgres (15 or later; `migrate` makes the tables, among whatever is there) it prints `counted
from 1 to 100`, and `from 101 to 200` the next time.

1. **One writer.** At most one node writes for an actor. Every commit proves inside its transaction that the node's
   lease holds, by the database's clock, and that the actor's epoch is the latest. A stale owner writes nothing and
   gets `LeaseLost`.
2. **A turn.** A called method is one turn: exclusive on the actor, its writes one commit. When it raises, none of them
   happens, and if there were any the actor is loaded anew. Turns are short. Schedules and spawned work run beside turns
   and open their own with `async with self.ctx.turn()`. A turn that calls an actor raises `NestedCall`, so that actors
   cannot wait for each other.
3. **The reply leaves after the commit,** and so does every other effect. What must happen to someone else is written
   down in the turn, as a schedule, and done from there until it holds.
4. **Two ways to write.** Writes to storage, schedules and deferred statements are committed in groups: while one commit
   is under way the next gathers, many turns of many actors in one transaction. A turn may run on the state of one that
   is not yet durable; its reply waits. `Context.transaction` is for work that needs the results of SQL.
5. **Schedules** are durable in the same commit as the data, and run at least once, never two at a time, never early. A
   failed run is tried again with growing pauses; running out of attempts is a state that shows.
6. **Calls** are the same inside a process and across nodes: copied, in order on one stub, run at most once.
   `ActorUnavailable` means that no answer came; its `ran` says whether the call may have run all the same.
7. **Takeover.** When a node dies its actors are called to life elsewhere as soon as its lease is over; a node that
   leaves in order hands them over at once. A lost database is waited out.
8. **Eviction.** Idle actors leave memory. Nothing may depend on a field that survives.

**Time and limits.** What an actor must know of time it asks `ctx.clock`, which all nodes agree on. A rate limiter's one
method, of `examples/rate_limiter.py`; its fields are loaded in `on_activate`, as above:

    now = self.ctx.clock.now()
    filled = self._bucket.tokens + self._rate * (now - self._bucket.at).total_seconds()
    left = min(filled, self._burst) - tokens
    if left < 0:
        return -left / self._rate
    self._bucket = Bucket(left, now)
    self.ctx.storage.put("bucket", self._bucket)
    return 0.0

**Following.** A turn is short, so nobody waits in one for news. Whoever follows an actor keeps a cursor, asks for what
comes after it, and so gets each thing once, whatever dies meanwhile. From `examples/chat_room.py`:

    while True:
        try:
            messages = await room.read(after)
        except ActorUnavailable:
            messages = []
        for text in messages:
            yield text
        after += len(messages)
        await asyncio.sleep(0.05)

**Several nodes** share one database, each under an `id` and an `address` of its own, all with the same `cluster_key`,
which a node that is alone does without, and the same namespaces. Each serves its routes at its address, to the other
nodes only. From `examples/cluster.py`:

    address = f"http://127.0.0.1:{port}"
    node = Node(database=database, id=f"node-{port}", address=address, cluster_key="the same on all nodes")
    counters = node.namespace("counter", Counter)
    app = web.Application()
    app.add_routes(node.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()

**Tests** use a database of their own, as `FakeClock.install` stops its time for good: `fresh_database` makes one and
drops it. `Cluster` runs nodes in the test's process; `cluster.declared` has what `declare` returned for each. Time
passes by `advance` alone. The names are those of `actors.testing`:

    async def test_the_limit_holds(database: Database) -> None:
        def declare(node: Node) -> Namespace[RateLimiter]:
            return node.namespace("rate_limiter", RateLimiter, lambda ctx: RateLimiter(ctx, rate=1.0, burst=3))

        clock = FakeClock()
        await clock.install(database)
        async with Cluster(database, 1, declare=declare, clock=clock) as cluster:
            alice = cluster.declared[0].get("alice")
            assert [await alice.take() for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
            await evict(alice)
            assert await alice.take() == 1.0
            await clock.advance(1)
            assert await alice.take() == 0.0

It has more, to look into an actor, to run its schedules, and to kill nodes.
"""

from actors.actor import Actor, Context, scheduled
from actors.clock import Clock, SystemClock
from actors.database import Database, Transaction
from actors.errors import (
    ActorReset,
    ActorsError,
    ActorUnavailable,
    BadCall,
    CallFailed,
    DatabaseUnavailable,
    LeaseLost,
    MigrationChanged,
    MigrationError,
    NestedCall,
    NodeReplaced,
    Overloaded,
    QueryError,
    SchemaTooNew,
    TurnTimeout,
    WrongRowCount,
)
from actors.messages import ActorId
from actors.migrations import migrate
from actors.namespace import Exhausted, Namespace
from actors.node import Neighbour, Node, Statistics
from actors.queries import Query, load_queries
from actors.retry import Retry
from actors.shared import NodeSettings
from actors.storage import Storage

__all__ = [
    "Actor",
    "ActorId",
    "ActorReset",
    "ActorUnavailable",
    "ActorsError",
    "BadCall",
    "CallFailed",
    "Clock",
    "Context",
    "Database",
    "DatabaseUnavailable",
    "Exhausted",
    "LeaseLost",
    "MigrationChanged",
    "MigrationError",
    "Namespace",
    "Neighbour",
    "NestedCall",
    "Node",
    "NodeReplaced",
    "NodeSettings",
    "Overloaded",
    "Query",
    "QueryError",
    "Retry",
    "SchemaTooNew",
    "Statistics",
    "Storage",
    "SystemClock",
    "Transaction",
    "TurnTimeout",
    "WrongRowCount",
    "load_queries",
    "migrate",
    "scheduled",
]
