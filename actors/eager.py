"""Starting coroutines at once: the way to an actor that has nothing else to do is a function call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

SHARE = 0.001
"""Seconds after which a coroutine goes through the event loop, so that callers that never wait leave others time."""


class Eager:
    """Runs coroutines in the caller's step until they end or first wait; then an asyncio task carries them on.

    A coroutine is in that task from its first step (`asyncio.current_task`), by the functions that asyncio documents
    for implementations of tasks, and in a context of its own. Most never wait, so one task serves many.
    """

    def __init__(self) -> None:
        self._carrier: _Carrier | None = None
        self._gave_way = 0.0

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None] | None:
        """Begin the work. Returns the task that carries it on, or None where it has ended."""
        carrier = self._carrier
        if carrier is None:
            carrier = self._carrier = _Carrier()
        now = time.monotonic()
        if now - self._gave_way > SHARE or not carrier.waits:
            self._gave_way = now
            return asyncio.create_task(work, name=name, context=Context())
        carrier.task.set_name(name)
        carrier.waits = False
        loop, context, caller = carrier.loop, Context(), asyncio.current_task()
        if caller is not None:
            asyncio._leave_task(loop, caller)
        asyncio._enter_task(loop, carrier.task)
        try:
            waits_for = context.run(work.send, None)
        except StopIteration:
            return None
        finally:
            carrier.waits = True
            asyncio._leave_task(loop, carrier.task)
            if caller is not None:
                asyncio._enter_task(loop, caller)
        self._carrier = _Carrier()
        carrier.take(work, context, waits_for)
        return carrier.task

    async def close(self) -> None:
        """End the task that waits for work."""
        if self._carrier is not None:
            carrier, self._carrier = self._carrier, None
            carrier.task.cancel()
            await asyncio.wait([carrier.task])


class _Carrier:
    """A task that waits for a coroutine which has begun, and does the rest of it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waits = False
        self._taken = self.loop.create_future()
        self._rest: tuple[Coroutine[Any, Any, None], Context, Any] | None = None
        self.task = asyncio.create_task(self._run(), name="waits for a turn", context=Context())

    def take(self, work: Coroutine[Any, Any, None], context: Context, waits_for: Any) -> None:
        self.waits = False
        self._rest = (work, context, waits_for)
        self._taken.set_result(None)

    async def _run(self) -> None:
        await _Rest(self)

    def steps(self) -> Generator[Any, Any, None]:
        """What a task does with a coroutine, from the first thing on that it waits for."""
        self.waits = True
        try:
            yield from self._taken
        except asyncio.CancelledError:
            if self._rest is None:
                raise
            canceled = True
        else:
            canceled = False
        assert self._rest is not None
        work, context, waits_for = self._rest
        try:
            if canceled:
                if waits_for is not None:
                    waits_for.cancel()
                waits_for = context.run(work.throw, asyncio.CancelledError())
            while True:
                try:
                    yield waits_for
                except BaseException as error:
                    waits_for = context.run(work.throw, error)
                else:
                    waits_for = context.run(work.send, None)
        except StopIteration:
            return


class _Rest:
    def __init__(self, carrier: _Carrier) -> None:
        self._carrier = carrier

    def __await__(self) -> Generator[Any, Any, None]:
        return self._carrier.steps()
