"""Secrets in the logs of real jobs, whoever tells the runner of them and whatever happens to it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_bench import Bench, process_bench
from runner_orchestrator import MemoryOrchestrator, assignment, until

from buildsys.core.build import Outcome

SECRET = "s3cr3t-of-the-job"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    yield bench
    await bench.close()


async def test_a_mask_that_a_step_adds(bench: Bench) -> None:
    """It holds from the next line on, and in the steps behind; a step that prints commands for others adds none."""
    await bench.start()
    job = await bench.run(
        'echo "$X"; echo "::add-mask::$X"; echo "now $X"',
        'echo "then $X"; printf %s "$X" | base64; printf "::%s\\n" stop-commands::t add-mask::plain t::; echo plain',
        'echo "::add-mask::plain"; echo "plain $X"',
        env={"X": SECRET},
    )
    assert job.logs[1] == b"%b\n::add-mask::***\nnow ***\n" % SECRET.encode()
    assert job.logs[2] == b"then ***\n***\n::stop-commands::t\n::add-mask::plain\n::t::\nplain\n"
    assert job.logs[3] == b"::add-mask::***\n*** ***\n"


async def test_a_runner_that_starts_again_knows_all_masks(bench: Bench) -> None:
    """Those of the step that it finds running, and those of the steps before."""
    script = 'echo "::add-mask::$Y"; i=0; while [ $i -lt 150 ]; do echo "$X $Y $Z $i"; i=$((i+1)); sleep 0.01; done'
    job = bench.orchestrator.offer(
        assignment(
            'printf "::add-mask::%s" "$X"',
            script,
            env={"X": "first-mask", "Y": "second-mask", "Z": SECRET},
            secrets=(SECRET,),
        )
    )
    await bench.start()
    for lines in (10, 50, 100):
        await until(lambda lines=lines: job.logs.get(2, b"").count(b"\n") > lines)  # type: ignore[misc]
        await bench.stop()
        await bench.start()
    await until(lambda: job.stopped)
    assert job.logs[1] == b"::add-mask::***"
    assert job.logs[2] == b"::add-mask::***\n" + b"".join(b"*** *** *** %d\n" % number for number in range(150))


@pytest.mark.parametrize("seed", range(3))
async def test_reports_that_get_lost_show_nothing(bench: Bench, seed: int) -> None:
    """An orchestrator that loses and forgets reports has the runner read its log anew from anywhere."""
    bench.orchestrator = MemoryOrchestrator(faults=0.2, seed=seed)
    encoded = base64.b64encode(f"user:{SECRET}".encode()).decode()
    script = f'for i in $(seq 400); do echo "$X $i {encoded}"; printf \'%s\' "$X"; echo; done'
    await bench.start()
    job = await bench.run(f'echo "::add-mask::$X"; {script}', script, env={"X": SECRET})
    shown = encoded[: -(-5 * 8 // 6)].encode()
    lines = b"".join(b"*** %d %b***\n***\n" % (number, shown) for number in range(1, 401))
    assert (job.logs[1], job.logs[2]) == (b"::add-mask::***\n" + lines, lines)


async def test_the_reason_of_an_end_is_masked(bench: Bench) -> None:
    await bench.start()
    script = 'echo "$X" >../steps/1/forged; mv ../steps/1/forged ../steps/1/status; sleep 30'
    job = await bench.run(script, env={"X": SECRET}, secrets=(SECRET,))
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.ERRORED
    assert "wrote its own status" in (job.stopped.reason or "")
    assert SECRET not in (job.stopped.reason or "")


async def test_what_commands_say_is_masked(bench: Bench) -> None:
    """They are told apart from the log, unescaped."""
    await bench.start()
    job = await bench.run('echo "::error title=it is a%25b%3A c%0Ad::it is a%25b: c%0Ad"', secrets=("a%b: c\nd",))
    assert [(said.title, said.message) for batch in job.batches for said in batch.commands] == [
        ("it is ***", "it is ***")
    ]
