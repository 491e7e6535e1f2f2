"""What a hostile step prints keeps nobody else waiting: neither other jobs of the runner nor what it says of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_bench import Bench, process_bench

SIZE = 3_000_000
LONGEST_PAUSE = 1.0
"""Seconds. On the loop itself each of these took several."""


class Beats:
    """Beats as often as the event loop lets it, and remembers the longest pause."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_pause = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            self.count += 1
            self.longest_pause = max(self.longest_pause, now - last)
            last = now


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    yield bench
    await bench.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("line", "secrets"),
    [
        ("::debug::", ()),
        ("::", ()),
        ("::group::x", ("hunter2",)),
        ("ab", ("a",)),
        ("hunt" * 1000, ("hunter2",)),
    ],
)
async def test_the_loop_goes_on_while_a_step_floods_its_log(bench: Bench, line: str, secrets: tuple[str, ...]) -> None:
    await bench.start()
    beats = Beats()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(beats.run())
        job = await bench.run(f"yes '{line}' | head -c {SIZE}", deadline=90, secrets=secrets)
        beating.cancel()
    assert job.batches[-1].end == SIZE
    assert beats.count > 10
    assert beats.longest_pause < LONGEST_PAUSE
