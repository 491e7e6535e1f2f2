"""Groups and annotations on their way from a step's output into the reports, through a real runner."""

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


async def test_commands_in_the_output_are_told_and_stay_lines(bench: Bench) -> None:
    await bench.start()
    script = "echo ::group::Tests; echo ok; echo ::endgroup::; echo '::error file=a.py,line=3::broke s3cr3t!'"
    job = await bench.run(script, secrets=("s3cr3t!",))
    assert job.logs[1] == b"::group::Tests\nok\n::endgroup::\n::error file=a.py,line=3::broke ***\n"
    found = [command for batch in job.batches for command in batch.commands]
    assert [command.kind for command in found] == ["group_started", "group_ended", "annotation"]
    assert (found[0].title, found[2].message, found[2].file, found[2].file_line) == ("Tests", "broke ***", "a.py", 3)


async def test_what_is_a_secret_only_once_it_is_unescaped_is_masked(bench: Bench) -> None:
    await bench.start()
    shown = ("abc%25def%ghi", "title%2C of:it")
    script = f"echo '::error file={shown[1]},title={shown[1]}::{shown[0]}'; echo '::group::{shown[0]}'"
    job = await bench.run(script, secrets=("abc%def%ghi", "title, of:it"))
    annotation, group = (command for batch in job.batches for command in batch.commands)
    assert (annotation.message, annotation.file, annotation.title, group.title) == ("***", "***", "***", "***")
