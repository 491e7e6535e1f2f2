"""Time by hand, for tests: it stands still until it is advanced, for nodes and for their database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from actors.clock import Deadline, Timer
from actors.database import Database

PATIENCE = 2.0
"""Real seconds for what wakes up. A lease's renewal is among it: were time to go on beside it, the answer would be
taken for younger than it is, and the node's clock would be behind once time stands still."""


class FakeClock:
    """A `Clock` that only `advance` moves; `install` makes a database decide by it too."""

    any_thread = False

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0
        self._sleeping: dict[asyncio.Future[None], _Sleep] = {}
        self._awake: set[asyncio.Task[Any]] = set()
        self._settled = asyncio.Event()
        self._limits: dict[_Limit | _Timer, float] = {}
        self._database: Database | None = None

    async def install(self, database: Database) -> None:
        """Make this the clock by which the database decides about leases and schedules, for good.

        Where another one was installed before, this one goes on from its time: a database's time never goes back.
        """
        self._database = database
        await database.pool.execute(
            "CREATE TABLE IF NOT EXISTS fake_clock (one boolean PRIMARY KEY DEFAULT true CHECK (one), now timestamptz)"
        )
        now = await database.pool.fetchval(
            "INSERT INTO fake_clock (now) VALUES ($1) "
            "ON CONFLICT (one) DO UPDATE SET now = greatest(fake_clock.now, excluded.now) RETURNING now",
            self.now(),
        )
        self._start += now - self.now()
        await database.pool.execute(
            "CREATE OR REPLACE FUNCTION actors_now() RETURNS timestamptz LANGUAGE sql VOLATILE "
            "AS 'SELECT now FROM fake_clock'"
        )

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = asyncio.current_task()
        assert sleeper is not None
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping[waiting] = _Sleep(self._passed + seconds, sleeper)
        self._sleeps(sleeper)
        try:
            await waiting
        finally:
            self._sleeping.pop(waiting, None)

    def timeout(self, seconds: float | None) -> Deadline:
        return _Limit(self._limits, None if seconds is None else self._passed + seconds, self._passed)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = _Timer(self._limits, callback)
        self._limits[timer] = self._passed + max(0.0, seconds)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass: whatever is due in between happens in its order, at its time.

        Who wakes up gets up to `PATIENCE` real seconds to do what it woke up for and go to sleep again.
        """
        until = self._passed + seconds
        while (due := min(self._due(), default=until)) < until:
            await self._go(max(due, self._passed))
        await self._go(until)

    def _due(self) -> Iterator[float]:
        yield from (sleep.until for sleep in self._sleeping.values())
        yield from self._limits.values()

    async def _go(self, passed: float) -> None:
        self._passed = passed
        if self._database is not None:
            await self._database.pool.execute("UPDATE fake_clock SET now = $1", self.now())
        for waiting, sleep in [(waiting, sleep) for waiting, sleep in self._sleeping.items() if sleep.until <= passed]:
            del self._sleeping[waiting]
            if not waiting.done():
                self._awake.add(sleep.task)
                sleep.task.add_done_callback(self._sleeps)
                waiting.set_result(None)
        for limit in [limit for limit, at in self._limits.items() if at <= passed]:
            limit.fire()
        await self._settle()

    async def _settle(self) -> None:
        """Wait until each that was woken sleeps again, or has ended. One that does neither is waited for once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._awake:
                    self._settled.clear()
                    await self._settled.wait()
        self._awake.clear()

    def _sleeps(self, task: asyncio.Task[Any]) -> None:
        """It does, or has ended."""
        task.remove_done_callback(self._sleeps)
        self._awake.discard(task)
        self._settled.set()


class _Sleep(NamedTuple):
    until: float
    task: asyncio.Task[Any]


class _Timer:
    """A callback to come on the fake clock."""

    def __init__(self, timers: dict[_Limit | _Timer, float], callback: Callable[[], None]) -> None:
        self._timers = timers
        self._callback = callback

    def fire(self) -> None:
        self._timers.pop(self, None)
        self._callback()

    def cancel(self) -> None:
        self._timers.pop(self, None)


class _Limit:
    """A deadline on the fake clock, in the clock's list from its entry to its exit."""

    def __init__(self, limits: dict[_Limit | _Timer, float], at: float | None, now: float) -> None:
        self._limits = limits
        self._at = at
        self._over = at is not None and at <= now
        self._timeout = asyncio.timeout(None)

    def fire(self) -> None:
        self._limits.pop(self, None)
        self._timeout.reschedule(asyncio.get_running_loop().time())

    def expired(self) -> bool:
        return self._timeout.expired()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        if self._over:
            self.fire()
        elif self._at is not None:
            self._limits[self] = self._at
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.pop(self, None)
        await self._timeout.__aexit__(kind, error, trace)
