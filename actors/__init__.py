"""Durable objects on Postgres.

An *actor* is a named object of a class, of which there is at most one. It lives in the memory of one *node* while it
has something to do, and in Postgres always. Nobody creates, finds or stops it: one calls it by its name.

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
   `ActorUnavailable` means that nobody knows whether it ran.
7. **Takeover.** When a node dies its actors are called to life elsewhere as soon as its lease is over; a node that
   leaves in order hands them over at once. A lost database is waited out.
8. **Eviction.** Idle actors leave memory. Nothing may depend on a field that survives.
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
    LeaseLost,
    NestedCall,
    Overloaded,
    TurnTimeout,
    WrongRowCount,
)
from actors.messages import ActorId
from actors.migrations import migrate
from actors.namespace import Exhausted, Namespace
from actors.node import Node, Statistics
from actors.queries import Query, load_queries
from actors.retry import Retry
from actors.shared import NodeSettings

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
    "Exhausted",
    "LeaseLost",
    "Namespace",
    "NestedCall",
    "Node",
    "NodeSettings",
    "Overloaded",
    "Query",
    "Retry",
    "Statistics",
    "SystemClock",
    "Transaction",
    "TurnTimeout",
    "WrongRowCount",
    "load_queries",
    "migrate",
    "scheduled",
]
