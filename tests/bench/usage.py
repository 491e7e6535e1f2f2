"""What processes take: processor time, and memory at its highest."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.figures import cpu_seconds

LOOK = 0.1
"""Seconds between two looks at Postgres' memory."""


class Usage:
    """Of each named process alone, and of Postgres with all its processes, while the `async with` block lasts.

    `seconds` of processor time, and `peaks` in MiB. The kernel keeps a process's high-water mark. Postgres' is the
    memory that is its processes' own, without the buffers they share, looked at ten times a second.
    """

    def __init__(self, *, postgres: int | None = None, **processes: int) -> None:
        self._postgres = postgres
        self._processes = processes
        self._highest = 0
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        for pid in self._processes.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the mark is what is in use now, proc(5)
        self._before = self._seconds()
        self._looking = asyncio.create_task(self._look(), name="memory of Postgres")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        if error is not None:
            return
        self.seconds = {name: after - self._before[name] for name, after in self._seconds().items()}
        self.peaks = {name: _kib(pid, "VmHWM") / 1024 for name, pid in self._processes.items()}
        if self._postgres is not None:
            self.peaks["Postgres"] = self._highest / 1024

    def _seconds(self) -> dict[str, float]:
        seconds = {name: _own_seconds(pid) for name, pid in self._processes.items()}
        if self._postgres is not None:
            seconds["Postgres"] = cpu_seconds(self._postgres)
        return seconds

    async def _look(self) -> None:
        while self._postgres is not None:
            below = Path(f"/proc/{self._postgres}/task/{self._postgres}/children").read_text().split()
            own = sum(_kib(pid, "RssAnon") for pid in [self._postgres, *map(int, below)])
            self._highest = max(self._highest, own)
            await asyncio.sleep(LOOK)


def _own_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kib(pid: int, name: str) -> int:
    """A line of the process's status; 0 of one that has ended meanwhile."""
    try:
        found = Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[0]) if found else 0
