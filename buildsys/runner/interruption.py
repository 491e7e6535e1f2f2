"""The ways in which a job is cut short: its time is up, someone cancels it, its reports are refused, it is not ours."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from types import TracebackType
from typing import Self


class Cause(StrEnum):
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"
    REFUSED = "refused"
    REVOKED = "revoked"


class Interrupted(Exception):
    """The block was cut short; `cause` says by what."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


class Interruption:
    """A block of a job's life that may be cut short: used with `async with`, once; raises `Interrupted` at its end.

    `remaining` is the job's time in seconds, counted from here on by the monotonic clock. `spare` is the least that
    there is: a job whose limit passed while its runner was away is first seen as it is.
    """

    def __init__(self, *, remaining: float, spare: float = 1.0) -> None:
        self._timeout = asyncio.timeout(max(remaining, spare))
        self._open = False
        self.cause: Cause | None = None

    def request(self, cause: Cause) -> None:
        """Cut the block short now, or as soon as it begins. The first cause counts, but REVOKED always does."""
        if self.cause is None or cause is Cause.REVOKED:
            self.cause = cause
        if self._open and not self._timeout.expired():
            self._timeout.reschedule(0.0)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._open = True
        if self.cause is not None:
            self._timeout.reschedule(0.0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            self.cause = self.cause or Cause.TIMED_OUT
            raise Interrupted(self.cause) from None
