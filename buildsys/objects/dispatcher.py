"""The Dispatcher: what runners talk to, in the same process or behind HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import UUID

import structlog

from actors import ActorsError, Clock, Namespace
from actors.database import LOST
from buildsys.core.assignment import Assignment, Poll, PollReply, Report, ReportReply
from buildsys.errors import Unavailable
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.store.assignments import Assignments, Held
from buildsys.store.hints import Hints

logger = structlog.get_logger(__name__)

LOOK_AGAIN = 5.0
"""Seconds after which a waiting poll looks at the table without a hint."""


class Dispatcher:
    """Hands out jobs and takes reports. Holds nothing: any node may answer any runner.

    `longest_wait` is how long a poll may stay open, in seconds: until it is answered nobody knows whether its runner is
    still there, so it must be well below the silence after which a runner is given up.

    Raises `Unavailable` while database or owner are away; the runner tries again.
    """

    def __init__(
        self,
        *,
        assignments: Assignments,
        buddies: Namespace[BuildBuddy],
        hints: Hints,
        clock: Clock,
        longest_wait: float = 30.0,
    ) -> None:
        self._assignments = assignments
        self._buddies = buddies
        self._hints = hints
        self._clock = clock
        self._longest_wait = longest_wait

    async def poll(self, poll: Poll, *, token: UUID | None = None) -> PollReply:
        """Answer with news for the runner, as soon as there is any, or with none after `poll.wait` seconds.

        `token` is what a runner apart has shown: raises `Forbidden` where the runner is known by another one.
        """
        until = self._clock.monotonic() + min(poll.wait, self._longest_wait)
        with self._hints.subscribe("assignments") as changed:
            while True:
                changed.clear()
                with _away_is_unavailable():
                    reply = await self._look(poll, token)
                left = until - self._clock.monotonic()
                if reply != PollReply() or left <= 0:
                    return reply
                try:
                    async with asyncio.timeout(min(left, LOOK_AGAIN)):
                        await changed.wait()
                except TimeoutError:
                    continue

    async def report(self, report: Report, *, token: UUID | None = None) -> ReportReply:
        """Pass a report on to its build. `token` as in `poll`."""
        with _away_is_unavailable():
            if token is not None:
                await self._assignments.check_token(UUID(report.runner), token)
            return await self._buddies.get(str(report.build)).report(report)

    async def _look(self, poll: Poll, token: UUID | None) -> PollReply:
        if not await self._assignments.seen(poll, token):
            await self._assignments.check_token(UUID(poll.runner), token)
            return PollReply(revoked=poll.holding)
        held = {one.id: one for one in await self._assignments.held(UUID(poll.runner), poll.incarnation)}
        resumed = [one for id, one in held.items() if id not in poll.holding]
        room = poll.slots - len(resumed)
        fresh = await self._assignments.claim(poll, room) if room > 0 else []
        given = [await self._give(one, poll) for one in (*resumed, *fresh)]
        return PollReply(
            assignments=tuple(one for one in given if one is not None),
            cancel=tuple(id for id, one in held.items() if one.cancel and id in poll.holding and id not in poll.ending),
            revoked=tuple(id for id in poll.holding if id not in held),
        )

    async def _give(self, held: Held, poll: Poll) -> Assignment | None:
        """The assignment, or None where there is nothing to run. One that cannot be had now is asked for again."""
        runner = UUID(poll.runner)
        try:
            given = await self._buddies.get(str(held.build)).claim_job(held.id, runner, poll.incarnation)
        except ActorsError as error:
            logger.warning("assignment_not_given", build=str(held.build), error=f"{type(error).__name__}: {error}")
            return None
        if given is None:
            await self._assignments.drop(held.id, runner, poll.incarnation)
        return given


@contextlib.contextmanager
def _away_is_unavailable() -> Iterator[None]:
    try:
        yield
    except (ActorsError, *LOST) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
