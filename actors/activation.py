"""One life of an actor in a node's memory: from taking its ownership to eviction, a reset, or a lost lease."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from actors.actor import Actor, Context
from actors.border import is_own, message_of, told
from actors.database import LOST, Transaction
from actors.errors import ActorReset, ActorsError, ActorUnavailable, LeaseLost, TurnTimeout
from actors.kind import Kind
from actors.messages import ActorId
from actors.queries import Query
from actors.runs import Runs
from actors.schedules import Schedules
from actors.shared import Shared
from actors.storage import Storage
from actors.turn import ScheduleRow, Statement, Turn, current_turn, turn_of
from actors.waking import Woken

logger = structlog.get_logger(__name__)


class TurnLock(Protocol):
    """Where code beside turns waits for its own: the actor's mailbox, in the same order as calls."""

    async def take(self, activation: Activation) -> None:
        """Wait for an exclusive turn. Raises `ActorReset` where the activation has ended meanwhile."""
        ...

    def give(self) -> None:
        """End the turn."""
        ...

    def reset(self) -> None:
        """The activation has ended; end what is left of it."""
        ...


class Activation:
    """The actor's instance with its fence, storage and schedules, and what runs beside its turns.

    Once it is `dead` none of its turns begins or commits; whoever had one gets the reason. It is `fruitful` once
    something of it is durable.
    """

    def __init__(self, *, kind: Kind, woken: Woken, shared: Shared, lock: TurnLock) -> None:
        self.id: ActorId = woken.fence.id
        self.kind = kind
        self.fence = woken.fence
        self.schedules = Schedules(woken.schedules)
        self.clock = shared.clock
        self.faults = shared.settings.faults
        self.database = shared.database
        self.dead: BaseException | None = None
        self.wanted = False
        self.fruitful = False
        self.storage = Storage(owner=self, woken=woken, database=shared.database, queries=shared.queries)
        self.runs = Runs(self, shared.alarms)
        self._shared = shared
        self._lock = lock
        self._beside: set[asyncio.Task[None]] = set()
        self._last: asyncio.Future[None] | None = None
        self.instance: Actor = kind.make(Context(self))

    @property
    def last_commit(self) -> asyncio.Future[None] | None:
        """The commit that the actor's state waits for, where one is under way."""
        return self._last if self._last is not None and not self._last.done() else None

    def silenced(self, *, wrote: bool) -> ActorsError | None:
        """Why this node may not tell of a turn that is over and durable; None where it may.

        To be asked in the same step of the event loop in which something leaves. Of a turn that `wrote` nobody may be
        told that it did not take effect.
        """
        try:
            self._shared.lease.check(self.fence.incarnation)
        except LeaseLost as lost:
            return ActorUnavailable(f"{lost}; what the turn wrote may stand") if wrote else lost
        return None

    @property
    def busy(self) -> bool:
        """Whether work beside turns keeps it in memory."""
        return bool(self._beside)

    @property
    def unfinished(self) -> list[str]:
        """The names of the work beside turns."""
        return sorted(task.get_name() for task in self._beside)

    async def start(self, failed: dict[str, BaseException]) -> None:
        """Let the actor load itself, in its first turn, and run what is due.

        `failed` are runs that ended together with the activation before, and count as failed from now on.
        """
        with self.exclusive():
            await self.instance.on_activate()
            exhausted = self.runs.inherit(failed)
        for name in exhausted:
            self.report(failed[name], name)
        self.fire()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """A turn for code beside turns; at its end all that it has seen or written is durable."""
        if current_turn() is not None:
            raise ActorsError("this code is in a turn already")
        await self._lock.take(self)
        try:
            with self.exclusive() as turn:
                yield turn
            commit = self.last_commit
        finally:
            self._lock.give()
        if commit is not None:
            await asyncio.shield(commit)
        if (silenced := self.silenced(wrote=turn.wrote)) is not None:
            raise silenced

    def exclusive(self) -> Turn:
        """A turn for the running code, which has the actor to itself; at its end its writes are on their way."""
        return Turn(self)

    def begin(self, turn: Turn) -> None:
        """Called by a turn."""
        if self.dead is not None:
            raise _reset(self.dead)
        self._shared.count.turns += 1
        self._shared.limit.begin(turn)

    def finish(self, turn: Turn, error: BaseException | None) -> None:
        """Called by a turn."""
        self._shared.limit.end(turn)
        turn.open = False
        if error is None:
            self._commit(turn)
        elif turn.expired:
            self._time_out(turn)
        else:
            self._abort(turn, error)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """See `Context.transaction`."""
        if current_turn() is None:
            async with self.turn(), self.transaction() as tx:
                yield tx
            return
        turn = turn_of(self)
        if turn.transacting:
            raise ActorsError("the turn is in its transaction already; use that one")
        turn.transacting = True
        if self.last_commit is not None:
            await asyncio.shield(self.last_commit)
        closing = False
        try:
            async with self._shared.committer.alone(self.fence, turn) as tx:
                yield tx
                closing = True
                self._shared.limit.end(turn)  # the commit has a limit of its own, and an outcome to wait for
        except BaseException as error:
            self._abort(turn, error)
            turn.committed = True
            turn.stands = closing and isinstance(error, (ActorUnavailable, asyncio.CancelledError))
            if not isinstance(error, Exception) or isinstance(error, (ActorsError, *LOST)):
                self.end(ActorReset(f"a transaction ended with {told(error)}"))
            raise
        finally:
            self._shared.limit.begin(turn)
        turn.committed = turn.stands = True
        self._settled(turn, {name: self.schedules.version(name) for name in turn.schedules}, None, None)

    def execute(self, query: Query, rows: int | None, params: dict[str, Any]) -> None:
        turn_of(self).execute(Statement(query=query, arguments=query.arguments(params), rows=rows))

    def after_commit(self, callback: Callable[[], None]) -> None:
        turn_of(self).callbacks.append(callback)

    def schedule(self, name: str, at: datetime) -> None:
        self.kind.rule(name)
        if at.tzinfo is None:
            raise ValueError(f"the time of schedule {name!r} has no zone")
        self.write_schedule(name, ScheduleRow(due_at=at.astimezone(UTC)))

    def write_schedule(self, name: str, row: ScheduleRow) -> None:
        """Set a schedule in this turn, whatever its state."""
        turn_of(self).schedules[name] = row
        self.schedules.put(name, row)

    def ensure(self, name: str) -> None:
        """Set a schedule in this turn, due now, unless it is set."""
        if name not in self.schedules.due():
            self.schedule(name, self.clock.now())

    def unschedule(self, name: str) -> None:
        turn = turn_of(self)
        if self.schedules.delete(name):
            turn.schedules[name] = None

    def wake(self, name: str) -> None:
        schedule = self.schedules.get(name)
        if schedule is not None:
            schedule.woken = True
            self.fire()

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> None:
        turn = current_turn()
        if turn is not None and turn.owner is self and not turn.committed:
            turn.spawned.append((work, name))
        elif self.dead is not None:
            work.close()
            raise _reset(self.dead)
        else:
            self.beside(self._watch(work, name), name=name)

    def beside(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Own a piece of work that deals with its errors itself."""
        task = asyncio.create_task(work, name=f"{self.id} {name}", context=contextvars.Context())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    def fire(self) -> None:
        """Start what is due, and have the rest rung in time."""
        if self.dead is None:
            self.runs.fire()

    def end(self, reason: BaseException, *, again: bool = True) -> None:
        """Mark as dead. The mailbox then ends what runs beside; `again`: and at once makes a new activation of it."""
        if self.dead is None:
            self.dead = reason
            self.wanted = again and bool(self._beside or self.schedules.due())
            self._lock.reset()

    async def close(self) -> None:
        """End what runs beside turns, and wait until the commits under way are settled.

        What does not end within the limit of a drain leaves the activation `busy`.
        """
        self.end(ActorReset(f"{self.id} has left this node's memory"), again=False)
        beside = [task for task in self._beside if task is not asyncio.current_task()]
        for task in beside:
            task.cancel()
        if beside:
            await asyncio.wait(beside, timeout=self._shared.settings.drain_limit)
        if self.last_commit is not None:
            await asyncio.wait([self.last_commit])

    def report(self, error: BaseException, source: str) -> None:
        """Tell the actor, beside turns, of what has failed beside turns."""
        self._shared.count.errors += 1
        if self.dead is None:
            self.beside(self._tell(error, source), name="on_error")
        else:
            logger.error("actor_error", actor=str(self.id), source=source, error=told(error))

    async def _tell(self, error: BaseException, source: str) -> None:
        try:
            await self.instance.on_error(error, source)
        except BaseException as second:  # the border of side work: nobody else is left to tell
            if not is_own(second):
                raise
            self._shared.count.errors += 1
            logger.exception("on_error_failed", actor=str(self.id), source=source, error=message_of(second))

    async def _watch(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except BaseException as error:  # the border of side work
            if not is_own(error):
                raise
            if not (isinstance(error, ActorReset) and self.dead is not None):
                self.report(error, name)

    def _commit(self, turn: Turn) -> None:
        if turn.committed:
            return
        if self.dead is not None:
            _drop(turn)
            raise _reset(self.dead)
        if turn.writes:
            self.faults.reach("turn_over")
            versions = {name: self.schedules.version(name) for name in turn.schedules}
            run = self.runs.current()
            self._last = self._shared.committer.submit(self.fence, turn)
            self._last.add_done_callback(lambda done: self._settled(turn, versions, run, done.exception()))
        elif turn.callbacks or turn.spawned:
            if (commit := self.last_commit) is not None:
                commit.add_done_callback(lambda done: self._settled(turn, {}, None, done.exception()))
            else:
                self._call_back(turn)

    def _time_out(self, turn: Turn) -> None:
        """End a turn that took too long; whether a transaction of it has been committed is not said."""
        _drop(turn)
        late = TurnTimeout(f"a turn of {self.id} took more than {self._shared.limit.seconds:g} s")
        self.end(late)
        raise ActorUnavailable(f"{late}; its transaction may stand") if turn.stands else late from None

    def _abort(self, turn: Turn, error: BaseException) -> None:
        """End a turn that raised: what it did to the actor's memory is undone, and all of it that is not durable."""
        turn.open = False
        _drop(turn)
        if turn.wrote:
            self.end(ActorReset(f"a turn that had written raised {told(error)}"))

    def _settled(self, turn: Turn, versions: dict[str, int], run: str | None, error: BaseException | None) -> None:
        if error is not None:
            if run is not None and not isinstance(error, LeaseLost):
                self.runs.failed.setdefault(run, error)
            _drop(turn)
            self.end(error)
            return
        if (silenced := self.silenced(wrote=True)) is not None:
            _drop(turn)
            self.end(silenced)
            return
        self.fruitful = True
        self.storage.settle(turn)
        self.schedules.store(versions)
        self._call_back(turn)
        if versions:
            self.fire()

    def _call_back(self, turn: Turn) -> None:
        """What a turn wanted done once it is durable; nothing, where the node may not speak for the actor any more."""
        if not (turn.callbacks or turn.spawned):
            return
        if (silenced := self.silenced(wrote=turn.wrote)) is not None:
            _drop(turn)
            self.end(silenced)
            return
        for callback in turn.callbacks:
            try:
                callback()
            except Exception as error:  # the border of the turn: its commit stands
                self.report(error, "after_commit")
        if self.dead is not None:
            _drop(turn)
            return
        for work, name in turn.spawned:
            self.beside(self._watch(work, name), name=name)
        turn.spawned.clear()


def _drop(turn: Turn) -> None:
    """What a turn has spawned does not happen."""
    for work, _ in turn.spawned:
        work.close()
    turn.spawned.clear()


def _reset(reason: BaseException) -> ActorReset:
    return reason if isinstance(reason, LeaseLost) else ActorReset(str(reason))
