"""A watch over the event loop: whether it moves, and whose step holds it up."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import datetime
from types import FrameType

import msgspec
import structlog

from actors.clock import Clock

logger = structlog.get_logger(__name__)

BEAT = 0.1
"""Seconds between two beats of a loop that moves."""

LOOK = 0.02
"""Seconds between two looks at the running step, and the error of what is said about its length."""

LONG = 0.1
"""Seconds for which one step may keep all others waiting."""

VERY_LONG = 1.0
"""Seconds after which the step's stack is worth its lines in the log."""

_RUN_ONCE = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A step that held up the event loop.

    `by` is the task it belongs to: of an actor's turns, of one of its schedules, or of work that it spawned. `code` is
    the function that the step was in.
    """

    at: datetime
    seconds: float
    by: str
    code: str
    stack: str | None


class Watchdog:
    """Watches one event loop from another thread.

    `beat` runs in the loop that is watched, `watch` in another thread's. A step that holds the interpreter's lock all
    along, inside one call of a C function, cannot be seen, nor can one of an event loop that is not asyncio's own.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._beat = clock.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._step: FrameType | None = None
        self._since = 0.0
        self._block: Block | None = None
        self.blocks = 0
        self.last: Block | None = None

    @property
    def age(self) -> float:
        """Seconds since the loop last moved."""
        return self._clock.monotonic() - self._beat

    @property
    def running(self) -> Block | None:
        """The step that holds up the loop right now."""
        return self._block

    async def beat(self) -> None:
        """Show that this loop moves, for ever."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        while True:
            self._beat = self._clock.monotonic()
            await asyncio.sleep(BEAT)

    async def watch(self) -> None:
        """Look at the running step, for ever; each long one is logged once, when it is over."""
        while True:
            self._look()
            await asyncio.sleep(LOOK)

    def _look(self) -> None:
        now = self._clock.monotonic()
        top = sys._current_frames().get(self._thread or 0)
        frames = list(_inwards(top))
        step = frames[0] if frames else None
        if step is not self._step:
            self._over()
            self._step, self._since = step, now
        elif step is not None and now - self._since > LONG:
            self._note(frames, now - self._since)

    def _note(self, frames: list[FrameType], seconds: float) -> None:
        if self._block is None:
            task = asyncio.current_task(self._loop)
            by = "a callback" if task is None else task.get_name()
            block = Block(at=self._clock.now(), seconds=seconds, by=by, code=_code(frames), stack=None)
        else:
            block = msgspec.structs.replace(self._block, seconds=seconds)
        if seconds > VERY_LONG and block.stack is None:
            block = msgspec.structs.replace(block, stack="".join(traceback.format_stack(frames[-1])))
        self._block = block

    def _over(self) -> None:
        block, self._block = self._block, None
        if block is not None:
            self.blocks += 1
            self.last = block
            logger.warning(
                "event_loop_held", by=block.by, code=block.code, seconds=round(block.seconds, 2), stack=block.stack
            )


def _inwards(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a loop's running step from its start on; none where the loop waits."""
    inside: list[FrameType] = []
    while frame is not None and frame.f_code is not _RUN_ONCE:
        inside.append(frame)
        frame = frame.f_back
    if frame is not None and inside and inside[-1].f_code is asyncio.Handle._run.__code__:
        yield from reversed(inside)


def _code(frames: list[FrameType]) -> str:
    """The outermost function that is neither asyncio's nor this package's, else the innermost of all."""
    names = (str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames)
    own = (frame for frame, name in zip(frames, names, strict=True) if name not in ("asyncio", "actors"))
    return next(own, frames[-1]).f_code.co_qualname
