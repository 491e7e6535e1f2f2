"""A step that changes its own log, which it can where no container is around it, is told of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_bench import Bench, process_bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    yield bench
    await bench.close()


@pytest.mark.parametrize(
    "change",
    ["true", "rm ../steps/1/log", "mv ../steps/1/log ../steps/1/moved; echo forged > ../steps/1/log"],
)
@pytest.mark.parametrize("wait", ["", "sleep 0.5;"])
async def test_a_step_that_moves_its_own_log(bench: Bench, change: str, wait: str) -> None:
    """What the runner has open it reads to its end; else it says that something is lost."""
    await bench.start()
    job = await bench.run(f"echo one; {wait} {change}; echo two; sleep 0.5; echo three")
    assert job.logs.get(1) == b"one\ntwo\nthree\n" or job.ends[1].lost is not None
    if change == "true":
        assert job.ends[1].lost is None


async def test_a_step_that_empties_its_own_log(bench: Bench) -> None:
    await bench.start()
    job = await bench.run("echo one; sleep 0.5; : > ../steps/1/log; sleep 0.5; echo two")
    assert job.ends[1].lost is not None
