"""The schedules of one activation, in memory: what is set, what is stored, what runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from actors.turn import ScheduleRow


class Schedule:
    """One schedule. `version` counts its changes; it may only run in the version that is `stored`.

    `noted` is the time for which it will be rung.
    """

    def __init__(self, row: ScheduleRow, *, version: int = 1, stored: int = 1) -> None:
        self.row = row
        self.version = version
        self.stored = stored
        self.noted: datetime | None = None
        self.running = False
        self.woken = False

    @property
    def ready(self) -> bool:
        return self.row.state == "set" and not self.running and self.stored == self.version

    def is_due(self, now: datetime) -> bool:
        """Whether to run it now: its time has come, or a hint has, and its last run did not fail."""
        return self.ready and (self.row.due_at <= now or (self.woken and self.row.attempt == 0))


class Schedules:
    """All schedules of an activation by name. A deleted one stays, without a row, while it runs."""

    def __init__(self, stored: Mapping[str, ScheduleRow]) -> None:
        self._all = {name: Schedule(row) for name, row in stored.items()}
        self._gone: set[str] = set()

    def get(self, name: str) -> Schedule | None:
        """A schedule that is set or exhausted."""
        return None if name in self._gone else self._all.get(name)

    def names(self) -> list[str]:
        return [name for name in self._all if name not in self._gone]

    def due(self) -> dict[str, datetime]:
        """The schedules that are set."""
        found = ((name, self.get(name)) for name in self._all)
        return {name: one.row.due_at for name, one in found if one is not None and one.row.state == "set"}

    def put(self, name: str, row: ScheduleRow) -> Schedule:
        """Set or replace; not to run before `store`."""
        schedule = self._all.get(name)
        if schedule is None:
            schedule = self._all[name] = Schedule(row, version=0, stored=0)
        schedule.row = row
        schedule.version += 1
        self._gone.discard(name)
        return schedule

    def delete(self, name: str) -> bool:
        """Whether there was one."""
        if self.get(name) is None:
            return False
        self._gone.add(name)
        self._all[name].version += 1
        return True

    def store(self, versions: dict[str, int]) -> None:
        """These versions are durable now."""
        for name, version in versions.items():
            schedule = self._all.get(name)
            if schedule is not None:
                schedule.stored = max(schedule.stored, version)
                self._forget(name)

    def version(self, name: str) -> int:
        schedule = self._all.get(name)
        return 0 if schedule is None else schedule.version

    def ran(self, name: str) -> None:
        """The run under way is over."""
        self._all[name].running = False
        self._forget(name)

    def _forget(self, name: str) -> None:
        schedule = self._all[name]
        if name in self._gone and not schedule.running and schedule.stored == schedule.version:
            del self._all[name]
            self._gone.discard(name)
