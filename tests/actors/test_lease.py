"""The lease: renewed by a thread of its own, lost by a loop that hangs, and never outlived by what it allows."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
from probe import until

from actors import Actor, ActorUnavailable, Database, LeaseLost, Node, NodeSettings, SystemClock, scheduled
from actors.apart import run_apart
from actors.clock import DatabaseClock
from actors.fake_clock import FakeClock
from actors.faults import FaultPoints, Point
from actors.lease import Lease
from actors.queries import load_queries
from actors.renewal import Renewal

TTL = 1.5

TOLD: list[str] = []
"""What blockers have done after their turns."""


class Blocker(Actor):
    """Holds up the event loop, in a turn, a schedule, or spawned work."""

    async def block(self, seconds: float) -> int:
        time.sleep(seconds)
        return 1

    async def block_and_tell(self, seconds: float) -> None:
        self.ctx.after_commit(lambda: TOLD.append("called back"))
        self.ctx.spawn(self.tell(), name="telling")
        time.sleep(seconds)

    async def tell(self) -> None:
        TOLD.append("spawned")

    async def block_later(self, seconds: float, schedule: bool) -> None:
        self.ctx.storage.put("seconds", seconds)
        if schedule:
            self.ctx.set_alarm(self.ctx.clock.now())
        else:
            self.ctx.spawn(self.dream(seconds), name="dreaming")

    async def dream(self, seconds: float) -> None:
        time.sleep(seconds)

    async def put(self, value: int) -> int:
        self.ctx.storage.put("value", value)
        return value

    async def value(self) -> int | None:
        return await self.ctx.storage.get("value", int)

    @scheduled()
    async def alarm(self) -> None:
        time.sleep(await self.ctx.storage.get("seconds", float) or 0)


@contextlib.asynccontextmanager
async def node(database: Database, id: str = "one", **settings: Any) -> AsyncIterator[tuple[Node, Any]]:
    node = Node(
        database=database,
        id=id,
        address=f"http://127.0.0.1:1/{id}",
        cluster_key="k",
        clock=SystemClock(),
        settings=NodeSettings(**{"lease_ttl": TTL, **settings}),
    )
    blockers = node.namespace("blocker", Blocker, Blocker)
    async with node:
        yield node, blockers


class Tended:
    """A lease with its renewal, in a thread or in this loop, and a way to let time pass."""

    def __init__(self, lease: Lease, wait: Callable[[float], Awaitable[None]]) -> None:
        self.lease = lease
        self.wait = wait
        self.alive = True

    async def wait_renewed(self, seconds: float) -> None:
        """Let time pass in which the lease is renewed, in steps that leave its query time."""
        for _ in range(round(seconds / (TTL / 3))):
            await self.wait(TTL / 3)
            await until(lambda: self.lease.age < TTL * 0.6)
            assert self.lease.trusted


@pytest.fixture
async def clocks_database(database: Database) -> AsyncIterator[Database]:
    async with Database(database.dsn, size=1) as own:
        yield own


@pytest.fixture(params=["thread", "loop"])
async def tended(
    request: pytest.FixtureRequest, database: Database, clocks_database: Database
) -> AsyncIterator[Tended]:
    fake = FakeClock()
    clock = DatabaseClock(SystemClock() if request.param == "thread" else fake)
    if request.param == "loop":
        await fake.install(clocks_database)
    queries = load_queries("actors")
    lease = Lease(database=database, queries=queries, clock=clock, node="one", address="http://x", ttl=TTL)
    tended = Tended(lease, asyncio.sleep if request.param == "thread" else fake.advance)
    renewal = Renewal(
        lease=lease,
        database=database,
        queries=queries,
        alive=lambda: tended.alive,
        look=lambda _: None,
        faults=FaultPoints(),
    )
    await lease.take()
    running = asyncio.create_task(
        run_apart(renewal.run, name="renewal") if request.param == "thread" else renewal.run()
    )
    yield tended
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_renewed_lease_holds(tended: Tended) -> None:
    await tended.wait_renewed(2 * TTL)


async def test_a_node_that_does_not_live_is_not_renewed(tended: Tended) -> None:
    await tended.wait(TTL / 2)
    tended.alive = False
    await tended.wait(TTL)
    assert not tended.lease.trusted


async def test_a_full_pool_does_not_cost_the_lease(tended: Tended, database: Database) -> None:
    async with contextlib.AsyncExitStack() as held:
        for _ in range(10):
            await held.enter_async_context(database.session())
        await tended.wait_renewed(2 * TTL)


async def test_a_cut_connection_does_not_cost_the_lease(tended: Tended, database: Database) -> None:
    killer = await database.connect()
    for _ in range(3):
        await tended.wait_renewed(TTL / 3)
        await killer.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await tended.wait_renewed(TTL / 3)
    await killer.close()


async def test_a_lease_that_is_over_is_never_renewed(tended: Tended, database: Database) -> None:
    await tended.wait(TTL / 3)
    await database.pool.execute("UPDATE actors.nodes SET lease_until = actors_now() - interval '1 hour'")
    await tended.wait(TTL / 3)
    await until(lambda: not tended.lease.trusted)
    await tended.wait(TTL)
    assert not tended.lease.trusted
    await tended.lease.take()
    assert tended.lease.incarnation == 2
    with pytest.raises(LeaseLost):
        tended.lease.check(1)
    tended.lease.check(2)


async def test_the_lease_is_renewed_while_a_step_holds_up_the_loop_for_a_moment(database: Database) -> None:
    async with node(database) as (one, blockers):
        await blockers.get("a").put(1)
        ages = []
        for _ in range(3):
            assert await blockers.get("a").block(TTL * 0.45) == 1
            ages.append(one.statistics().lease_age)
        assert min(ages) < TTL * 0.4
        assert one.statistics().resets == 0


async def test_a_hung_loop_loses_the_lease_and_answers_nothing_afterwards(database: Database) -> None:
    taken: list[float] = []

    async def take_over() -> None:
        async with Database(database.dsn) as own, node(own, "two") as (_, blockers):
            async with asyncio.timeout(20):
                while not taken:
                    with contextlib.suppress(ActorUnavailable):
                        taken.append(await blockers.get("a").put(2))

    async with node(database, call_limit=1.0) as (one, blockers):
        stub = blockers.get("a")
        await stub.put(1)
        await blockers.get("b").put(1)
        other = asyncio.create_task(run_apart(take_over, name="node two"))
        blocked, behind, beside = stub.block(TTL * 2.5), stub.put(3), blockers.get("b").value()
        results = await asyncio.gather(blocked, behind, beside, return_exceptions=True)
        assert all(isinstance(result, (LeaseLost, ActorUnavailable)) for result in (results[0], results[1])), results
        await other
        await until(lambda: one.statistics().lease_left > 0)
        assert await database.pool.fetchval("SELECT incarnation FROM actors.nodes WHERE id = 'one'") == 2
        assert await blockers.get("a").value() == 2
        await until(lambda: one.statistics().last_held is not None)  # it is noted by the next look, in another thread
        held = one.statistics().last_held
        assert held is not None
        assert held.code == "Blocker.block"
        assert held.seconds > TTL * 2
        assert held.stack is not None
        assert "time.sleep(seconds)" in held.stack


async def test_a_durable_turn_is_not_called_undone_when_its_reply_comes_too_late(database: Database) -> None:
    class Slow(FaultPoints):
        armed = False

        def reach(self, point: Point) -> None:
            if self.armed and point == "commit_answered":
                self.armed = False
                time.sleep(TTL * 2)

    slow = Slow()
    async with node(database, faults=slow) as (one, blockers):
        await blockers.get("a").put(1)
        slow.armed = True
        with pytest.raises(ActorUnavailable, match="may stand"):
            await blockers.get("a").put(2)
        await until(lambda: one.statistics().lease_left > 0)
        assert await blockers.get("a").value() == 2


async def test_nothing_comes_of_a_turn_that_ends_too_late(database: Database) -> None:
    TOLD.clear()
    async with node(database) as (one, blockers):
        await blockers.get("a").block_and_tell(0)
        await until(lambda: TOLD == ["called back", "spawned"])
        with pytest.raises(LeaseLost):
            await blockers.get("a").block_and_tell(TTL * 2)
        await until(lambda: one.statistics().lease_left > 0)
        await blockers.get("a").value()
        assert TOLD == ["called back", "spawned"]


@pytest.mark.parametrize(
    ("start", "by", "code"),
    [
        (lambda stub: stub.block(0.4), "blocker/a turns", "Blocker.block"),
        (lambda stub: stub.block_later(0.4, True), "blocker/a alarm", "Blocker.alarm"),
        (lambda stub: stub.block_later(0.4, False), "blocker/a dreaming", "Blocker.dream"),
    ],
)
async def test_whoever_holds_up_the_loop_is_named(
    database: Database, start: Callable[[Any], Awaitable[Any]], by: str, code: str
) -> None:
    async with node(database) as (one, blockers):
        await blockers.get("a").value()
        with structlog.testing.capture_logs() as logs:
            await start(blockers.get("a"))
            await until(lambda: one.statistics().held_steps)
        [log] = [log for log in logs if log["event"] == "event_loop_held"]
        assert (log["by"], log["code"], log["stack"]) == (by, code, None)
        assert 0.3 < log["seconds"] < 0.6
        assert one.statistics().held_steps == 1


async def test_many_short_steps_hold_up_nothing(database: Database) -> None:
    async with node(database) as (one, blockers):
        stubs = [blockers.get(str(n)) for n in range(100)]
        await asyncio.gather(*(stub.block(0.005) for stub in stubs))
        assert one.statistics().held_steps == 0


async def test_a_dead_renewal_stops_the_node_with_its_error(database: Database) -> None:
    class Deadly(FaultPoints):
        def reach(self, point: Point) -> None:
            if point == "lease_renewing":
                raise ZeroDivisionError

    async def run() -> None:
        async with node(database, faults=Deadly()) as (one, _):
            with pytest.raises(ZeroDivisionError):
                await one.wait_failed()

    with pytest.raises(ZeroDivisionError):
        await run()
    assert not [thread for thread in threading.enumerate() if thread.name == "node one"]


async def test_no_thread_outlives_its_node(database: Database) -> None:
    async with node(database, "left"), node(database, "killed") as (killed, _):
        await until(lambda: {thread.name for thread in threading.enumerate()} >= {"node left", "node killed"})
        await killed.kill()
        assert "node killed" not in {thread.name for thread in threading.enumerate()}
    assert "node left" not in {thread.name for thread in threading.enumerate()}
