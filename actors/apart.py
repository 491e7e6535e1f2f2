"""Work in a thread with an event loop of its own, owned by whoever awaits it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

CLOSE = 5.0
"""Seconds that cancelled work may take to clean up."""


async def run_apart(work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
    """Run work in a thread of its own, as if it ran here: its error is raised, and who cancels this cancels it.

    The thread has ended when this returns, and never keeps the process from ending.
    """
    here, there = asyncio.get_running_loop(), asyncio.new_event_loop()
    done: asyncio.Future[None] = here.create_future()

    def settle(error: BaseException | None) -> None:
        if error is None or isinstance(error, asyncio.CancelledError):
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: there) as runner:
                runner.run(work())
        except BaseException as raised:  # it is raised where the work is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # nobody awaits it in a loop that is closed
            here.call_soon_threadsafe(settle, error)

    def cancel() -> None:
        for task in asyncio.all_tasks(there):
            task.cancel()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        with contextlib.suppress(RuntimeError):  # it has ended by itself just now
            there.call_soon_threadsafe(cancel)
        async with asyncio.timeout(CLOSE):
            await done
        raise
    finally:
        if done.done():
            thread.join()
