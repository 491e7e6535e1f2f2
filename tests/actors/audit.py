"""An actor that writes down each of its commits, inside the commit, and marks outside what has left it."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime, timedelta

import asyncpg
from probe import query

from actors import Actor, Context, Namespace, Node, Retry

MARKS = "AUDIT_MARKS"
"""The environment's variable with the file to which operations are appended once they are durable."""

NAMESPACE = "audit"

TABLE = """
CREATE TABLE audit (
    ordinal bigint GENERATED ALWAYS AS IDENTITY,
    actor text NOT NULL, epoch bigint NOT NULL, seq bigint NOT NULL,
    op text NOT NULL, value bigint NOT NULL, due timestamptz,
    at timestamptz NOT NULL DEFAULT actors_now(), xid xid8 NOT NULL DEFAULT pg_current_xact_id()
)
"""

WRITE = query(
    "INSERT INTO audit (actor, epoch, seq, op, value, due) "
    "SELECT :name, epoch, seq, :op, :value, :due::timestamptz "
    "FROM actors.actors WHERE namespace = 'audit' AND name = :name",
    "audit_write",
)


class Audited(Actor):
    """A counter; every operation that counts has a name of its own."""

    count: int

    async def on_activate(self) -> None:
        self.count = await self.ctx.storage.get("count", int) or 0

    async def increment(self, op: str) -> int:
        """Count in a storage turn."""
        return self._count(op)

    async def wait_and_increment(self, op: str, seconds: float) -> int:
        """Count in a turn that takes a while, on what was read at its start."""
        before = self.count
        await asyncio.sleep(seconds)
        self.count = before
        return self._count(op)

    async def transact(self, op: str) -> int:
        """Count in a transaction of its own."""
        async with self.ctx.transaction() as tx:
            await tx.execute(WRITE, name=self.ctx.name, op=op, value=self.count + 1, due=None)
            self.ctx.storage.put("count", self.count + 1)
            self.ctx.after_commit(lambda: mark(op))
        self.count += 1
        return self.count

    async def remind(self, op: str, seconds: float) -> int:
        """Count now, and once more from the alarm as `alarm:op`, no earlier than in so many seconds."""
        due = self.ctx.clock.now() + timedelta(seconds=seconds)
        self.ctx.storage.put(f"due/{op}", due)
        self.ctx.set_alarm(min(due, self.ctx.schedules().get("alarm", due)))
        return self._count(op)

    async def alarm(self) -> None:
        async with self.ctx.turn():
            waiting = await self.ctx.storage.list(prefix="due/", type=datetime)
            now = self.ctx.clock.now()
            for key, due in waiting.items():
                if due <= now:
                    self.ctx.storage.delete(key)
                    self._count(f"alarm:{key.removeprefix('due/')}", due)
            later = [due for due in waiting.values() if due > now]
            if later:
                self.ctx.set_alarm(min(later))

    async def read(self) -> int:
        return self.count

    async def block(self, seconds: float) -> None:
        """Hold up the whole node."""
        time.sleep(seconds)

    def _count(self, op: str, due: datetime | None = None) -> int:
        self.count += 1
        self.ctx.storage.put("count", self.count)
        self.ctx.execute(WRITE, name=self.ctx.name, op=op, value=self.count, due=due)
        self.ctx.after_commit(lambda: mark(op))
        return self.count


def mark(op: str) -> None:
    """Tell the world, which survives any process."""
    path = os.environ.get(MARKS)
    if path:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{op}\n".encode())
        os.close(file)


def declare(node: Node) -> list[Namespace[Audited]]:
    """The namespaces of an audit's processes."""

    def make(ctx: Context) -> Audited:
        return Audited(ctx)

    return [
        node.namespace(NAMESPACE, Audited, make, retry=Retry.forever(cap=1.0, base=0.1), errors=[asyncpg.PostgresError])
    ]
