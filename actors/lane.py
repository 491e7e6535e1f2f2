"""A lane of commits: turns go into the database in groups, one group after the other, on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import asyncpg

from actors.commit import Commit, Writes, by_actor
from actors.database import LOST, TROUBLE, Database, row_count
from actors.errors import ActorReset, ActorUnavailable, LeaseLost, WrongRowCount
from actors.faults import FaultPoints
from actors.lease import Lease
from actors.outcomes import Outcomes, unknown
from actors.placement import Fence
from actors.queries import Queries
from actors.turn import Statement

MAX_GROUP = 256
"""Turns of one group: enough to share an fsync, few enough to hold locks for a short time only."""

MAX_BYTES = 16 << 20
"""Bytes behind which a group takes no further turn; one turn may have as many."""

STEPS = 3
"""Steps of the event loop in which whoever was just answered may come with his next turn, to be in the next group."""

LIMIT = 7.0
"""Seconds for one group, longer than it may wait for a lock; then its connection counts as lost."""

TRIES = 3
"""How often a turn is tried whose connection is lost, or that is deadlocked: it may be what kills them."""

PAUSE = 0.02
"""Seconds until a lost connection is first made anew; each further try waits twice as long, a second at most."""

STATEMENTS = {"client_connection_check_interval": "1s"}
"""Settings of a lane's connection: whatever it held is free soon after this process is gone from its other end."""

LOOKUPS = STATEMENTS | {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""Further ones for a lane where statements only look up keys: planned once, by index, however small the tables were."""

CONFLICT = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class _Fenced(Exception):
    """These actors are not this node's any more; nothing was written."""

    def __init__(self, fences: set[Fence]) -> None:
        super().__init__("another node owns the actor")
        self.fences = fences


class Lane:
    """Commits one group at a time; while one is under way the next gathers.

    Turns that only store and schedule are one statement, and with it one round trip and one fsync; where statements
    were deferred there is a transaction around them. When a group fails nothing of it is written, and it is run again
    in halves, in the end an actor at a time and then a turn at a time: only the culprit fails, and what stands on it.
    """

    def __init__(
        self,
        *,
        database: Database,
        queries: Queries,
        outcomes: Outcomes,
        lease: Lease,
        faults: FaultPoints,
        settings: Mapping[str, str],
    ) -> None:
        self._database = database
        self._queries = queries
        self._outcomes = outcomes
        self._lease = lease
        self._faults = faults
        self._settings = settings
        self._connection: Any = None
        self._waiting: deque[Commit] = deque()
        self._unsettled: Counter[Fence] = Counter()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.stopped = False
        self.transactions = 0
        self.turns = 0

    def __len__(self) -> int:
        """How many turns wait for the next group."""
        return len(self._waiting)

    def has(self, fence: Fence) -> bool:
        """Whether a turn of this actor is not settled yet; the next must go the same way, to keep their order."""
        return fence in self._unsettled

    def add(self, commit: Commit) -> None:
        """Commit a turn with the next group, after those added before."""
        if self.stopped:
            commit.fail(ActorUnavailable("the node has stopped; nothing was written"))
            return
        self._waiting.append(commit)
        self._unsettled[commit.fence] += 1
        self._idle.clear()
        self._wanted.set()

    async def flush(self) -> None:
        """Wait until all that was added is settled."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit what is added, for ever."""
        group: list[Commit] = []
        try:
            while True:
                await self._wanted.wait()
                group = self._gather()
                await self._commit(group)
                for commit in group:
                    self._unsettled[commit.fence] -= 1
                    if not self._unsettled[commit.fence]:
                        del self._unsettled[commit.fence]
                if not self._waiting:
                    self._wanted.clear()
                    self._idle.set()
                    continue
                for _ in range(STEPS):
                    await asyncio.sleep(0)
        finally:
            self.stopped = True
            self._disconnect()
            for commit in (*group, *self._waiting):
                commit.fail(ActorUnavailable("the node stopped before the commit's outcome was known"))

    def _gather(self) -> list[Commit]:
        group: list[Commit] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP:
            size += self._waiting[0].turn.size
            if group and size > MAX_BYTES:
                break
            group.append(self._waiting.popleft())
        return group

    async def _commit(self, group: list[Commit], tried: int = 1) -> None:
        for commit in group:
            if commit.fence.broken is not None:
                commit.fail(commit.fence.broken)
        group = [commit for commit in group if not commit.done.done()]
        if not group:
            return
        writes = Writes(group)
        try:
            await self._write(writes)
        except _Fenced as fenced:
            for commit in group:
                if commit.fence in fenced.fences:
                    commit.fail(LeaseLost(f"{commit.fence.id}: {fenced}"))
            await self._commit(group, tried)
        except LeaseLost as error:
            for commit in group:
                commit.fail(error)
        except LOST as error:
            await self._settle(group, writes, error, tried)
        except CONFLICT as error:
            await self._again(group, error, tried)
        except Exception as error:  # the border of the turns in it: whatever a statement raises is theirs
            await self._apart(group, error, tried)
        else:
            self.turns += len(group)
            for commit in group:
                commit.succeed()

    async def _settle(self, group: list[Commit], writes: Writes, error: BaseException, tried: int) -> None:
        """After a lost answer: tell of what is durable, and try again what is not."""
        found = await self._outcomes.find(writes.fences, before={fence: fence.seq for fence in writes.fences})
        lost: list[Commit] = []
        for commit in group:
            match found.get(commit.fence):
                case True:
                    self.turns += 1
                    commit.succeed()
                case False:
                    lost.append(commit)
                case None:
                    commit.fail(unknown(commit.fence))
        for part in by_actor(lost):
            await self._again(part, ActorReset(f"a commit was lost on its way {tried} times: {error}"), tried)

    async def _again(self, group: list[Commit], error: Exception, tried: int) -> None:
        if tried < TRIES:
            await self._commit(group, tried + 1)
        else:
            await self._apart(group, error, tried)

    async def _apart(self, group: list[Commit], error: Exception, tried: int) -> None:
        """Nothing was written. Run the group again in halves, or fail the one turn that is left of it."""
        if len(group) == 1:
            group[0].fail(error)
            return
        parts = by_actor(group)
        if len(parts) > 1:
            middle = len(parts) // 2
            halves = [[commit for part in some for commit in part] for some in (parts[:middle], parts[middle:])]
        else:
            halves = [[commit] for commit in group]
        for half in halves:
            await self._commit(half, tried)

    async def _write(self, writes: Writes) -> None:
        connection = await self._connected()
        try:
            if writes.sequences:
                async with asyncio.timeout(LIMIT):
                    await self._transact(connection, writes)
            else:
                self._faults.reach("commit_begun")
                self._faults.reach_once_sent("commit_sent")
                await self._pass(connection, writes)
        except (_Fenced, asyncpg.PostgresError, WrongRowCount) as error:
            if isinstance(error, LOST):
                self._disconnect()
            raise
        except BaseException:
            self._disconnect()
            raise
        self._faults.reach("commit_answered")
        self.transactions += 1
        for fence in writes.fences:
            fence.seq += 1

    async def _transact(self, connection: Any, writes: Writes) -> None:
        await connection.execute("BEGIN")
        try:
            await self._pass(connection, writes)
            for batch in batches(writes.sequences):
                await run(connection, batch)
            self._faults.reach("commit_begun")
        except BaseException as error:
            if not isinstance(error, (*LOST, asyncio.CancelledError)):
                await connection.execute("ROLLBACK")
            raise
        self._faults.reach_once_sent("commit_sent")
        await connection.execute("COMMIT")

    async def _pass(self, connection: Any, writes: Writes) -> None:
        """Write all but the deferred statements, if all fences hold."""
        query, arguments = writes.statement(self._queries)
        rows = await connection.fetch(query.text, *arguments, timeout=LIMIT)
        if len(rows) < len(writes.fences):
            passed = {writes.fences[row["number"]] for row in rows}
            raise _Fenced(set(writes.fences) - passed)

    async def _connected(self) -> Any:
        """The lane's connection. A database that is away is waited for while the lease is trusted."""
        pause = PAUSE
        while self._connection is None or self._connection.is_closed():
            try:
                connection = await self._database.connect()
                self._connection = connection
                limit = {"idle_in_transaction_session_timeout": self._lease.idle_limit}
                for name, value in {**limit, **self._settings}.items():
                    await connection.execute("SELECT set_config($1, $2, false)", name, value)
                self._lease.check()  # it may have been taken in a database that is gone
            except TROUBLE as error:
                self._disconnect()
                if not self._lease.trusted:
                    raise LeaseLost(f"the database was lost for longer than the lease: {error}") from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            cut(connection)


def cut(connection: Any) -> None:
    """Close a connection of which nothing more is expected, at once."""
    with contextlib.suppress(asyncpg.InterfaceError):  # its pool may have noticed already
        connection.terminate()


def batches(sequences: Iterable[list[Statement]]) -> Iterator[list[Statement]]:
    """All statements in batches of one query each, so few as possible, in an order that each sequence keeps."""
    queues = [deque(sequence) for sequence in sequences if sequence]
    while queues:
        heads = Counter((queue[0].query.text, queue[0].rows is None) for queue in queues)
        [(chosen, _)] = heads.most_common(1)
        batch: list[Statement] = []
        for queue in queues:
            while queue and (queue[0].query.text, queue[0].rows is None) == chosen:
                batch.append(queue.popleft())
        queues = [queue for queue in queues if queue]
        yield batch


async def run(connection: Any, batch: list[Statement]) -> None:
    """Run a query once for each statement, without waiting for each answer, and compare the rows touched."""
    query = batch[0].query
    arguments = [statement.arguments for statement in batch]
    if batch[0].rows is None:
        await connection.executemany(query.text, arguments)
        return
    if query.counted is not None:
        touched = [row[0] for row in await connection.fetchmany(query.counted, arguments)]
    else:
        touched = [row_count(await connection.execute(query.text, *each)) for each in arguments]
    for statement, got in zip(batch, touched, strict=True):
        if statement.rows is not None and got != statement.rows:
            raise WrongRowCount(query.name, statement.rows, got)
