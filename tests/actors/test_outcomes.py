"""Commits whose answer is lost: cut off, swallowed, or not waited for. The caller hears what the database has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from probe import INSERT, Probe, ProbeError, Setup, cluster, until
from proxy import Proxy, Way

from actors import ActorReset, ActorUnavailable, Database, LeaseLost, TurnTimeout
from actors.faults import FaultPoints, Point
from actors.testing import FakeClock, run_in_actor

TTL = 8.0
LIMIT = 1.0

KEPT = pytest.mark.parametrize("alone", [False], indirect=True, ids=["kept"])
"""For tests about what is in memory while the rows of an actor cannot be had."""


class OnceSent(FaultPoints):
    """Does something when a commit is being sent, once: before its bytes are, or right behind them."""

    def __init__(self) -> None:
        self.before: Callable[[], None] | None = None
        self.behind: Callable[[], None] | None = None
        self.reached = 0

    def reach_once_sent(self, point: Point) -> None:
        assert point == "commit_sent"
        if self.before is not None or self.behind is not None:
            self.reached += 1
        before, behind, self.before, self.behind = self.before, self.behind, None, None
        if before is not None:
            before()
        if behind is not None:
            asyncio.get_running_loop().call_soon(behind)


@asynccontextmanager
async def far(database: Database, faults: FaultPoints) -> AsyncIterator[tuple[Setup, Proxy]]:
    """A node whose road to the database can be cut."""
    host = database.dsn.partition("?host=")[2]
    name = database.dsn.partition("?")[0].rpartition("/")[2]
    async with (
        Proxy(f"{host}/.s.PGSQL.5432") as road,
        Database(f"postgresql://tests@127.0.0.1:{road.port}/{name}?sslmode=disable") as distant,
        cluster(distant, 1, lease_ttl=TTL, faults=faults) as nodes,
    ):
        yield nodes.declared[0], road


async def make_rows(database: Database) -> None:
    await database.pool.execute("CREATE TABLE probe_rows (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")


async def seq(database: Database, name: str = "a") -> int:
    found = await database.pool.fetchval("SELECT seq FROM actors.actors WHERE name = $1", name)
    assert isinstance(found, int)
    return found


CALLS: dict[str, Callable[[Probe], Coroutine[Any, Any, Any]]] = {
    "one statement": lambda stub: stub.increment(),
    "with deferred statements": lambda stub: stub.insert(1),
    "a transaction of its own": lambda stub: stub.transact(1),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("swallowed", ["question", "answer"])
@pytest.mark.parametrize("heard", ["broken", "silent"])
async def test_a_lost_answer_is_settled(
    kind: str, swallowed: str, heard: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The road swallows COMMIT or its answer, and then the connection breaks, or nothing is ever heard of it again."""
    if heard == "silent":
        monkeypatch.setattr("actors.lane.LIMIT", 0.5)
        monkeypatch.setattr("actors.committer.LIMIT", 0.5)
    await make_rows(database)
    faults = OnceSent()
    async with far(database, faults) as (setup, road):
        stub = setup.get()
        await asyncio.gather(stub.read(), setup.get("b").increment())
        before = await seq(database)
        way: Way = "there" if swallowed == "question" else "back"
        if swallowed == "question":
            faults.before = lambda: road.cut(way)
        else:
            faults.behind = lambda: road.cut(way)
        call = asyncio.ensure_future(CALLS[kind](stub))
        await until(lambda: road.swallowed[way] > 0)
        assert faults.reached == 1
        if heard == "broken":
            road.heal()
        else:
            road.forget()
        await asyncio.wait([call])
        result = call.exception()
        durable = await seq(database) > before
        if kind == "a transaction of its own" and swallowed == "question":
            assert isinstance(result, ActorReset), result  # nobody else can run its code again
            assert not durable
        else:
            assert result is None, result
            assert durable
        rows = await database.pool.fetchval("SELECT count(*) FROM probe_rows")
        assert rows == (durable and kind != "one statement")
        assert await stub.increment() == 1 + (kind == "one statement")
        assert await setup.get("b").increment() == 2


async def test_a_turns_limit_does_not_cut_its_commit_short(database: Database) -> None:
    await make_rows(database)
    async with cluster(database, 1, turn_limit=LIMIT) as nodes:
        stub = nodes.declared[0].get()
        await stub.read()
        observer = await database.connect()
        await observer.execute(
            """
            CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_sleep(1.5);
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON probe_rows DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION dawdle()
            """
        )
        assert await stub.transact(1) == 1
        assert await stub.get("transacted") == 1
        await observer.close()


async def test_a_turn_that_is_late_after_its_transaction_says_that_it_may_stand(database: Database) -> None:
    await make_rows(database)
    clock = FakeClock()
    await clock.install(database)
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def late(actor: Probe) -> None:
        async with actor.ctx.transaction() as tx:
            await tx.execute(INSERT, id=1)
        await hang()

    async def later(actor: Probe) -> None:
        async with actor.ctx.transaction() as tx:
            await tx.execute(INSERT, id=2)
            await hang()

    async def until_over(work: Callable[[Probe], Coroutine[Any, Any, None]]) -> None:
        reached.clear()
        running = asyncio.ensure_future(run_in_actor(stub, work))
        await reached.wait()
        await clock.advance(LIMIT)
        await running

    async with cluster(database, 1, clock=clock, turn_limit=LIMIT) as nodes:
        stub = nodes.declared[0].get()
        with pytest.raises(ActorUnavailable, match="may stand"):
            await until_over(late)
        with pytest.raises((ActorUnavailable, TurnTimeout)):
            await until_over(later)
        assert await stub.read() == 0
        assert [row["id"] for row in await database.pool.fetch("SELECT id FROM probe_rows")] == [1]


@KEPT
async def test_a_transaction_is_fenced_first(alone: Setup, database: Database) -> None:
    await make_rows(database)
    stub = alone.get()
    await stub.read()
    await database.pool.execute("UPDATE actors.actors SET epoch = epoch + 1")
    ran: list[str] = []

    async def transact(actor: Probe) -> None:
        async with actor.ctx.transaction() as tx:
            ran.append("body")
            await tx.execute(INSERT, id=1)

    with pytest.raises(ActorReset):
        await run_in_actor(stub, transact)
    assert ran == []
    await run_in_actor(stub, transact)
    assert ran == ["body"]


@KEPT
async def test_a_transaction_outlives_no_lease(alone: Setup, database: Database) -> None:
    await make_rows(database)
    stub = alone.get()
    assert await stub.increment() == 1

    async def stand_still(actor: Probe) -> None:
        async with actor.ctx.transaction() as tx:
            await tx.execute(INSERT, id=1)
            actor.ctx.storage.put("count", 2)
            await database.pool.execute("UPDATE actors.nodes SET lease_until = actors_now() - interval '1 s'")

    with pytest.raises(LeaseLost):
        await run_in_actor(stub, stand_still)
    renewed = "SELECT count(*) FROM actors.nodes WHERE lease_until > actors_now()"
    await until(lambda: database.pool.fetchval(renewed))
    await until(lambda: alone.node.statistics().lease_left > 0)
    assert await stub.stored() == 1
    assert await database.pool.fetchval("SELECT count(*) FROM probe_rows") == 0


@KEPT
async def test_a_transaction_waits_for_the_actors_commits_before_it(alone: Setup, database: Database) -> None:
    await make_rows(database)
    stub = alone.get()
    await stub.read()
    blocker = await database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM actors.actors FOR UPDATE")
        calls = [asyncio.ensure_future(one) for one in (stub.increment(), stub.transact(1), stub.increment())]
        await until(lambda: alone.node.statistics().waiting_calls == 1)
        assert not any(call.done() for call in calls)
    assert [await call for call in calls] == [1, 1, 2]
    with pytest.raises(ProbeError):
        await stub.transact(2, fail=True)
    assert await stub.increment() == 3
    await blocker.close()
