"""BuildBuddy on a real database: what it takes, what it refuses, what ends a build, and that no restart shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from log_fold import fold, rows_of
from objects_bench import ONE_JOB, Bench, Hand, Objects, begun, ended, output, until, workflow_of

from actors import Database
from actors.testing import FakeClock, evict, run_alarm, run_in_actor
from buildsys.core.assignment import JobStopped, Position
from buildsys.core.build import Outcome, State
from buildsys.core.definition import Workflow
from buildsys.objects.build_buddy import ESCALATION, SETTLING, BuildBuddy

SUCCESS = (State.STOPPED, Outcome.SUCCESS)
KINDS = [
    "build_starting",
    "job_started",
    "step_started",
    "build_running",
    "container_started",
    "step_stopped",
    "step_started",
    "lines",
    "step_stopped",
    "job_stopped",
    "end",
]


@pytest.fixture
async def one(bench: Bench) -> AsyncIterator[Objects]:
    async with bench.nodes() as nodes:
        yield nodes.declared[0]


@pytest.fixture
async def clock(database: Database) -> FakeClock:
    clock = FakeClock()
    await clock.install(database)
    return clock


async def queued(bench: Bench, workflow: Workflow = ONE_JOB, *, time_limit: float = 1200.0) -> UUID:
    return await bench.queue(await bench.project(f"shop-{uuid4().hex[:8]}"), workflow=workflow, time_limit=time_limit)


async def running(bench: Bench, one: Objects, *, time_limit: float = 1200.0) -> tuple[UUID, Hand]:
    """A build whose only job has printed "hello", and the hand that runs it."""
    build = await queued(bench, time_limit=time_limit)
    await one.buddy(build).start_build()
    hand = Hand(one)
    await hand.take()
    await hand.report(*begun(), output(0, b"hello\n"))
    return build, hand


class TestStart:
    async def test_started_many_times_it_starts_once(self, bench: Bench, one: Objects) -> None:
        build = await queued(bench)
        await asyncio.gather(*(one.buddy(build).start_build() for _ in range(10)))
        await evict(one.buddy(build))
        await one.buddy(build).start_build()
        assert await bench.kinds(build) == ["build_starting"]
        assert await bench.database.pool.fetchval("SELECT count(*) FROM assignments") == 1
        assert await bench.database.pool.fetchval("SELECT count(*) FROM queue") == 0

    async def test_a_start_that_comes_too_late_does_nothing(self, bench: Bench, one: Objects) -> None:
        build = await queued(bench)
        await one.buddy(build).cancel_build("ann")
        before = await bench.kinds(build)
        await one.buddy(build).start_build()
        assert await bench.kinds(build) == before
        assert await bench.state(build) == (State.STOPPED, Outcome.CANCELED)

    async def test_what_is_no_build_is_left_alone(self, bench: Bench, one: Objects) -> None:
        unknown = one.buddy(uuid4())
        await unknown.start_build()
        await unknown.cancel_build("ann")
        assert await bench.states() == {}

    async def test_a_whole_build(self, bench: Bench, one: Objects) -> None:
        build = await queued(bench)
        await one.buddy(build).start_build()
        hand = Hand(one)
        await hand.take()
        await hand.run()
        assert await bench.state(build) == SUCCESS
        assert await bench.kinds(build) == KINDS
        assert await bench.database.pool.fetchval("SELECT count(*) FROM assignments") == 0
        assert await bench.database.pool.fetchval("SELECT count(*) FROM actors.schedules") == 0

    async def test_a_job_is_offered_when_what_it_needs_has_succeeded(self, bench: Bench, one: Objects) -> None:
        build = await queued(bench, workflow_of(a=(), b=("a",)))
        await one.buddy(build).start_build()
        hand = Hand(one)
        first = await hand.take()
        assert (first.job.id, (await hand.poll()).assignments) == ("a", ())
        await hand.run()
        second = await hand.take()
        assert second.job.id == "b"
        await hand.run(Outcome.FAILED)
        assert await bench.state(build) == (State.STOPPED, Outcome.FAILED)

    async def test_nothing_depends_on_memory(self, bench: Bench) -> None:
        async with bench.nodes(paranoid=True) as nodes:
            one = nodes.declared[0]
            build = await queued(bench, workflow_of(a=(), b=("a",)))
            await one.buddy(build).start_build()
            hand = Hand(one)
            for _ in range(2):
                await hand.take()
                for item in (*begun(), output(0, b"one\n"), output(4, b"two\n"), *ended()):
                    await hand.report(item)
            assert await bench.state(build) == SUCCESS
            assert (await bench.kinds(build)).count("lines") == 4


class TestReports:
    async def test_repeated_items_count_once(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one)
        before = await bench.kinds(build)
        reply = await hand.report(*begun(), output(0, b"hello\n"))
        assert (reply.position.step, reply.position.offset) == (1, 6)
        assert await bench.kinds(build) == before
        await evict(one.buddy(build))
        reply = await hand.report(output(0, b"hello\n"), output(6, b"again\n"))
        assert reply.position.offset == 12
        assert await bench.kinds(build) == [*before, "lines"]

    async def test_behind_a_hole_nothing_is_taken(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one)
        before = await bench.kinds(build)
        reply = await hand.report(output(100, b"far\n"), *ended())
        assert (reply.position.offset, reply.revoked) == (6, False)
        assert await bench.kinds(build) == before
        assert (await bench.state(build))[0] == State.RUNNING

    async def test_reports_in_parallel_make_one_sequence(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one)
        batches = [output(6 + 4 * number, b"%03d\n" % number) for number in range(100)]
        await asyncio.gather(*(hand.report(batch) for batch in batches))
        reply = await hand.report(*batches)
        assert reply.position.offset == 6 + 400
        assert (await bench.kinds(build)).count("lines") == 101

    async def test_another_runner_is_refused(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one)
        stranger = Hand(one)
        stranger.assignment = hand.assignment
        reply = await stranger.report(output(6, b"forged\n"), *ended())
        assert reply.revoked
        assert (await bench.state(build))[0] == State.RUNNING
        assert (await bench.kinds(build)).count("lines") == 1

    async def test_a_new_incarnation_fences_the_old_one_and_goes_on(self, bench: Bench, one: Objects) -> None:
        build, old = await running(bench, one)
        new = Hand(one, id=old.id, incarnation=2)
        resumed = await new.take()
        assert resumed.id == old.assignment.id
        assert (resumed.position.step, resumed.position.offset, resumed.position.container) == (1, 6, "c1")
        assert resumed.deadline == old.assignment.deadline
        assert 0 < resumed.remaining <= old.assignment.remaining
        reply = await old.report(output(6, b"late\n"))
        assert reply.revoked
        await new.report(output(6, b"world\n"), *ended())
        assert await bench.state(build) == SUCCESS
        assert (await old.poll()).revoked == (old.assignment.id,)

    async def test_after_the_end_everything_is_refused(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one)
        await hand.report(*ended())
        before = await bench.kinds(build)
        for items in ((output(6, b"late\n"),), ended(Outcome.FAILED)):
            assert (await hand.report(*items)).revoked
        await one.buddy(build).cancel_build("ann")
        assert await bench.kinds(build) == before
        assert before[-1] == "end"
        assert await bench.state(build) == SUCCESS

    async def test_an_assignment_of_another_build_is_refused(self, bench: Bench, one: Objects) -> None:
        _, hand = await running(bench, one)
        other = await queued(bench)
        reply = await one.buddy(other).report(hand.words(output(6, b"forged\n")))
        assert (reply.revoked, reply.position) == (True, Position())
        assert (await bench.state(other))[0] == State.QUEUED


class TestCancel:
    async def test_a_queued_build_stops_in_one_commit(self, bench: Bench, one: Objects) -> None:
        build = await queued(bench, workflow_of(a=(), b=("a",)))
        await one.buddy(build).cancel_build("ann")
        assert await bench.state(build) == (State.STOPPED, Outcome.CANCELED)
        assert await bench.kinds(build) == ["cancel_requested", "job_stopped", "job_stopped", "end"]
        tables = "builds WHERE id", "jobs WHERE build", "steps WHERE build", "log_records WHERE build"
        commits = [await bench.database.pool.fetch(f"SELECT xmin FROM {table} = $1", build) for table in tables]
        assert len({row["xmin"] for rows in commits for row in rows}) == 1
        assert await bench.database.pool.fetchval("SELECT count(*) FROM queue") == 0

    async def test_a_running_build_is_canceled_when_its_runner_has_proven_it(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one)
        await one.buddy(build).cancel_build("ann")
        assert (await bench.state(build))[0] == State.RUNNING
        assert (await hand.poll()).cancel == (hand.assignment.id,)
        assert (await hand.report(output(6, b"bye\n"))).cancel
        await hand.report(*ended(Outcome.CANCELED))
        found = await bench.builds.get(build)
        assert (found.outcome, found.reason) == (Outcome.CANCELED, "canceled by ann")

    async def test_a_cancel_survives_a_takeover(self, bench: Bench) -> None:
        async with bench.nodes(2, lease_ttl=2.0) as nodes:
            one, two = nodes.declared
            build, hand = await running(bench, one)
            await one.buddy(build).cancel_build("ann")
            await nodes.kill(one.node)
            hand.objects = two
            await hand.report(*ended(Outcome.CANCELED))
            assert await bench.state(build) == (State.STOPPED, Outcome.CANCELED)

    async def test_a_runner_that_does_not_end_its_job_loses_it(self, bench: Bench, clock: FakeClock) -> None:
        async with bench.nodes(clock=clock) as nodes:
            build, hand = await running(bench, nodes.declared[0])
            await nodes.declared[0].buddy(build).cancel_build("ann")
            await clock.advance(ESCALATION + 2)
            found = await bench.stopped(build)
            assert found.outcome == Outcome.ERRORED
            assert "never proved" in (found.reason or "")
            assert (await hand.report(output(6, b"late\n"))).revoked


class TestLimits:
    async def test_the_time_limit_ends_the_build(self, bench: Bench, clock: FakeClock) -> None:
        async with bench.nodes(clock=clock) as nodes:
            build, hand = await running(bench, nodes.declared[0], time_limit=60)
            await clock.advance(59)
            assert not (await hand.report()).cancel
            await clock.advance(2)
            await until(lambda: _is_ordered(hand))
            await hand.report(*ended(Outcome.CANCELED))
            found = await bench.builds.get(build)
            assert (found.outcome, found.reason) == (Outcome.TIMED_OUT, "the time limit of 60 s was reached")

    @pytest.mark.parametrize("in_time", [True, False])
    async def test_an_overdue_limit_leaves_a_moment_to_report(
        self, bench: Bench, clock: FakeClock, in_time: bool
    ) -> None:
        async with bench.nodes(clock=clock) as nodes:
            one = nodes.declared[0]
            build, hand = await running(bench, one, time_limit=60)
            await evict(one.buddy(build))
            await bench.database.pool.execute("UPDATE jobs SET claimed_at = claimed_at - interval '1 hour'")
            assert await run_alarm(one.buddy(build), "enforce_time_limit")
            assert "time_limit" not in await bench.kinds(build)
            if in_time:
                await hand.report(*ended())
                assert await bench.state(build) == SUCCESS
            else:
                await clock.advance(SETTLING + 1)
                await until(lambda: _is_ordered(hand))

    async def test_a_silent_runner_is_lost(self, bench: Bench, clock: FakeClock) -> None:
        async with bench.nodes(clock=clock) as nodes:
            build, hand = await running(bench, nodes.declared[0])
            await bench.database.pool.execute("UPDATE runners SET seen_at = seen_at - interval '1 hour'")
            await clock.advance(160)
            found = await bench.stopped(build)
            assert found.outcome == Outcome.ERRORED
            assert (found.reason or "").startswith(f"runner_lost: runner {hand.id} has been silent")
            assert (await hand.poll()).revoked == (hand.assignment.id,)

    async def test_our_own_absence_is_not_the_runners_silence(self, bench: Bench, one: Objects) -> None:
        build, _ = await running(bench, one)
        await bench.database.pool.execute("UPDATE runners SET seen_at = seen_at - interval '1 hour'")
        await evict(one.buddy(build))
        assert await run_alarm(one.buddy(build), "check_health")
        assert (await bench.state(build))[0] == State.RUNNING

    async def test_a_container_that_does_not_come_up(self, bench: Bench, clock: FakeClock) -> None:
        async with bench.nodes(clock=clock) as nodes:
            one = nodes.declared[0]
            build = await queued(bench)
            await one.buddy(build).start_build()
            await Hand(one).take()
            await clock.advance(200)
            found = await bench.stopped(build)
            assert found.outcome == Outcome.ERRORED
            assert (found.reason or "").startswith("startup_timeout: no container")

    async def test_an_error_of_ours_ends_the_build_visibly(self, bench: Bench, one: Objects) -> None:
        build, _ = await running(bench, one)
        await run_in_actor(one.buddy(build), _spawn_failure)
        found = await bench.stopped(build)
        assert (found.outcome, found.reason) == (Outcome.ERRORED, "resolve: RuntimeError: no such secret")


class TestTakeover:
    async def test_another_node_goes_on_in_the_middle_of_a_step(self, bench: Bench) -> None:
        async with bench.nodes(2, lease_ttl=2.0) as nodes:
            one, two = nodes.declared
            build, hand = await running(bench, one)
            await nodes.kill(one.node)
            hand.objects = two
            reply = await hand.report(output(0, b"hello\n"), output(6, b"world\n"))
            assert reply.position.offset == 12
            await hand.report(*ended())
            assert await bench.state(build) == SUCCESS
            kinds = KINDS.copy()
            kinds.insert(8, "lines")
            assert await bench.kinds(build) == kinds

    async def test_its_schedules_go_on_without_a_call(self, bench: Bench) -> None:
        async with bench.nodes(2, lease_ttl=2.0) as nodes:
            build, _ = await running(bench, nodes.declared[0], time_limit=3)
            await nodes.kill(nodes.nodes[0])
            await until(lambda: bench.database.pool.fetchval("SELECT stopping FROM builds WHERE id = $1", build))


class TestFold:
    """The log says all that the rows say."""

    async def test_of_a_success_and_of_failures_with_what_they_skip(self, bench: Bench, one: Objects) -> None:
        for outcome in (Outcome.SUCCESS, Outcome.FAILED):
            build = await queued(bench, workflow_of(a=(), b=("a",), c=("b",)))
            await one.buddy(build).start_build()
            hand = Hand(one)
            await hand.take()
            await hand.run()
            await self._holds(bench, build)
            await hand.take()
            await hand.run(outcome)
            if outcome == Outcome.SUCCESS:
                await hand.take()
                await hand.run()
            assert await bench.state(build) == (State.STOPPED, outcome)
            await self._holds(bench, build)

    async def test_of_cancels(self, bench: Bench, one: Objects) -> None:
        build = await queued(bench, workflow_of(a=(), b=("a",)))
        await self._holds(bench, build)
        await one.buddy(build).cancel_build("ann")
        await self._holds(bench, build)
        build, hand = await running(bench, one)
        await one.buddy(build).cancel_build("ann")
        await self._holds(bench, build)
        await hand.report(JobStopped(outcome=Outcome.CANCELED, at=datetime.now(UTC), reason="asked to"))
        await self._holds(bench, build)

    async def test_of_a_time_limit_and_of_an_error(self, bench: Bench, one: Objects) -> None:
        build, hand = await running(bench, one, time_limit=0.2)
        await until(lambda: _is_ordered(hand))
        await self._holds(bench, build)
        await hand.report(*ended(Outcome.CANCELED))
        await self._holds(bench, build)
        build, _ = await running(bench, one)
        await run_in_actor(one.buddy(build), _spawn_failure)
        await bench.stopped(build)
        await self._holds(bench, build)

    async def _holds(self, bench: Bench, build: UUID) -> None:
        records = await bench.logs.read(build, after=0, size=1000)
        assert fold(await bench.builds.plan(build), records) == await rows_of(bench.database, build)


async def _is_ordered(hand: Hand) -> bool:
    return (await hand.report()).cancel


async def _spawn_failure(buddy: BuildBuddy) -> None:
    async def resolve() -> None:
        raise RuntimeError("no such secret")

    buddy.ctx.spawn(resolve(), name="resolve")
