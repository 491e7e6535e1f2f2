"""A program that runs until somebody asks it to stop, and then stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any


def run_until_stopped(running: Coroutine[Any, Any, None]) -> bool:
    """Run it to its end, or until Ctrl-C or SIGTERM cancels it: then False. A second Ctrl-C waits for no clean-up."""

    async def run() -> None:
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: this.cancelling() or this.cancel())
        await running

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(run())
        return True
    return False
