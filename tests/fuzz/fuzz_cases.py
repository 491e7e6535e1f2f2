"""Random cases, each from a seed of its own and within a budget of time and memory.

`BUILDSYS_FUZZ_CASES` says how many, `BUILDSYS_FUZZ_SEED` which, and `BUILDSYS_FUZZ_CASE` runs only one of them.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

CASES = int(os.environ.get("BUILDSYS_FUZZ_CASES", "0"))
SEED = int(os.environ.get("BUILDSYS_FUZZ_SEED", "0"))
ONLY = os.environ.get("BUILDSYS_FUZZ_CASE")

SECONDS = 20.0
"""Of this process for one case; far above what any takes, so that only a hang is found."""

MEBIBYTES = 384
"""What one case may add to this process at its peak."""

KEPT = 128
"""MiB that this process may keep of all cases but the first ones, which fill its caches."""

SHOWN = 4000

T = TypeVar("T")


class OverBudget(BaseException):
    """Not an `Exception`: nothing that a case runs may catch it."""


def fuzz(make: Callable[[random.Random], T], check: Callable[[T, random.Random], None], *, cases: int) -> None:
    """Check so many made cases, unless the environment says how many; tell the one that fails, and how to repeat it."""
    count = CASES or cases
    print(f"\nBUILDSYS_FUZZ_SEED={SEED} BUILDSYS_FUZZ_CASES={count}")
    slowest = largest = 0.0
    settled = None
    for number in (int(ONLY),) if ONLY is not None else range(count):
        chance = random.Random(f"{SEED}/{number}")
        case = make(chance)
        began, before = time.process_time(), _begin_peak()
        try:
            with _budget():
                check(case, chance)
            added = _memory("VmHWM") - before
            assert added < MEBIBYTES, f"it took {added:,.0f} MiB"
        except (Exception, OverBudget) as error:
            again = f"BUILDSYS_FUZZ_SEED={SEED} BUILDSYS_FUZZ_CASE={number}"
            raise AssertionError(f"{again}: {type(error).__name__}: {error}\n{case!r:.{SHOWN}}") from error
        slowest, largest = max(slowest, time.process_time() - began), max(largest, added)
        if number == min(1000, count // 4):
            gc.collect()
            settled = _memory("VmRSS")
    gc.collect()
    kept = _memory("VmRSS") - settled if settled is not None else 0.0
    print(f"{count} cases: the slowest took {slowest:.2f} s, the largest {largest:.0f} MiB; kept {kept:.0f} MiB")
    assert kept < KEPT


@contextmanager
def _budget() -> Iterator[None]:
    """Have what runs longer than it may end with `OverBudget`."""

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise OverBudget(f"it took {SECONDS:g} s")

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _begin_peak() -> float:
    """Forget the largest that this process was (proc(5), clear_refs), and say in MiB what it is."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split(maxsplit=1)[0]) / 1024
