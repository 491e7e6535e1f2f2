"""A gate that holds work in its thread, to show that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")

PATIENCE = 60.0


class ThreadGate:
    """Work that is `held` begins, and waits until somebody opens the gate; on the event loop nobody could."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._opened = threading.Event()

    def held(self, work: Callable[P, Result]) -> Callable[P, Result]:
        def waiting(*given: P.args, **named: P.kwargs) -> Result:
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self._opened.wait(PATIENCE), "the gate was never opened: was this the event loop's own thread?"
            return work(*given, **named)

        return waiting

    def open(self) -> None:
        self._opened.set()
