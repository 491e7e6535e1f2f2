"""The schedules of one activation, in memory: what is set, what is stored, what runs."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime

from actors.turn import ScheduleRow


class Schedule:
    """One schedule. `version` counts its changes; it may only run in the version that is `stored`.

    `gone`: it is deleted, and stays for as long as its run or its deletion is under way.
    """

    __slots__ = ("gone", "row", "running", "stored", "version", "woken")

    def __init__(self, row: ScheduleRow, *, version: int = 1, stored: int = 1) -> None:
        self.row = row
        self.version = version
        self.stored = stored
        self.running = False
        self.woken = False
        self.gone = False

    @property
    def ready(self) -> bool:
        return self.row.state == "set" and not (self.running or self.gone) and self.stored == self.version


class Schedules:
    """All schedules of an activation by name."""

    __slots__ = ("_all",)

    def __init__(self, stored: Mapping[str, ScheduleRow]) -> None:
        self._all = {name: Schedule(row) for name, row in stored.items()}

    def get(self, name: str) -> Schedule | None:
        """A schedule that is set or exhausted."""
        schedule = self._all.get(name)
        return None if schedule is None or schedule.gone else schedule

    def due(self) -> dict[str, datetime]:
        """The schedules that are set, and when they are due."""
        return {name: one.row.due_at for name, one in self._all.items() if one.row.state == "set" and not one.gone}

    def survey(self, now: datetime, names: Container[str]) -> tuple[list[str], datetime | None]:
        """Those of these names to run now, and when the first of the others that wait is due.

        One is run when its time has come, or when a hint has and its last run did not fail.
        """
        due: list[str] = []
        following: datetime | None = None
        for name, one in self._all.items():
            if not one.ready or name not in names:
                continue
            at = one.row.due_at
            if at <= now or (one.woken and one.row.attempt == 0):
                due.append(name)
            elif following is None or at < following:
                following = at
        return due, following

    def put(self, name: str, row: ScheduleRow) -> Schedule:
        """Set or replace; not to run before `store`."""
        schedule = self._all.get(name)
        if schedule is None:
            schedule = self._all[name] = Schedule(row, version=0, stored=0)
        schedule.row = row
        schedule.version += 1
        schedule.gone = False
        return schedule

    def delete(self, name: str) -> bool:
        """Whether there was one."""
        schedule = self.get(name)
        if schedule is None:
            return False
        schedule.gone = True
        schedule.version += 1
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
        if schedule.gone and not schedule.running and schedule.stored == schedule.version:
            del self._all[name]
