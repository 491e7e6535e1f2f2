"""Commits: many turns of many actors in one transaction, and one actor's alone where its work needs SQL's results."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator

from actors.database import LOST, TROUBLE, Database, Transaction, row_count
from actors.errors import ActorReset, ActorUnavailable, LeaseLost, WrongRowCount
from actors.faults import FaultPoints
from actors.lease import Lease
from actors.messages import ActorId
from actors.placement import Fence, Moved, Placement
from actors.queries import Queries
from actors.turn import ScheduleRow, Statement, Turn

TRIES = 3
"""How often a group is tried whose connection was lost; then it is taken apart, lest one of it is what kills them."""

MAX_GROUP = 256
"""Turns of one transaction: enough to share an fsync, few enough to hold locks for a short time only."""


class Commit:
    """A turn on its way into the database. `done` is set when it is durable, or fails when it will never be."""

    def __init__(self, fence: Fence, turn: Turn) -> None:
        self.fence = fence
        self.turn = turn
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Never durable, and neither is what the actor did on top of it."""
        if self.fence.broken is None:
            self.fence.broken = error if isinstance(error, LeaseLost) else ActorReset(f"a turn before failed: {error}")
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # a commit nobody waits for has failed all the same; its actor knows


class _Fenced(Exception):
    """These actors are not ours any more."""

    def __init__(self, ids: set[ActorId], reason: str = "another node owns the actor") -> None:
        super().__init__(reason)
        self.ids = ids


class _Unknown(Exception):
    """The connection was lost while COMMIT was on its way."""


class Committer:
    """Commits groups, one at a time; while one is under way the next gathers.

    Each transaction first locks its actors' rows in the order of their ids and finds them under the epochs it knows.
    When a group fails it is rolled back and run again an actor at a time, and the one that fails then a turn at a time:
    only the culprit fails, and what was built on it.
    """

    def __init__(
        self, *, database: Database, queries: Queries, placement: Placement, lease: Lease, faults: FaultPoints
    ) -> None:
        self._database = database
        self._queries = queries
        self._placement = placement
        self._lease = lease
        self._faults = faults
        self._waiting: deque[Commit] = deque()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False
        self.transactions = 0
        self.turns = 0

    @property
    def waiting(self) -> int:
        """How many turns wait for the next group."""
        return len(self._waiting)

    def submit(self, fence: Fence, turn: Turn) -> asyncio.Future[None]:
        """Commit a turn's writes with the next group, after those submitted before."""
        commit = Commit(fence, turn)
        if self._stopped:
            commit.fail(ActorUnavailable("the node has stopped; nothing was written"))
            return commit.done
        self._waiting.append(commit)
        self._idle.clear()
        self._wanted.set()
        return commit.done

    async def run(self) -> None:
        """Commit what is submitted, for ever."""
        group: list[Commit] = []
        try:
            while True:
                await self._wanted.wait()
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
                await self._commit(group)
                if not self._waiting:
                    self._wanted.clear()
                    self._idle.set()
        finally:
            self._stopped = True
            for commit in (*group, *self._waiting):
                commit.fail(ActorUnavailable("the node stopped before the commit's outcome was known"))

    async def flush(self) -> None:
        """Wait until all that was submitted is settled."""
        await self._idle.wait()

    @contextlib.asynccontextmanager
    async def alone(self, fence: Fence, turn: Turn) -> AsyncIterator[Transaction]:
        """A transaction of this actor alone, its row locked first; what the turn wrote is committed with it."""
        commit = Commit(fence, turn)
        try:
            async with self._transaction([fence]) as tx:
                yield tx
                await self._write(tx, [commit])
        except _Fenced as fenced:
            raise LeaseLost(f"{fence.id}: {fenced}") from None
        except _Unknown:
            await self._find_out([commit])
            await commit.done
        self.turns += 1

    async def _commit(self, group: list[Commit]) -> None:
        for commit in group:
            if commit.fence.broken is not None:
                commit.fail(commit.fence.broken)
        group = [commit for commit in group if not commit.done.done()]
        if not group:
            return
        try:
            await self._persist(group)
        except _Fenced as fenced:
            for commit in group:
                if commit.fence.id in fenced.ids:
                    commit.fail(LeaseLost(f"{commit.fence.id}: {fenced}"))
            await self._commit(group)
        except _Unknown:
            await self._find_out(group)
        except Exception as error:  # the border of the turns in it: whatever a statement raises is theirs
            parts = _parts(group)
            if len(parts) == 1:
                group[0].fail(error)
                return
            for part in parts:
                await self._commit(part)
        else:
            self.turns += len(group)
            for commit in group:
                commit.succeed()

    async def _persist(self, group: list[Commit]) -> None:
        """One transaction. Without a database it is tried again while the lease is trusted: nothing was committed."""
        for tried in range(1, TRIES + 1):
            try:
                async with self._transaction(_fences(group)) as tx:
                    await self._write(tx, group)
            except LOST as error:
                if not self._lease.trusted:
                    reason = f"the database was lost for longer than the lease: {error}"
                    raise _Fenced({commit.fence.id for commit in group}, reason) from error
                if tried == TRIES:
                    raise
            else:
                return

    @contextlib.asynccontextmanager
    async def _transaction(self, fences: list[Fence]) -> AsyncIterator[Transaction]:
        async with self._database.session(patience=max(0.0, self._lease.left)) as session:
            transaction = session.connection.transaction()
            await transaction.start()
            try:
                await self._pass(session, fences)
                self._faults.reach("commit_begun")
                yield session
            except BaseException:
                with contextlib.suppress(*LOST):
                    await transaction.rollback()
                raise
            self._faults.reach_once_sent("commit_sent")
            try:
                await transaction.commit()
            except LOST as error:
                raise _Unknown from error
        self._faults.reach("commit_answered")
        self.transactions += 1
        for fence in fences:
            fence.seq += 1

    async def _pass(self, tx: Transaction, fences: list[Fence]) -> None:
        rows = await tx.many(
            self._queries["actor_fence"],
            namespaces=[fence.id.namespace for fence in fences],
            names=[fence.id.name for fence in fences],
            epochs=[fence.epoch for fence in fences],
            node=self._lease.node,
            incarnation=self._lease.incarnation,
        )
        if len(rows) < len(fences):
            passed = {ActorId(namespace=row["namespace"], name=row["name"]) for row in rows}
            raise _Fenced({fence.id for fence in fences} - passed)

    async def _write(self, tx: Transaction, group: list[Commit]) -> None:
        await self._write_storage(tx, group)
        await self._write_schedules(tx, group)
        sequences: dict[ActorId, list[Statement]] = {}
        for commit in group:
            sequences.setdefault(commit.fence.id, []).extend(commit.turn.statements)
        for batch in batches(sequences.values()):
            await _run(tx, batch)

    async def _write_storage(self, tx: Transaction, group: list[Commit]) -> None:
        values = {(commit.fence.id, key): data for commit in group for key, data in commit.turn.values.items()}
        put = [(id, key, data) for (id, key), data in values.items() if data is not None]
        gone = [(id, key) for (id, key), data in values.items() if data is None]
        if put:
            await tx.execute(
                self._queries["storage_put"],
                namespaces=[id.namespace for id, _, _ in put],
                names=[id.name for id, _, _ in put],
                keys=[key for _, key, _ in put],
                values=[data for _, _, data in put],
            )
        if gone:
            await self._delete(tx, "storage_delete", "keys", gone)

    async def _write_schedules(self, tx: Transaction, group: list[Commit]) -> None:
        rows = {(commit.fence.id, name): row for commit in group for name, row in commit.turn.schedules.items()}
        put = [(id, name, row) for (id, name), row in rows.items() if row is not None]
        gone = [(id, name) for (id, name), row in rows.items() if row is None]
        if put:
            stored: list[ScheduleRow] = [row for _, _, row in put]
            await tx.execute(
                self._queries["schedule_put"],
                namespaces=[id.namespace for id, _, _ in put],
                names=[id.name for id, _, _ in put],
                schedules=[name for _, name, _ in put],
                due_ats=[row.due_at for row in stored],
                attempts=[row.attempt for row in stored],
                states=[row.state for row in stored],
                errors=[row.error for row in stored],
            )
        if gone:
            await self._delete(tx, "schedule_delete", "schedules", gone)

    async def _delete(self, tx: Transaction, query: str, column: str, rows: list[tuple[ActorId, str]]) -> None:
        ids = {"namespaces": [id.namespace for id, _ in rows], "names": [id.name for id, _ in rows]}
        await tx.execute(self._queries[query], **ids, **{column: [key for _, key in rows]})

    async def _find_out(self, group: list[Commit]) -> None:
        """Whether a commit of unknown outcome is durable: with the next epoch it is over, one way or the other."""
        for part in _by_actor(group):
            fence = part[0].fence
            error = await self._look(fence)
            for commit in part:
                if error is None:
                    commit.succeed()
                else:
                    commit.fail(error)

    async def _look(self, fence: Fence) -> BaseException | None:
        while self._lease.trusted:
            try:
                now = await self._placement.acquire(fence.id)
            except TROUBLE:
                continue
            except (Moved, ActorUnavailable, LeaseLost):
                break
            before, fence.seq, fence.epoch = fence.seq, now.seq, now.epoch
            return None if now.seq == before + 1 else ActorReset(f"the commit of {fence.id} was lost on its way")
        return ActorUnavailable(f"the outcome of a commit of {fence.id} is unknown")


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


async def _run(tx: Transaction, batch: list[Statement]) -> None:
    """Run a query once for each statement, without waiting for each answer, and compare the rows touched."""
    query = batch[0].query
    arguments = [statement.arguments for statement in batch]
    if batch[0].rows is None:
        await tx.connection.executemany(query.text, arguments)
        return
    if query.counted is not None:
        touched = [row[0] for row in await tx.connection.fetchmany(query.counted, arguments)]
    else:
        touched = [row_count(await tx.connection.execute(query.text, *each)) for each in arguments]
    for statement, got in zip(batch, touched, strict=True):
        if statement.rows is not None and got != statement.rows:
            raise WrongRowCount(query.name, statement.rows, got)


def _fences(group: list[Commit]) -> list[Fence]:
    return list({commit.fence.id: commit.fence for commit in group}.values())


def _by_actor(group: list[Commit]) -> list[list[Commit]]:
    parts: dict[ActorId, list[Commit]] = {}
    for commit in group:
        parts.setdefault(commit.fence.id, []).append(commit)
    return list(parts.values())


def _parts(group: list[Commit]) -> list[list[Commit]]:
    """A failed group taken apart: by actor, and one actor's by turn."""
    parts = _by_actor(group)
    return parts if len(parts) > 1 else [[commit] for commit in group]
