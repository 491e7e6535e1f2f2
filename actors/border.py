"""The border of an actor's code: which of the errors that come out of it are its own, and how they are told."""

from __future__ import annotations

import asyncio


def is_own(error: BaseException) -> bool:
    """Whether an error is that of the code which raised it, and not meant for whoever runs that code.

    A cancellation is the code's own where nobody has cancelled the running task: it awaited what somebody else had
    cancelled.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return not isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


def message_of(error: BaseException) -> str:
    """What an error says, as text that can be sent and stored; nothing of one that fails in saying it."""
    try:
        said = str(error)
    except Exception:  # whatever it is, there is a first error that matters more
        return ""
    return said.encode(errors="replace").decode().replace("\0", "")


def told(error: BaseException) -> str:
    """An error's class and message."""
    return f"{type(error).__name__}: {message_of(error)}"
