"""Commits: many turns of many actors in one, and one actor's alone where its work needs SQL's results."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from actors.commit import Commit, Writes
from actors.database import LOST, Database, Transaction
from actors.errors import ActorReset, LeaseLost
from actors.faults import FaultPoints
from actors.lane import LIMIT, LOOKUPS, STATEMENTS, Lane, batches, cut, run
from actors.lease import Lease
from actors.outcomes import Outcomes, unknown
from actors.placement import Fence, Placement
from actors.queries import Queries
from actors.turn import Turn


class Committer:
    """Sends turns into the database by two lanes.

    One is for turns that only store and schedule, which never wait for a lock of anybody else. The other is for those
    with deferred statements, so that one that waits holds up none of the first. An actor stays in its lane while a turn
    of it is unsettled: its commits are strictly in order.
    """

    def __init__(
        self, *, database: Database, queries: Queries, placement: Placement, lease: Lease, faults: FaultPoints
    ) -> None:
        self._database = database
        self._queries = queries
        self._lease = lease
        self._faults = faults
        self._outcomes = Outcomes(placement=placement, lease=lease)
        self._plain, self._statements = (
            Lane(
                database=database,
                queries=queries,
                outcomes=self._outcomes,
                lease=lease,
                faults=faults,
                settings=settings,
            )
            for settings in (LOOKUPS, STATEMENTS)
        )
        self._alone = 0

    @property
    def waiting(self) -> int:
        """How many turns wait for the next group."""
        return len(self._plain) + len(self._statements)

    @property
    def transactions(self) -> int:
        """How many commits there were."""
        return self._plain.transactions + self._statements.transactions + self._alone

    @property
    def turns(self) -> int:
        """How many turns these held."""
        return self._plain.turns + self._statements.turns + self._alone

    def submit(self, fence: Fence, turn: Turn) -> asyncio.Future[None]:
        """Commit a turn's writes with the next group, after those of the actor that were submitted before."""
        commit = Commit(fence, turn)
        if self._statements.has(fence) or (turn.statements and not self._plain.has(fence)):
            self._statements.add(commit)
        else:
            self._plain.add(commit)
        return commit.done

    async def run(self) -> None:
        """Commit what is submitted, for ever."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._plain.run(), name="commits")
            lanes.create_task(self._statements.run(), name="commits with statements")

    async def flush(self) -> None:
        """Wait until all that was submitted is settled."""
        await self._plain.flush()
        await self._statements.flush()

    @contextlib.asynccontextmanager
    async def alone(self, fence: Fence, turn: Turn) -> AsyncIterator[Transaction]:
        """A transaction of this actor alone, its row locked first; what the turn wrote is committed with it.

        Cancelled while it commits it goes on to its end, and then is cancelled.
        """
        async with self._database.session(patience=max(0.0, self._lease.left)) as session:
            self._lease.check()
            try:
                await session.connection.execute(
                    f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{self._lease.idle_limit}'"
                )
                await self._open(session, fence)
                self._faults.reach("commit_begun")
                yield session
                await self._write(session, fence, turn)
            except (*LOST, asyncio.CancelledError):
                cut(session.connection)
                raise
            except BaseException:
                await session.connection.execute("ROLLBACK")
                raise
            await _to_its_end(self._close(session, fence))
        self._alone += 1

    async def _open(self, session: Transaction, fence: Fence) -> None:
        query = self._queries["commit_open"]
        if await session.one(query, namespace=fence.id.namespace, name=fence.id.name, epoch=fence.epoch) is None:
            raise LeaseLost(f"{fence.id}: another node owns the actor")
        if fence.broken is not None:
            raise fence.broken

    async def _write(self, session: Transaction, fence: Fence, turn: Turn) -> None:
        writes = Writes([Commit(fence, turn)])
        if turn.values or turn.schedules:
            query, arguments = writes.statement(self._queries, step=0)
            if not await session.connection.fetch(query.text, *arguments):
                raise LeaseLost(f"{fence.id}: the lease was over before the transaction was")
        for batch in batches(writes.sequences):
            await run(session.connection, batch)

    async def _close(self, session: Transaction, fence: Fence) -> None:
        self._faults.reach_once_sent("commit_sent")
        try:
            async with asyncio.timeout(LIMIT):
                await session.connection.execute("COMMIT")
        except LOST as error:
            cut(session.connection)
            found = await self._outcomes.find([fence], before={fence: fence.seq})
            if fence not in found:
                raise unknown(fence) from error
            if not found[fence]:
                raise ActorReset(f"the commit of {fence.id} was lost on its way: {error}") from error
        else:
            fence.seq += 1
        self._faults.reach("commit_answered")


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work that a cancellation must not cut short: it ends in its own time, and then the cancellation goes on."""
    task = asyncio.create_task(work, name="the commit of a transaction")
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait([task])
