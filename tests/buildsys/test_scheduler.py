"""The Scheduler on a real database: what starts, in which order, what waits and why."""

from __future__ import annotations

import asyncio
import json
import time
from typing import ClassVar
from uuid import UUID

import pytest
from objects_bench import Bench, Hand, until

from actors import Database
from actors.testing import FakeClock, run_in_actor
from buildsys.core.build import Outcome, State
from buildsys.objects import scheduler
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.objects.scheduler import Scheduler
from buildsys.store.queries import QUERIES


@pytest.fixture
async def clock(database: Database) -> FakeClock:
    """Time stands still, so that no alarm rings but those that a test rings, or that are woken."""
    clock = FakeClock()
    await clock.install(database)
    return clock


class GatedBuddy(BuildBuddy):
    """Starts stop at a gate, or only those of `hanging` builds."""

    gate: ClassVar[asyncio.Event]
    hanging: ClassVar[set[UUID]]
    starting: ClassVar[set[UUID]]
    most: ClassVar[int]

    @classmethod
    def reset(cls) -> None:
        cls.gate, cls.hanging, cls.starting, cls.most = asyncio.Event(), set(), set(), 0

    async def start_build(self) -> None:
        id = UUID(self.ctx.name)
        GatedBuddy.starting.add(id)
        GatedBuddy.most = max(GatedBuddy.most, len(GatedBuddy.starting))
        try:
            if not GatedBuddy.hanging or id in GatedBuddy.hanging:
                await GatedBuddy.gate.wait()
            await super().start_build()
        finally:
            GatedBuddy.starting.discard(id)


class BrokenBuddy(BuildBuddy):
    """The first start of each build fails."""

    failed: ClassVar[set[str]]

    async def start_build(self) -> None:
        if self.ctx.name not in BrokenBuddy.failed:
            BrokenBuddy.failed.add(self.ctx.name)
            raise RuntimeError("the first start fails")
        await super().start_build()


class HopelessBuddy(BuildBuddy):
    """No start of any build succeeds."""

    async def start_build(self) -> None:
        raise RuntimeError("it never starts")


async def test_one_look_starts_what_is_queued_and_empties_the_queue(bench: Bench) -> None:
    build = await bench.queue(await bench.project())
    async with bench.nodes() as nodes:
        await nodes.declared[0].ring()
        await until(lambda: _started(bench, {build}))
        assert await bench.database.pool.fetchval("SELECT count(*) FROM queue") == 0
        assert await bench.kinds(build) == ["build_starting"]


async def test_an_alarm_may_run_inside_a_turn(bench: Bench) -> None:
    """As a test that looks into the Scheduler runs it: what it spawns behind its transaction is not lost."""
    build = await bench.queue(await bench.project())
    async with bench.nodes() as nodes:
        await run_in_actor(nodes.declared[0].scheduler, Scheduler.alarm)
        await until(lambda: _started(bench, {build}))


async def test_a_scheduler_that_is_ensured_starts_builds_on_a_hint_and_without_one(bench: Bench) -> None:
    project = await bench.project()
    async with bench.nodes() as nodes:
        await nodes.declared[0].schedulers.ensure(scheduler.SINGLETON)
        unannounced = await bench.queue(project)
        await until(lambda: _started(bench, {unannounced}))
        announced = await bench.queue(project)
        bench.hints.send("queue")
        await until(lambda: _started(bench, {unannounced, announced}))


async def test_a_hint_is_enough_while_time_stands_still(bench: Bench, clock: FakeClock) -> None:
    project = await bench.project()
    async with bench.nodes(clock=clock) as nodes:
        await nodes.declared[0].ring()
        build = await bench.queue(project)
        bench.hints.send("queue")
        await until(lambda: _started(bench, {build}))


async def test_at_most_six_starts_are_under_way(bench: Bench) -> None:
    project = await bench.project()
    builds = {await bench.queue(project) for _ in range(20)}
    GatedBuddy.reset()
    async with bench.nodes(buddy=GatedBuddy) as nodes:
        for _ in range(3):
            await nodes.declared[0].ring()
        await until(lambda: len(GatedBuddy.starting) == 6)
        claimed = await bench.database.pool.fetchval("SELECT count(*) FROM queue WHERE claimed_at IS NOT NULL")
        assert claimed == 6
        GatedBuddy.gate.set()
        await until(lambda: _started(bench, builds))
    assert GatedBuddy.most == 6


async def test_a_start_that_hangs_holds_up_no_other_one(bench: Bench) -> None:
    project = await bench.project()
    hung = await bench.queue(project)
    others = {await bench.queue(project) for _ in range(10)}
    GatedBuddy.reset()
    GatedBuddy.hanging.add(hung)
    async with bench.nodes(buddy=GatedBuddy) as nodes:
        await nodes.declared[0].schedulers.ensure(scheduler.SINGLETON)
        await until(lambda: _started(bench, others))
        assert hung in GatedBuddy.starting
        late = await bench.queue(project)
        await until(lambda: _started(bench, {*others, late}))
        assert hung in GatedBuddy.starting
        GatedBuddy.gate.set()
        await until(lambda: _started(bench, {*others, late, hung}))


async def test_a_start_that_fails_is_made_again_once_its_claim_is_stale(bench: Bench) -> None:
    build = await bench.queue(await bench.project())
    BrokenBuddy.failed = set()
    async with bench.nodes(buddy=BrokenBuddy) as nodes:
        await nodes.declared[0].ring()
        await until(lambda: BrokenBuddy.failed)
        assert (await bench.builds.get(build)).state == State.QUEUED
        await _age_claims(bench, scheduler.START_DEADLINE * 1.5 + 1)
        await until(lambda: _started(bench, {build}))


async def test_a_build_that_cannot_be_started_ends_and_gives_its_place_back(bench: Bench) -> None:
    build = await bench.queue(await bench.project())
    async with bench.nodes(buddy=HopelessBuddy) as nodes:
        for _ in range(scheduler.STARTS + 2):
            await nodes.declared[0].ring()
            await _age_claims(bench, scheduler.STALE + 1)
    found = await bench.builds.get(build)
    assert (found.state, found.outcome) == (State.STOPPED, Outcome.ERRORED)
    assert {job.state for job in found.jobs} == {State.STOPPED}
    assert await bench.kinds(build) == ["end"]
    assert await _claim(bench, max_running=1) == []


async def test_a_claim_of_a_node_that_died_is_started_again(bench: Bench) -> None:
    build = await bench.queue(await bench.project())
    assert await _claim(bench, max_running=10) == [build]
    async with bench.nodes() as nodes:
        await nodes.declared[0].ring()
        assert (await bench.builds.get(build)).state == State.QUEUED
        await _age_claims(bench, scheduler.START_DEADLINE * 1.5 + 1)
        await nodes.declared[0].ring()
        await until(lambda: _started(bench, {build}))


async def test_stale_claims_count_among_the_six_that_start(bench: Bench) -> None:
    project = await bench.project()
    builds = {await bench.queue(project) for _ in range(20)}
    await _claim(bench, max_running=10)
    await _age_claims(bench, 60)
    GatedBuddy.reset()
    async with bench.nodes(buddy=GatedBuddy) as nodes:
        for _ in range(3):
            await nodes.declared[0].ring()
        await until(lambda: len(GatedBuddy.starting) >= 6)
        GatedBuddy.gate.set()
        await until(lambda: _started(bench, builds))
    assert GatedBuddy.most == 6


async def test_the_systems_limit_holds_and_its_slots_are_used_again(bench: Bench) -> None:
    project = await bench.project()
    builds = [await bench.queue(project) for _ in range(3)]
    async with bench.nodes(max_running=2) as nodes:
        one = nodes.declared[0]
        await one.ring()
        await until(lambda: _started(bench, set(builds[:2])))
        await one.ring()
        assert await bench.started() == set(builds[:2])
        waiting = (await bench.builds.get(builds[2])).waiting
        names = "shop #1, shop #2", "shop #2, shop #1"
        assert waiting in [f"the system's limit of running builds is used up by {each}" for each in names]
        hand = Hand(one)
        await hand.take()
        await hand.run()
        await until(lambda: _started(bench, set(builds)))
        assert (await bench.builds.get(builds[2])).waiting != waiting


async def test_a_projects_limit_holds_for_it_alone(bench: Bench) -> None:
    small, large = await bench.project("small", max_running=1), await bench.project("large")
    mine = [await bench.queue(small) for _ in range(3)]
    others = [await bench.queue(large) for _ in range(3)]
    async with bench.nodes() as nodes:
        await nodes.declared[0].ring()
        await until(lambda: _started(bench, {mine[0], *others}))
        await nodes.declared[0].ring()
        assert await bench.started() == {mine[0], *others}
        waiting = (await bench.builds.get(mine[1])).waiting
        assert waiting == "the project's limit of running builds is used up by small #1"


async def test_the_accounts_limit_holds_over_its_projects(bench: Bench) -> None:
    one, two = await bench.project("one"), await bench.project("two")
    await bench.projects.limit_account(2)
    builds = [await bench.queue(project) for project in (one, two, one, two)]
    async with bench.nodes() as nodes:
        await nodes.declared[0].ring()
        await until(lambda: _started(bench, set(builds[:2])))
        await nodes.declared[0].ring()
        assert await bench.started() == set(builds[:2])
        names = "two #1, one #1", "one #1, two #1"
        waiting = (await bench.builds.get(builds[3])).waiting
        assert waiting in [f"the account's limit of running builds is used up by {each}" for each in names]
        await bench.projects.limit_account(None)
        bench.hints.send("queue")
        await until(lambda: _started(bench, set(builds)))


async def test_builds_that_are_claimed_count_as_running(bench: Bench) -> None:
    project = await bench.project(max_running=2)
    builds = [await bench.queue(project) for _ in range(3)]
    assert set(await _claim(bench, max_running=10)) == set(builds[:2])
    assert await _claim(bench, max_running=10) == []


async def test_priority_goes_before_age(bench: Bench) -> None:
    project = await bench.project()
    usual, urgent = await bench.queue(project), await bench.queue(project, priority=5)
    assert await _claim(bench, max_running=1) == [urgent]
    assert await _claim(bench, max_running=2) == [usual]


async def test_projects_take_turns(bench: Bench) -> None:
    eager, modest = await bench.project("eager"), await bench.project("modest")
    many = [await bench.queue(eager) for _ in range(10)]
    few = [await bench.queue(modest) for _ in range(2)]
    assert set(await _claim(bench, max_running=4)) == {*many[:2], *few}
    late = await bench.queue(modest)
    assert await _claim(bench, max_running=5) == [many[2]], "both have two running: the older build goes first"
    assert await _claim(bench, max_running=6) == [late]


async def test_a_limit_that_cannot_be_reached_names_no_wrong_reason(bench: Bench) -> None:
    """A build that is not claimed for want of a start slot waits for the scheduler, not for a limit."""
    project = await bench.project()
    builds = [await bench.queue(project) for _ in range(8)]
    GatedBuddy.reset()
    async with bench.nodes(buddy=GatedBuddy) as nodes:
        await nodes.declared[0].ring()
        await until(lambda: len(GatedBuddy.starting) == 6)
        assert (await bench.builds.get(builds[7])).waiting == "waits for the scheduler"
        GatedBuddy.gate.set()
        await until(lambda: _started(bench, set(builds)))


async def test_a_canceled_queued_build_never_starts(bench: Bench) -> None:
    project = await bench.project()
    build, other = await bench.queue(project), await bench.queue(project)
    async with bench.nodes() as nodes:
        await nodes.declared[0].buddy(build).cancel_build("ann")
        await nodes.declared[0].ring()
        await until(lambda: _started(bench, {build, other}))
        found = await bench.builds.get(build)
        assert (found.outcome, found.started_at, found.reason) == ("canceled", None, "canceled by ann")


async def test_the_scheduler_goes_on_on_another_node(bench: Bench) -> None:
    project = await bench.project()
    async with bench.nodes(2, lease_ttl=2.0) as nodes:
        one, two = nodes.declared
        await one.schedulers.ensure(scheduler.SINGLETON)
        first = await bench.queue(project)
        await until(lambda: _started(bench, {first}))
        await nodes.kill(one.node)
        second = await bench.queue(project)
        await until(lambda: _started(bench, {first, second}))
        assert await run_in_actor(two.scheduler, _is_here)


async def test_ten_thousand_queued(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    projects = [await bench.project(f"project-{number}", max_running=3) for number in range(20)]
    for project in projects:
        await _queue_many(bench, project.id, 500)
    await bench.database.pool.execute("ANALYZE queue, builds, projects, accounts")
    async with bench.database.transaction() as tx:
        plan = json.dumps(
            await tx.connection.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES['queue_claim'].text}",
                *QUERIES["queue_claim"].arguments({"max_running": 100, "size": 6}),
            )
        )
        assert "log_records" not in plan
        assert "builds_active" in plan, "what runs is counted from the index, never from the history"
        assert all(loops < 100 for loops in _loops(json.loads(plan))), "nothing is done again for each that is queued"
    times = []
    for _ in range(3):
        began = time.perf_counter()
        async with bench.database.transaction() as tx:
            assert len(await tx.many(QUERIES["queue_claim"], max_running=100, size=6)) == 6
            await tx.execute(QUERIES["queue_explain"], max_running=100)
        times.append(f"{(time.perf_counter() - began) * 1000:.0f} ms")
    with capsys.disabled():
        print(f"\n  one look at 10,000 queued builds: {', '.join(times)}")


async def _started(bench: Bench, builds: set[UUID]) -> bool:
    return await bench.started() >= builds


async def _claim(bench: Bench, *, max_running: int) -> list[UUID]:
    rows = await bench.database.many(QUERIES["queue_claim"], max_running=max_running, size=6)
    return [row["build"] for row in rows]


async def _age_claims(bench: Bench, seconds: float) -> None:
    await bench.database.pool.execute("UPDATE queue SET claimed_at = claimed_at - make_interval(secs => $1)", seconds)


async def _is_here(_scheduler: Scheduler) -> bool:
    return True


async def _queue_many(bench: Bench, project: UUID, count: int) -> None:
    """Queued builds straight into the tables, for want of patience."""
    await bench.database.pool.execute(
        """
        WITH build AS (
            INSERT INTO builds (
                id, account, project, number, workflow, event, branch, commit, title, plan, time_limit
            )
            SELECT gen_random_uuid(), account, id, n, 'ci.yml', 'push', 'main', 'c', '', '{}', 60
            FROM projects, generate_series(1, $2::integer) n
            WHERE id = $1
            RETURNING id, account, project, queued_at
        )
        INSERT INTO queue (build, account, project, queued_at) SELECT id, account, project, queued_at FROM build
        """,
        project,
        count,
    )


def _loops(plan: object) -> list[int]:
    """How often each part of the plan ran."""
    match plan:
        case list():
            return [loops for part in plan for loops in _loops(part)]
        case dict():
            own = [plan["Actual Loops"]] if "Actual Loops" in plan else []
            return own + [loops for part in plan.values() for loops in _loops(part)]
    return []
