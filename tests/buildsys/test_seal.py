"""The seal: a log that was written is complete, and every way of tampering with one is found, with its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest
import zstandard
from objects_bench import SEAL_KEY, Bench, Hand, Objects, begun, ended, output, workflow_of

from actors.testing import evict, run_in_actor
from buildsys.core.logs import END, LogChange, unfold
from buildsys.core.seal import Chain, Verdict, Verifier
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.store.logs import log_columns
from buildsys.store.queries import QUERIES

LINES = (b"one\n", b"two\nthree\n", b"four\n")
PLACES = {b"one\n": 8, b"two\nthree\n": 9, b"four\n": 11}
"""The cursors of the lines in the log of `sealed`."""

LAST = 14

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = LogChange(kind="step_started", at=NOW, job="a", step=1)
STOPPED = LogChange(kind="step_stopped", at=NOW, job="a", step=1, data={"outcome": "success"})
OVER = LogChange(kind=END, at=NOW)


def lines_at(offset: int) -> LogChange:
    frame = zstandard.compress(b"one\n")
    return LogChange(kind="lines", at=NOW, job="a", step=1, source=(offset, offset + 4), frame=frame, size=4)


@pytest.fixture
async def one(bench: Bench) -> AsyncIterator[Objects]:
    async with bench.nodes() as nodes:
        yield nodes.declared[0]


@pytest.fixture
async def sealed(bench: Bench, one: Objects) -> UUID:
    """A build that has printed `LINES` and is over; its actor was evicted between any two reports."""
    build = await bench.queue(await bench.project(f"shop-{uuid4().hex[:8]}"))
    await one.buddy(build).start_build()
    hand = Hand(one)
    await hand.take()
    await hand.report(*begun())
    offset = 0
    for text in LINES:
        await hand.report(output(offset, text))
        await evict(one.buddy(build))
        offset += len(text)
    await hand.report(*ended())
    return build


async def verdict(bench: Bench, build: UUID, key: bytes = SEAL_KEY) -> Verdict:
    return await bench.verification(key=key).verify(build)


async def places(bench: Bench, build: UUID) -> list[int]:
    found = await verdict(bench, build)
    assert found.state == "broken"
    return [fault.cursor for fault in found.faults]


async def test_what_was_written_is_complete(bench: Bench, sealed: UUID) -> None:
    found = await verdict(bench, sealed)
    assert found == Verdict(state="complete", last=LAST, lines=4, bytes=len(b"".join(LINES)))


async def test_a_running_build_s_log_is_open(bench: Bench, one: Objects) -> None:
    build = await bench.queue(await bench.project())
    assert (await verdict(bench, build)).state == "open"
    await one.buddy(build).start_build()
    assert (await verdict(bench, build)).state == "open"


async def test_a_build_canceled_in_the_queue_is_sealed(bench: Bench, one: Objects) -> None:
    build = await bench.queue(await bench.project())
    await one.buddy(build).cancel_build("ann")
    assert (await verdict(bench, build)).state == "complete"


async def test_jobs_side_by_side_share_one_chain(bench: Bench, one: Objects) -> None:
    build = await bench.queue(await bench.project(), workflow=workflow_of(a=(), b=(), c=()))
    await one.buddy(build).start_build()
    hands = [Hand(one) for _ in range(3)]
    for hand in hands:
        await hand.take()
        await hand.report(*begun())
    for number in range(5):
        for hand in hands:
            await hand.report(output(2 * number, b"x\n"))
    for hand in hands:
        await hand.report(*ended())
    found = await verdict(bench, build)
    assert (found.state, found.lines) == ("complete", 15)


async def test_what_is_lost_is_named(bench: Bench, one: Objects) -> None:
    build = await bench.queue(await bench.project())
    await one.buddy(build).start_build()
    hand = Hand(one)
    await hand.take()
    await hand.report(*begun(), output(0, b"hello\n"))

    async def lose(buddy: BuildBuddy) -> None:
        buddy.ctx.spawn(buddy.on_error(RuntimeError("gone"), "test"), name="lose")

    await run_in_actor(one.buddy(build), lose)
    await bench.stopped(build)
    found = await verdict(bench, build)
    assert found.state == "incomplete"
    [missing] = found.missing
    assert (missing.kind, missing.job, missing.step) == ("gap", "a", 1)
    assert "gone" in (missing.reason or "")


@pytest.mark.parametrize("text", LINES)
async def test_a_flipped_byte_of_a_frame(bench: Bench, sealed: UUID, text: bytes) -> None:
    place = PLACES[text]
    frame = bytearray(zstandard.compress(text))
    frame[-1] ^= 1
    await alter(bench, sealed, place, "frame = $3", bytes(frame))
    assert await places(bench, sealed) == [place]


@pytest.mark.parametrize(
    "change",
    [
        "at = at + interval '1 microsecond'",
        "job = 'b'",
        "step = 2",
        "source_to = source_to + 1",
        "kind = 'gap'",
        "size = size + 1",
        "mac = sha256(mac)",
    ],
)
async def test_a_changed_column(bench: Bench, sealed: UUID, change: str) -> None:
    await alter(bench, sealed, PLACES[b"four\n"], change)
    assert (await places(bench, sealed))[0] == PLACES[b"four\n"]


async def test_a_changed_event(bench: Bench, sealed: UUID) -> None:
    await alter(bench, sealed, LAST, "data = jsonb_set(data, '{outcome}', '\"failed\"')")
    assert await places(bench, sealed) == [LAST]


@pytest.mark.parametrize("text", LINES)
async def test_a_deleted_row(bench: Bench, sealed: UUID, text: bytes) -> None:
    await bench.database.pool.execute("DELETE FROM log_records WHERE build = $1 AND first = $2", sealed, PLACES[text])
    assert (await places(bench, sealed))[0] == PLACES[text]


async def test_a_deleted_row_whose_successors_moved_up(bench: Bench, sealed: UUID) -> None:
    pool = bench.database.pool
    await pool.execute("DELETE FROM log_records WHERE build = $1 AND first = 8", sealed)
    for first in range(9, LAST + 1):
        await pool.execute(
            "UPDATE log_records SET first = first - 1, last = last - 1 WHERE build = $1 AND first = $2", sealed, first
        )
    assert (await places(bench, sealed))[0] == 8


async def test_a_swapped_pair(bench: Bench, sealed: UUID) -> None:
    await bench.database.pool.execute(
        """
        WITH pair AS (SELECT first, frame, size, source_from, source_to, mac, at FROM log_records
                      WHERE build = $1 AND first IN (8, 11))
        UPDATE log_records l
        SET frame = p.frame, size = p.size, source_from = p.source_from, source_to = p.source_to, mac = p.mac, at = p.at
        FROM pair p WHERE l.build = $1 AND l.first IN (8, 11) AND p.first <> l.first
        """,
        sealed,
    )
    assert {8, 11} <= set(await places(bench, sealed))


async def test_a_missing_end(bench: Bench, sealed: UUID) -> None:
    await bench.database.pool.execute("DELETE FROM log_records WHERE build = $1 AND first > 11", sealed)
    assert await places(bench, sealed) == [12]


async def test_an_end_of_an_earlier_state(bench: Bench, sealed: UUID) -> None:
    """Who saw the chain's head once cannot end the log there: the end needs the key."""
    await bench.database.pool.execute("DELETE FROM log_records WHERE build = $1 AND first > 8", sealed)
    await bench.database.pool.execute(
        "INSERT INTO log_records (build, first, last, kind, at, size, data, mac)"
        " VALUES ($1, 9, 9, 'end', now(), 0, '{\"outcome\": \"success\"}', sha256('guess'))",
        sealed,
    )
    assert await places(bench, sealed) == [9]


async def test_output_removed_while_the_build_runs_is_missed_by_its_runner(bench: Bench, one: Objects) -> None:
    """The step ends before its runner could tell what was removed a second time."""
    build, hand = await cut_while_it_runs(bench, one)
    step_stopped, job_stopped = ended()
    await hand.report(msgspec.structs.replace(step_stopped, end=17), job_stopped)
    found = await verdict(bench, build)
    assert found.state == "incomplete"
    [missing] = found.missing
    assert (missing.cursor, missing.kind, missing.job, missing.step) == (9, "gap", "a", 1)
    assert missing.reason == "the step's output ended at byte 17, and is stored up to 4"


async def test_output_removed_while_the_build_runs_is_told_again(bench: Bench, one: Objects) -> None:
    build, hand = await cut_while_it_runs(bench, one)
    reply = await hand.report(output(17, b"three\n"))
    assert reply.position.offset == 4
    await hand.report(output(4, b"tests failed\n"), output(17, b"three\n"), *ended())
    assert (await verdict(bench, build)).state == "complete"


async def test_a_step_s_begin_removed_while_the_build_runs(bench: Bench, one: Objects) -> None:
    build, hand = await cut_while_it_runs(bench, one, last=6)
    await hand.report(*begun(), output(0, b"one\n"), *ended())
    assert await places(bench, build) == [7, 8]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ((STARTED, lines_at(0), lines_at(17), STOPPED, OVER), "output of step 1 of job a begins at its byte 17"),
        ((STARTED, lines_at(0), STARTED, STOPPED, OVER), "step 1 of job a begins a second time"),
        ((STARTED, lines_at(0), OVER), "step 1 of job a began, and never ended"),
        ((STARTED, STOPPED, lines_at(0), OVER), "output of step 1 of job a, which does not run here"),
        ((STARTED, STOPPED, STOPPED, OVER), "step 1 of job a ends a second time"),
        ((STOPPED, OVER), "step 1 of job a ends, and never began"),
    ],
)
def test_a_chain_without_what_was_removed_from_its_end_does_not_join(
    changes: tuple[LogChange, ...], problem: str
) -> None:
    build = uuid4()
    chain, verifier = Chain(key=SEAL_KEY, build=build), Verifier(key=SEAL_KEY, build=build)
    for change in changes:
        record = chain.append(change)
        verifier.take(record, unfold(record))
    found = verifier.verdict(stopped=True)
    assert found.state == "broken"
    [fault] = found.faults
    assert fault.problem.startswith(problem)


async def test_what_stands_behind_the_end(bench: Bench, sealed: UUID) -> None:
    rows = await bench.logs.read(sealed, after=0, size=100)
    chain = Chain(key=SEAL_KEY, build=sealed)
    for row in rows:
        chain.follow(row)
    record = chain.append(LogChange(kind="gap", at=rows[-1].at))
    async with bench.database.transaction() as transaction:
        await transaction.execute(QUERIES["log_append"], **log_columns(sealed, record))
    assert await places(bench, sealed) == [LAST + 1]


async def test_another_build_s_log(bench: Bench, one: Objects, sealed: UUID) -> None:
    other = await bench.queue(await bench.project())
    await one.buddy(other).cancel_build("ann")
    await bench.database.pool.execute("DELETE FROM log_records WHERE build = $1", other)
    await bench.database.pool.execute("UPDATE log_records SET build = $2 WHERE build = $1", sealed, other)
    assert (await places(bench, other))[0] == 1


async def test_another_key(bench: Bench, sealed: UUID) -> None:
    found = await verdict(bench, sealed, key=b"another key")
    assert (found.state, found.faults[0].cursor) == ("broken", 1)


async def test_the_seal_counts_what_the_frames_hold(bench: Bench, one: Objects) -> None:
    """A runner that says more lines than it sends is found out, too."""
    build = await bench.queue(await bench.project())
    await one.buddy(build).start_build()
    hand = Hand(one)
    await hand.take()
    batch = output(0, b"one\n")
    lying = type(batch)(step=1, offset=0, end=4, lines=2, frame=batch.frame, at=batch.at)
    await hand.report(*begun(), lying, *ended())
    assert await places(bench, build) == [8]


async def cut_while_it_runs(bench: Bench, one: Objects, *, last: int = 8) -> tuple[UUID, Hand]:
    """A running build, of whose log all behind an entry was removed before its actor was loaded anew."""
    build = await bench.queue(await bench.project())
    await one.buddy(build).start_build()
    hand = Hand(one)
    await hand.take()
    await hand.report(*begun(), output(0, b"one\n"), output(4, b"tests failed\n"))
    await bench.database.pool.execute("DELETE FROM log_records WHERE build = $1 AND first > $2", build, last)
    await evict(one.buddy(build))
    return build, hand


async def alter(bench: Bench, build: UUID, first: int, change: str, *values: object) -> None:
    status = await bench.database.pool.execute(
        f"UPDATE log_records SET {change} WHERE build = $1 AND first = $2",
        build,
        first,
        *values,
    )
    assert status == "UPDATE 1"


def test_the_end_s_data_holds_the_seal() -> None:
    chain = Chain(key=SEAL_KEY, build=uuid4())
    head = chain.append(LogChange(kind="gap", at=datetime.now(UTC))).mac
    end = chain.append(LogChange(kind=END, at=datetime.now(UTC), data={"outcome": "success"}))
    assert end.data == {"outcome": "success", "seal": {"last": 2, "lines": 0, "bytes": 0, "head": head.hex()}}
