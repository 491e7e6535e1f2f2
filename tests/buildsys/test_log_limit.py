"""What a build may print is one limit for all of its jobs, exact, and its end is told once to each step it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from objects_bench import LIMITS, Hand, begun, bench_on, ended, output, workflow_of
from runner_bench import Bench, process_bench
from runner_orchestrator import Job, MemoryOrchestrator, assignment, until

from actors import Database
from actors.testing import evict
from buildsys.core.logs import GAP, LINES, TRUNCATED, unfold
from buildsys.store.logs import Logs

LIMIT = 100 * 512
NOTE = b"buildsys: the build's log limit of 51200 bytes was reached; the rest is not kept\n"
FLOOD = "i=0; while [ $i -lt 6000 ]; do echo $i; i=$((i+1)); done"
PRINTED = b"".join(b"%d\n" % number for number in range(6000))
HALF = "i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done"
"""Prints 23,890 bytes."""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    yield bench
    await bench.close()


def shown(job: Job, step: int = 1) -> bytes:
    """What is shown of the output: all of it, or its beginning and behind that the note."""
    text, note, rest = bytes(job.logs.get(step, b"")).partition(NOTE)
    batches = [batch for batch in job.batches if batch.step == step]
    printed = PRINTED[: sum(batch.end - batch.offset for batch in batches)]
    assert rest == b""
    assert text in (printed, printed + b"\n") if note else text == printed == PRINTED
    assert [batch.truncated for batch in batches].count(True) == bool(note)
    return printed


async def test_the_steps_of_a_job_share_it(bench: Bench) -> None:
    await bench.start()
    job = await bench.run(HALF, f"{HALF}; exit 0", f"{HALF}; exit 3", "echo more", log_limit=LIMIT)
    assert job.logs[1] == job.logs[2] == PRINTED[:23_890]
    assert shown(job, 3) == PRINTED[: LIMIT - 2 * 23_890]
    assert 4 not in job.logs
    assert job.codes == {0: 0, 1: 0, 2: 0, 3: 3, 4: None}


async def test_a_step_that_prints_behind_it_is_told(bench: Bench) -> None:
    await bench.start()
    job = await bench.run(f"{FLOOD}; {FLOOD}", "true", "echo more", log_limit=LIMIT)
    assert (PRINTED + PRINTED).startswith(bytes(job.logs[1]).removesuffix(b"\n" + NOTE))
    assert job.printed == LIMIT
    assert 2 not in job.logs
    assert job.logs[3] == NOTE
    assert set(job.codes.values()) == {0}


@pytest.mark.parametrize("faults", [0.0, 0.2])
async def test_the_jobs_of_a_build_share_it(bench: Bench, faults: float) -> None:
    bench.orchestrator = MemoryOrchestrator(faults=faults, seed=1)
    await bench.start()
    build = uuid4()
    jobs = [bench.orchestrator.offer(assignment(f"{FLOOD}; exit 5", build=build, log_limit=LIMIT)) for _ in range(3)]
    await until(lambda: all(job.stopped for job in jobs))
    texts = [shown(job) for job in jobs]
    assert sum(map(len, texts)) == sum(job.printed for job in jobs)
    assert sum(map(len, texts)) == LIMIT if not faults else sum(map(len, texts)) <= LIMIT  # what was taken back is gone
    assert sum(job.position.cut for job in jobs) >= 1
    assert [job.codes[1] for job in jobs] == [5, 5, 5]


async def test_a_runner_that_starts_again_says_it_once(bench: Bench) -> None:
    await bench.start()
    job = bench.orchestrator.offer(assignment(f"{FLOOD}; {FLOOD}; sleep 1; echo more", "echo more", log_limit=LIMIT))
    for condition in (lambda: 1 in job.logs, lambda: job.position.cut, lambda: 1 in job.codes):
        await until(condition)
        await bench.stop()
        await bench.start()
    await until(lambda: job.stopped)
    assert job.logs[1].count(NOTE) == 1
    assert job.logs[2] == NOTE
    assert job.printed == LIMIT


async def test_the_actor_keeps_it(database: Database) -> None:
    """Whatever a runner sends, and whoever the actor is: what it knows comes from the log itself."""
    async with bench_on(database) as bench, bench.nodes(limits=replace(LIMITS, log=100)) as nodes:
        one = nodes.declared[0]
        build = await bench.queue(await bench.project(), workflow=workflow_of(a=(), b=()))
        await one.buddy(build).start_build()
        hands = [Hand(one), Hand(one)]
        for hand in hands:
            assert (await hand.take()).log_left == 100
        first, second = hands
        set_up, *rest = begun()
        reply = await first.report(set_up, output(0, b"set-up\n" * 50, step=0), *rest, output(0, b"x" * 60))
        assert (reply.log_left, reply.position.offset) == (40, 60)
        reply = await second.report(*begun(), output(0, b"y" * 39 + b"\n"), output(40, b"z"))
        assert (reply.log_left, reply.position.offset) == (0, 40)
        await evict(one.buddy(build))
        reply = await first.report(output(60, b"more"))
        assert (reply.log_left, reply.position.offset, reply.position.cut) == (0, 60, False)
        note = replace(output(60, b"\nthat was all\n"), end=60, truncated=True)
        for _ in range(2):
            reply = await first.report(note, output(60, b"more"))
            assert (reply.log_left, reply.position.offset, reply.position.cut) == (0, 60, True)
            await evict(one.buddy(build))
        await first.report(*ended())
        await second.report(*ended())
        assert await text_of(bench.logs, build) == b"set-up\n" * 50 + b"x" * 60 + b"y" * 39 + b"\n\nthat was all\n"
        verdict = await bench.verification().verify(build)
        assert (verdict.state, [missing.kind for missing in verdict.missing]) == ("incomplete", [TRUNCATED])
        assert verdict.missing[0].reason == "the build's log limit was reached"


async def test_behind_a_step_that_was_cut_nothing_is_shown(database: Database) -> None:
    """What it would have added to the masks nobody has read."""
    async with bench_on(database) as bench, bench.nodes(limits=replace(LIMITS, log=100)) as nodes:
        one = nodes.declared[0]
        build = await bench.queue(await bench.project())
        await one.buddy(build).start_build()
        hand = Hand(one)
        await hand.take()
        reply = await hand.report(*begun(), replace(output(0, b"cut\n"), truncated=True))
        assert reply.log_left == 0
        await evict(one.buddy(build))
        assert (await hand.report()).log_left == 0


async def text_of(logs: Logs, build: UUID) -> bytes:
    records = await logs.read(build, after=0, size=1000)
    assert GAP not in [record.kind for record in records]
    return b"".join(unfold(record) for record in records if record.kind == LINES)
