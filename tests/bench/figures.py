"""Figures as they are reported: with their spread, and what the machine was like."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Say = Callable[[str], None]
"""Where progress is told."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and the extremes, in the unit of the values."""
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2),
        "min": round(ordered[0], 2),
        "max": round(ordered[-1], 2),
    }


def machine() -> dict[str, Any]:
    """What there is, and how busy it was with all that runs here."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def cpu_seconds(root: int) -> float:
    """The processor time of a process and all that live under it now; it counts on where wall time is disturbed."""
    parents: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = text[text.rindex(")") + 2 :].split()
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    total, fresh = 0, [root]
    while fresh:
        total += sum(ticks.get(pid, 0) for pid in fresh)
        fresh = [child for pid in fresh for child in parents.get(pid, ())]
    return total / os.sysconf("SC_CLK_TCK")


def busy_cores(seconds: float = 0.5) -> float:
    """How many processors all that runs on this machine keeps busy, over so many seconds of blocking sleep."""

    def ticks() -> int:
        user, nice, system, _idle, _waiting, *rest = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        return sum(map(int, (user, nice, system, *rest[:3])))

    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


def resident_kib(pid: int) -> int:
    """The memory of one process that is in use now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all stays below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def fsync_seconds(folder: Path, count: int = 200) -> list[float]:
    """What it takes to append 4 KiB to a file there and have them on the disk, each time."""
    took = list[float]()
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(os.urandom(4096))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return took
