"""What an actor is written with: the base class, its context, and the mark of a named schedule."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from actors.border import told
from actors.clock import Clock
from actors.database import Database, Transaction
from actors.messages import ActorId
from actors.queries import Query
from actors.storage import Storage

if TYPE_CHECKING:
    from actors.activation import Activation

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, None]])

logger = structlog.get_logger(__name__)


class ScheduleRule(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a run may take, and what goes first among those due at once: the lower number."""

    deadline: float = 900.0
    urgency: int = 10


def scheduled(*, deadline: float = 900.0, urgency: int = 10) -> Callable[[F], F]:
    """Mark a method as a named schedule, which `Context.schedule` sets by the method's name.

    A run is beside turns, as `alarm` is. One that takes more than `deadline` seconds is cancelled: it has failed.
    """

    def mark(method: F) -> F:
        method.__actors_schedule__ = ScheduleRule(deadline=deadline, urgency=urgency)  # type: ignore[attr-defined]
        return method

    return mark


class Actor:
    """A durable object. A public async method is called through stubs and is one exclusive turn.

    Fields live as long as the activation, which may end between any two turns: what must stay is stored.
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    async def on_activate(self) -> None:
        """Load what is needed, in a turn before the first call."""

    async def alarm(self) -> None:
        """Run when the schedule "alarm" is due: at least once, never two at a time, never early, beside turns."""

    async def on_error(self, error: BaseException, source: str) -> None:
        """Spawned work (by its name), or a schedule out of attempts, has failed for good. Runs beside turns."""
        logger.error("actor_error", actor=str(self.ctx.id), source=source, error=told(error))


class Context:
    """An activation as its actor sees it."""

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self.id: ActorId = activation.id
        self.name: str = activation.id.name
        self.storage: Storage = activation.storage

    @property
    def clock(self) -> Clock:
        """Time; `now` is the database's, by which schedules are due."""
        return self._activation.clock

    @property
    def database(self) -> Database:
        """The database, to read what lies outside of the actor's own storage."""
        return self._activation.database

    def turn(self) -> AbstractAsyncContextManager[object]:
        """An exclusive turn for code beside turns. Its end waits until its writes are durable, or raises."""
        return self._activation.turn()

    def execute(self, query: Query, rows: int | None = 1, **params: Any) -> None:
        """Run a statement in this turn's commit. It must touch exactly `rows` rows (None: any number).

        Otherwise the commit fails with `WrongRowCount` and nothing of the turn is written.
        """
        self._activation.execute(query, rows, params)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back once this turn's commit is durable; never when it fails. Without writes: at the turn's end."""
        self._activation.after_commit(callback)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A database transaction of one's own, for work that needs SQL's results; the fence is locked first.

        It is this turn's commit: what the turn writes besides, before or inside the block, is committed with it, and
        nothing can be written after it. Outside of a turn it is a turn of its own.
        """
        async with self._activation.transaction() as tx:
            yield tx

    def schedule(self, name: str, at: datetime) -> None:
        """Set or replace a schedule with this turn's commit. `at` is aware; a time that is past means now."""
        self._activation.schedule(name, at)

    def unschedule(self, name: str) -> None:
        """Delete a schedule with this turn's commit. A run of it that is under way is not disturbed."""
        self._activation.unschedule(name)

    def schedules(self) -> dict[str, datetime]:
        """The schedules that are set, and when they are due (next)."""
        return self._activation.schedules.due()

    def set_alarm(self, at: datetime) -> None:
        """Set or replace the schedule "alarm"."""
        self.schedule("alarm", at)

    def wake(self, name: str = "alarm") -> None:
        """Run a schedule now if it is set, or once more after the run under way: a hint, not durable, without a commit.

        It does not shorten the pause after a failed run.
        """
        self._activation.wake(name)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Work beside turns, in a context of its own; cancelled when the activation ends, which it keeps from eviction.

        Spawned in a turn it starts once the turn is durable, and never when it fails. An error of it goes to
        `Actor.on_error` with its name.
        """
        self._activation.spawn(work, name=name)
