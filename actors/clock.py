"""Time, passed to whoever needs it: the wall, a clock that never jumps, sleeping, and deadlines."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

AGEING = 0.01
"""Seconds by which a sample of another machine's clock grows worse each second: a hundred times what quartz drifts."""


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
    arrived; the database was that far or farther. An answer that took long would put the clock back so far: it counts
    only once the sample before has become as uncertain (`AGEING`). Before the first it is the given clock's own time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = _Sample(clock.now(), clock.monotonic(), math.inf)

    @property
    def any_thread(self) -> bool:
        return self._clock.any_thread

    def sample(self, database_now: datetime, sent: float) -> None:
        """The database has said its time; it was asked when `monotonic` was `sent`. From any thread."""
        at = self._clock.monotonic()
        if at - sent <= self._last.took + AGEING * (at - self._last.at):
            self._last = _Sample(database_now, at, at - sent)

    def now(self) -> datetime:
        last = self._last
        return last.now + timedelta(seconds=self._clock.monotonic() - last.at)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def timeout(self, seconds: float | None) -> Deadline:
        return self._clock.timeout(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self._clock.call_later(seconds, callback)


class _Sample(NamedTuple):
    """The database's time at some `monotonic`, short of what its answer took at most, in seconds."""

    now: datetime
    at: float
    took: float
