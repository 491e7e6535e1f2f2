"""The runs of an actor's schedules: started most urgent first, each on its own, settled by a commit."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog

from actors.alarms import Alarms
from actors.border import is_own, told
from actors.errors import ActorReset, ActorUnavailable, LeaseLost
from actors.turn import ScheduleRow

if TYPE_CHECKING:
    from actors.activation import Activation

MAX_ERROR = 2000
"""Characters of a failed run's error that are stored."""

logger = structlog.get_logger(__name__)


class Runs:
    """Runs the schedules of one activation. `failed` holds the failures that could not be stored before it ended."""

    __slots__ = ("_activation", "_alarms", "_tasks", "failed")

    def __init__(self, activation: Activation, alarms: Alarms) -> None:
        self._activation = activation
        self._alarms = alarms
        self._tasks: dict[asyncio.Task[object], str] = {}
        self.failed: dict[str, BaseException] = {}

    def current(self) -> str | None:
        """The schedule whose run the calling code is."""
        task = asyncio.current_task()
        return None if task is None else self._tasks.get(task)

    def fire(self) -> None:
        """Start all that is due, and have the rest rung in time. A run never waits for another one."""
        rules = self._activation.kind.rules
        due, following = self._activation.schedules.survey(self._activation.clock.now(), rules)
        due.sort(key=lambda name: rules[name].urgency)
        for name in due:
            self.start(name)
        if following is not None:
            self._alarms.note(following, self._activation.id)

    def start(self, name: str) -> asyncio.Task[None]:
        """Run a schedule that is ready, due or not."""
        schedule = self._activation.schedules.get(name)
        assert schedule is not None
        assert schedule.ready
        schedule.running = True
        schedule.woken = False
        return self._activation.beside(self._run(name, schedule.version, schedule.row), name=name)

    def inherit(self, failed: dict[str, BaseException]) -> list[str]:
        """Note in this turn which runs failed together with the activation before; those that were the last."""
        stored = {name: self._activation.schedules.get(name) for name in failed}
        return [
            name
            for name, schedule in stored.items()
            if schedule is not None and self._fail(name, schedule.version, schedule.row, failed[name])
        ]

    async def _run(self, name: str, version: int, row: ScheduleRow) -> None:
        activation = self._activation
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = name
        try:
            activation.faults.reach("alarm_due")
            error = await self._attempt(name)
            if error is None:
                activation.faults.reach("alarm_run_done")
                await asyncio.sleep(0)
                await self._alarms.all_rung.wait()
            try:
                await self._settle(name, version, row, error)
            except ActorReset:
                if error is not None and not isinstance(error, LeaseLost):
                    self.failed.setdefault(name, error)
            except ActorUnavailable:
                pass  # the next activation sees what has become of it
        finally:
            del self._tasks[task]
            activation.schedules.ran(name)
        activation.fire()

    async def _attempt(self, name: str) -> BaseException | None:
        rule = self._activation.kind.rule(name)
        limit = self._activation.clock.timeout(rule.deadline)
        try:
            async with limit:
                await getattr(self._activation.instance, name)()
        except TimeoutError as error:
            return TimeoutError(f"the run took more than {rule.deadline:g} s") if limit.expired() else error
        except BaseException as error:  # the border of side work: it is stored, and tried again
            if not is_own(error):
                raise
            return error
        return None

    async def _settle(self, name: str, version: int, row: ScheduleRow, error: BaseException | None) -> None:
        activation = self._activation
        if error is None:
            if activation.schedules.version(name) == version:
                async with activation.turn():
                    if activation.schedules.version(name) == version:
                        activation.unschedule(name)
            return
        if isinstance(error, ActorReset) and activation.dead not in (None, error):
            return  # the activation ended for a reason of its own, and the schedule is still set
        logger.warning("schedule_failed", actor=str(activation.id), schedule=name, error=told(error))
        async with activation.turn():
            exhausted = self._fail(name, version, row, error)
        if exhausted:
            activation.report(error, name)

    def _fail(self, name: str, version: int, row: ScheduleRow, error: BaseException) -> bool:
        """Note a failed run in this turn; whether it was the last one there may be.

        A schedule that was set again meanwhile is tried at that time, or after the pause, whichever comes first.
        """
        activation = self._activation
        schedule, retry = activation.schedules.get(name), activation.kind.retry
        if schedule is None:
            return True
        failed = row.attempt + 1
        set_again = schedule.row if schedule.version != version else None
        if retry.exhausted(failed):
            last = set_again or msgspec.structs.replace(row, attempt=failed, state="exhausted")
            activation.write_schedule(name, msgspec.structs.replace(last, error=told(error)[:MAX_ERROR]))
            return True
        due = activation.clock.now() + timedelta(seconds=retry.pause(failed))
        if set_again is not None:
            due = min(due, set_again.due_at)
        activation.write_schedule(name, ScheduleRow(due_at=due, attempt=failed, error=told(error)[:MAX_ERROR]))
        return False
