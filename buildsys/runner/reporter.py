"""A job's sequence of items, sent in order until all of it counts.

The reporter keeps no queue of what it sent. It keeps the few marks of the job's life and the stored position; what
comes next is what the position does not have yet, and the log is read again from its file. So a lost answer, a repeated
one, an orchestrator that is away for an hour and one that goes back all end in the same sequence.

One report is in flight at a time, and what happens meanwhile goes with the next one. A mark waits a moment for company,
but no longer than until its step has printed.

A hostile output takes long to be read. So that is done in a thread, piece by piece, and what was read soon goes out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple

import structlog
from msgspec.structs import replace

from buildsys.core.assignment import (
    MAX_STEP_NAME,
    MAX_SUMMARY,
    Assignment,
    ContainerStarted,
    Item,
    JobStopped,
    Position,
    Report,
    ReportReply,
    StepStarted,
    StepStopped,
)
from buildsys.core.build import Outcome
from buildsys.errors import BuildsysError, Forbidden, Unauthorized, Unavailable
from buildsys.runner.folder import SETUP, JobFolder
from buildsys.runner.follow import FLOOD, LogFollower, kept
from buildsys.runner.identity import Identity
from buildsys.runner.interruption import Cause, Interruption
from buildsys.runner.journal import Journal
from buildsys.runner.masking import Masks
from buildsys.runner.orchestrator import Orchestrator
from buildsys.runner.pace import Pace, backoff
from buildsys.runner.recall import learn, recall
from buildsys.runner.sequence import advance, counts

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
Mark = ContainerStarted | StepStarted | StepStopped | JobStopped

LINGER = 0.02
"""Seconds that a mark waits for company."""

SOON = 0.25
"""Seconds after which nothing more is read for a report."""

log = structlog.get_logger(__name__)


class Reporter:
    """Reports one job. `mark` adds to its story; `run` returns when the end is stored or the job was revoked.

    A StepStopped is marked only once nothing more can come into that step's log: the log is read to its end before it.
    Never gives up: while the orchestrator is away or refuses the token, which polling decides about, it tries again, up
    to every five seconds. A report that is refused for what it says would be refused again: then the job is cut short,
    and only its end is told, with the refusal as the reason.
    """

    def __init__(
        self,
        *,
        assignment: Assignment,
        folder: JobFolder,
        identity: Identity,
        orchestrator: Orchestrator,
        interruption: Interruption,
        journal: Journal,
    ) -> None:
        self._assignment = assignment
        self._folder = folder
        self._identity = identity
        self._orchestrator = orchestrator
        self._interruption = interruption
        self._journal = journal
        self._masks = Masks((*assignment.secrets, *assignment.named_secrets.values()))
        self._position = assignment.position
        self._left = assignment.log_left
        self._marks: list[Mark] = []
        self._marked = asyncio.Event()
        self._marked_at = 0.0
        self._follower: LogFollower | None = None

    def mark(self, mark: Mark) -> None:
        """Add the next event of the job's life; one that the stored position has already is not sent again."""
        if not self._pending(self._marks):
            self._marked_at = time.monotonic()
        self._marks.append(mark)
        self._marked.set()

    async def run(self) -> None:
        try:
            if self._position.started:
                await _aside(self._go_on)
            await self._report()
        except BuildsysError as refusal:
            log.warning("report_refused", assignment=str(self._assignment.id), error=str(refusal))
            self._interruption.request(Cause.REFUSED)
            await self._report_end(f"the orchestrator refused a report of this job: {refusal}")
        finally:
            if self._follower is not None:
                self._follower.close()

    def _go_on(self) -> None:
        """Read again what an earlier life of the runner read, which may be much, up to where the reports stand."""
        if self._position.step in self._position.stopped:
            self._learn(self._journal.order)
        else:
            self._log(self._position, self._position.step, 0)

    def _is_elsewhere(self) -> bool:
        """Whether the stored log of the open step ends at another place than where we read on."""
        follower, position = self._follower, self._position
        if follower is None or follower.step != position.step:
            return False
        return (follower.offset, follower.is_cut) != (position.offset, position.cut)

    async def _report(self) -> None:
        pace = Pace()
        stalled = 0
        while True:
            items, shown = await _aside(self._gather, tuple(self._marks))
            if not items:
                await self._wait(pace)
                continue
            pace.reset()
            before = self._position
            reply = await self._send(shown)
            self._position, self._left = reply.position, reply.log_left
            if self._is_elsewhere():
                await _aside(self._go_on)
            if reply.revoked:
                self._interruption.request(Cause.REVOKED)
                return
            if reply.cancel:
                self._interruption.request(Cause.CANCELED)
            if isinstance(items[-1], JobStopped) and self._pending(self._marks) == [items[-1]]:
                return
            stalled = stalled + 1 if reply.position == before else 0
            if stalled:
                await asyncio.sleep(backoff(stalled))

    async def _report_end(self, reason: str) -> None:
        """Tell the job's end and nothing before it. Where that is refused, too, time will have the job revoked."""
        while not (self._marks and isinstance(self._marks[-1], JobStopped)):
            await self._marked.wait()
            self._marked.clear()
        end = JobStopped(outcome=Outcome.ERRORED, reason=storable(reason), at=self._marks[-1].at)
        attempt = 0
        while True:
            try:
                await self._send((self._masked(end),))
            except BuildsysError:
                attempt += 1
                await asyncio.sleep(backoff(attempt))
            else:
                return

    async def _send(self, items: tuple[Item, ...]) -> ReportReply:
        report = Report(
            assignment=self._assignment.id,
            build=self._assignment.build,
            runner=self._identity.id,
            incarnation=self._identity.incarnation,
            items=items,
        )
        attempt = 0
        while True:
            try:
                return await self._orchestrator.report(report)
            except (Unavailable, Unauthorized, Forbidden) as error:
                attempt += 1
                if attempt == 1:
                    log.warning("report_not_taken", assignment=str(report.assignment), error=str(error))
                await asyncio.sleep(backoff(attempt))

    def _masked(self, item: Item) -> Item:
        """An item without what is a secret by now; of outputs that hold one only the names are told, as on GitHub."""
        mask = self._masks.mask
        match item:
            case StepStarted(name=str() as name):
                return replace(item, name=mask(name)[:MAX_STEP_NAME])
            case StepStopped(summary=str() as summary):
                return replace(item, summary=mask(summary)[:MAX_SUMMARY])
            case JobStopped(reason=reason, outputs=outputs):
                shown = {name: value for name, value in outputs.items() if mask(value) == value}
                withheld = tuple(name for name in outputs if name not in shown)
                return replace(item, reason=reason and mask(reason), outputs=shown, withheld=withheld)
            case _:
                return item

    def _gather(self, marks: tuple[Mark, ...]) -> tuple[list[Item], tuple[Item, ...]]:
        """What to send now, which is nothing while nothing is due, and what it looks like masked."""
        items = self._due(marks)
        return items, tuple(self._masked(item) for item in items)

    def _due(self, marks: tuple[Mark, ...]) -> list[Item]:
        pending, step = self._pending(marks), _open_step(marks)
        ending = bool(pending) and isinstance(pending[-1], JobStopped)
        if pending and not ending and self._linger() > 0 and not self._has_printed(step):
            return []
        items: list[Item] = []
        position, sent, printed, began = self._position, 0, 0, time.monotonic()
        for mark in pending:
            over = (
                mark.step if isinstance(mark, StepStopped) else mark.parent if isinstance(mark, StepStarted) else None
            )
            if over == position.step and over in position.started:
                while (batch := self._log(position, over, printed).finish()) is not None:
                    items.append(batch)
                    position, sent = advance(position, batch), sent + batch.end - batch.offset
                    printed += 0 if over == SETUP else batch.end - batch.offset
                    if sent >= FLOOD or time.monotonic() - began >= SOON:
                        return items
                if isinstance(mark, StepStopped):
                    mark = replace(mark, end=position.offset, lost=self._log(position, over, printed).lost)
            items.append(mark)
            position = advance(position, mark)
        if step is not None and not ending:
            batch = self._log(position, step, printed).take(eager=bool(pending))
            if batch is not None:
                items.append(batch)
        return items

    async def _wait(self, pace: Pace) -> None:
        """Until a mark comes, one has waited long enough, or it is time to look into the open step's log."""
        delay: float | None = None
        if _open_step(self._marks) is not None:
            delay = pace.next()
        if self._pending(self._marks):
            delay = min(self._linger(), delay or LINGER)
        try:
            async with asyncio.timeout(delay):
                await self._marked.wait()
                self._marked.clear()
                pace.reset()
        except TimeoutError:
            return

    def _linger(self) -> float:
        """The seconds that the oldest mark may still wait."""
        return max(self._marked_at + LINGER - time.monotonic(), 0.0)

    def _has_printed(self, step: int | None) -> bool:
        """Whether the open step is one of the workflow's own and has printed."""
        return step not in (None, SETUP) and self._folder.has_log(step)

    def _pending(self, marks: Sequence[Mark]) -> list[Mark]:
        """Those that do not count yet. A job may have a thousand steps: which of them have begun is looked up."""
        begun = frozenset(self._position.started)
        return [
            mark
            for mark in marks
            if not (mark.step in begun if isinstance(mark, StepStarted) else counts(self._position, mark))
        ]

    def _learn(self, steps: Sequence[int]) -> None:
        learn(self._masks, folder=self._folder, steps=steps, limit=kept(self._assignment.log_limit))

    def _log(self, position: Position, step: int, printed: int) -> LogFollower:
        """The log of a step as it goes on behind a position, for which steps printed so much behind the stored one."""
        offset, is_cut = (position.offset, position.cut) if position.step == step else (0, False)
        follower = self._follower
        if follower is None or (follower.step, follower.offset, follower.is_cut) != (step, offset, is_cut):
            if follower is not None:
                follower.close()
            limit = self._assignment.log_limit
            order = self._journal.order
            self._learn(order[: order.index(step)] if step in order else order if step != SETUP else ())
            mask, commands = recall(self._masks, folder=self._folder, step=step, offset=offset)
            follower = LogFollower(folder=self._folder, mask=mask, commands=commands, log_limit=limit, is_cut=is_cut)
            self._follower = follower
        follower.allow(self._left - printed)
        return follower


def _open_step(marks: Sequence[Mark]) -> int | None:
    for mark in reversed(marks):
        if isinstance(mark, StepStarted):
            return mark.step
        if isinstance(mark, StepStopped):
            return None
    return None


async def _aside(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do this in a thread, and even if nobody wants it any more, wait for its end: it reads the log."""
    working = asyncio.create_task(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    finally:
        await asyncio.wait([working])


def storable(text: str) -> str:
    """The text without what no database takes: NULs and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
