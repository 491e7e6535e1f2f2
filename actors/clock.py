"""Time, passed to whoever needs it: the wall, a clock that never jumps, sleeping, and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol


class Deadline(AbstractAsyncContextManager[Any], Protocol):
    """A running time limit; `asyncio.Timeout` is one."""

    def expired(self) -> bool:
        """Whether the limit was reached, so that a `TimeoutError` is the limit's and not the body's own."""
        ...


class Timer(Protocol):
    """A callback to come; `asyncio.TimerHandle` is one."""

    def cancel(self) -> None:
        """Do not call back."""
        ...


class Clock(Protocol):
    """All that this package and its users know of time."""

    @property
    def any_thread(self) -> bool:
        """Whether every thread's event loop can sleep by it; one that is moved by hand belongs to one loop."""
        ...

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start, never set back, running on while the machine is suspended."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds; none or fewer give way once."""
        ...

    def timeout(self, seconds: float | None) -> Deadline:
        """Cancel the body after so many seconds (None: never) and raise `TimeoutError`, as `asyncio.timeout` does."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after so many seconds, in the running event loop."""
        ...


class SystemClock:
    """The machine's own clocks. `monotonic` is CLOCK_BOOTTIME, which, unlike Python's, counts a suspended machine."""

    any_thread = True

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> Deadline:
        return asyncio.timeout(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


class DatabaseClock:
    """A clock whose `now` is the database's, never ahead of it: sampled now and then, carried on by `monotonic`.

    Schedules are due by the database's clock, so that all nodes agree. A sample is taken as of the moment its answer
    arrived; the database was that far or farther. Before the first sample it is the given clock's own time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sampled = (clock.now(), clock.monotonic())

    @property
    def any_thread(self) -> bool:
        return self._clock.any_thread

    def sample(self, database_now: datetime) -> None:
        """Take over the database's time, read just now. From any thread."""
        self._sampled = (database_now, self._clock.monotonic())

    def now(self) -> datetime:
        sampled, at = self._sampled
        return sampled + timedelta(seconds=self._clock.monotonic() - at)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def timeout(self, seconds: float | None) -> Deadline:
        return self._clock.timeout(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self._clock.call_later(seconds, callback)
