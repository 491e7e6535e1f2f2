"""An audit under way: clients that call audited actors on processes, and the check of what came of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from audit import MARKS, NAMESPACE, TABLE
from audit_check import Op, check, row_of

from actors import ActorsError, Database, NodeSettings
from actors.testing import NodeProcess, ProcessCluster


class Audit:
    """Records what is asked and answered; at the end says whether it fits to what the database holds."""

    def __init__(self, *, database: Database, marks: Path) -> None:
        self._database = database
        self._marks = marks
        self._numbers = itertools.count(1)
        self.ops: list[Op] = []

    async def call(
        self, node: NodeProcess, actor: str, method: str = "increment", *args: object, timeout: float = 15.0
    ) -> Op:
        """One operation by way of this node, whatever comes of it."""
        op = Op(f"{method}-{next(self._numbers)}", actor, method, time.monotonic())
        self.ops.append(op)
        named = [] if method in ("read", "block") else [op.id]
        try:
            op.value = await node.call(NAMESPACE, actor, method, *named, *args, timeout=timeout)
            op.outcome = "ok"
        except ActorsError as error:
            op.outcome = "no" if error.ran == "no" else "unknown"
            op.error = f"{type(error).__name__}: {error}"
            op.retryable = error.retryable
        op.returned = time.monotonic()
        return op

    async def until_served(
        self, node: NodeProcess, actor: str, *, seconds: float = 30.0, patience: float = 0.5
    ) -> float:
        """Call until one call is answered; how many seconds that took. What is not in `patience` may still run."""
        started = time.monotonic()
        async with asyncio.timeout(seconds):
            while (await self.call(node, actor, timeout=patience)).outcome != "ok":
                assert node.alive, node.log.read_text()[-4000:]
                await asyncio.sleep(0.02)
        return time.monotonic() - started

    @asynccontextmanager
    async def load(
        self, nodes: Sequence[NodeProcess], actors: Sequence[str], *, method: str = "increment", pause: float = 0.0
    ) -> AsyncIterator[None]:
        """Meanwhile call each actor, one call after the other, by way of each node."""
        stop = asyncio.Event()

        async def client(node: NodeProcess, actor: str) -> None:
            while not stop.is_set():
                op = await self.call(node, actor, method, timeout=2.0)
                await asyncio.sleep(pause if op.outcome == "ok" else 0.05)

        async with asyncio.TaskGroup() as group:
            for node, actor in itertools.product(nodes, actors):
                group.create_task(client(node, actor))
            try:
                yield
            finally:
                stop.set()

    async def seq(self, actor: str) -> int:
        """How many commits of the actor are durable."""
        found = await self._database.pool.fetchval(
            "SELECT seq FROM actors.actors WHERE namespace = $1 AND name = $2", NAMESPACE, actor
        )
        return found or 0

    async def owner(self, actor: str) -> str | None:
        return await self._database.pool.fetchval(  # type: ignore[no-any-return]
            "SELECT owner FROM actors.actors WHERE namespace = $1 AND name = $2", NAMESPACE, actor
        )

    async def has(self, op: str) -> bool:
        return bool(await self._database.pool.fetchval("SELECT count(*) FROM audit WHERE op = $1", op))

    def counts(self) -> Counter[str]:
        return Counter(op.outcome for op in self.ops)

    async def settled(self, *, seconds: float = 30.0) -> None:
        """Wait until each reminder that is durable has had its alarm."""
        missing = (
            "SELECT count(*) FROM audit a WHERE a.op LIKE 'remind-%' "
            "AND NOT EXISTS (SELECT FROM audit b WHERE b.op = 'alarm:' || a.op)"
        )
        async with asyncio.timeout(seconds):
            while await self._database.pool.fetchval(missing):
                await asyncio.sleep(0.05)

    async def verify(self, *, clock_moved: bool = False) -> None:
        """Check everything. Whatever was under way must be over."""
        assert any(op.outcome == "ok" for op in self.ops), self.ops[:5]
        marks = self._marks.read_text().split() if self._marks.exists() else []  # before the rows, as they must be
        rows = [row_of(record) for record in await self._database.pool.fetch("SELECT * FROM audit ORDER BY ordinal")]
        wrong = check(rows, self.ops, marks, clock_moved=clock_moved)
        assert not wrong, "\n".join([f"{len(wrong)} wrong", *wrong[:20]])


@asynccontextmanager
async def audited(
    database: Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    *,
    lease_ttl: float,
    call_limit: float = 3.0,
) -> AsyncIterator[tuple[Audit, ProcessCluster]]:
    """Processes with audited actors. The audit is checked at the end of the block, once more."""
    marks = folder / "marks"
    monkeypatch.setenv(MARKS, str(marks))
    with suppress(Exception):
        await database.pool.execute("DROP TABLE audit")
    await database.pool.execute(TABLE)
    audit = Audit(database=database, marks=marks)
    settings = NodeSettings(lease_ttl=lease_ttl, call_limit=call_limit)
    async with ProcessCluster(database.dsn, size, declare="audit:declare", settings=settings) as cluster:
        yield audit, cluster
