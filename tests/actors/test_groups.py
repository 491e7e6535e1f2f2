"""Groups: what shares a commit, what it costs, and that one of many fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from probe import INSERT, Probe, Setup, cluster, query, until

from actors import ActorReset, Context, Database, LeaseLost, NestedCall, WrongRowCount
from actors.commit import Commit
from actors.lane import MAX_BYTES, Lane
from actors.placement import Fence
from actors.testing import evict, run_in_actor
from actors.turn import MAX_KEY, MAX_TURN, MAX_VALUE, Turn

SMALLINT = query("INSERT INTO probe_rows (id, small) VALUES (:id, :small::smallint)", "probe_small")
ANYTHING = query("INSERT INTO probe_rows (id) VALUES (:id)", "probe_anything")

KEPT = pytest.mark.parametrize("alone", [False], indirect=True, ids=["kept"])
"""For tests about what is in memory while the rows of an actor cannot be had."""


async def make_rows(database: Database) -> None:
    await database.pool.execute(
        "CREATE TABLE probe_rows (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, small smallint CHECK (small <> 13))"
    )


async def commits(database: Database) -> int:
    """How many transactions this database has written, as its server counts."""
    found = await database.pool.fetchval("SELECT pg_current_xact_id()::text::bigint")
    assert isinstance(found, int)
    return found


async def in_turns(setup: Setup, names: list[str], work: Callable[[Context, str], Any]) -> list[Any]:
    """Do something in a turn of each of these actors, all at once."""

    async def one(name: str) -> None:
        async def run(actor: Probe) -> None:
            work(actor.ctx, name)

        await run_in_actor(setup.get(name), run)

    return await asyncio.gather(*(one(name) for name in names), return_exceptions=True)


@pytest.fixture
async def counted(database: Database) -> AsyncIterator[Setup]:
    """A node that writes nothing but commits: it need not renew its lease."""
    async with cluster(database, 1, lease_ttl=600.0) as nodes:
        yield nodes.declared[0]


async def test_64_turns_at_once_of_64_actors_are_few_commits(counted: Setup, database: Database) -> None:
    stubs = [counted.get(str(number)) for number in range(64)]
    await asyncio.gather(*(stub.read() for stub in stubs))
    before, statistics = await commits(database), counted.node.statistics()
    await asyncio.gather(*(stub.increment() for stub in stubs))
    spent = await commits(database) - before - 1
    after = counted.node.statistics()
    assert after.committed_turns - statistics.committed_turns == 64
    assert after.transactions - statistics.transactions == spent <= 10


async def test_1000_puts_of_a_turn_are_one_commit(counted: Setup, database: Database) -> None:
    await counted.get().read()
    before, statistics = await commits(database), counted.node.statistics()

    def put(ctx: Context, name: str) -> None:
        for number in range(1000):
            ctx.storage.put(f"key {number}", number)

    assert await in_turns(counted, ["a"], put) == [None]
    assert await commits(database) - before - 1 == 1
    assert counted.node.statistics().transactions - statistics.transactions == 1
    assert await database.pool.fetchval("SELECT count(*) FROM actors.storage") == 1000


Poison = Callable[[Context], None]


@pytest.mark.parametrize(
    ("poison", "error"),
    [
        pytest.param(lambda ctx: ctx.execute(SMALLINT, id=99, small=13), "CheckViolation", id="refused by a rule"),
        pytest.param(lambda ctx: ctx.execute(SMALLINT, id=99, small=40_000), "DataError", id="out of range"),
        pytest.param(lambda ctx: ctx.execute(ANYTHING, id=object()), "DataError", id="of another type"),
        pytest.param(lambda ctx: ctx.execute(INSERT, id=1000), "UniqueViolation", id="there already"),
        pytest.param(
            lambda ctx: ctx.execute(query("DELETE FROM probe_rows WHERE id = :id"), id=99), "WrongRowCount", id="no row"
        ),
    ],
)
async def test_one_of_50_fails_alone(poison: Poison, error: str, alone: Setup, database: Database) -> None:
    await make_rows(database)
    await database.pool.execute("INSERT INTO probe_rows (id) VALUES (1000)")
    names = [f"{number:02}" for number in range(50)]
    await asyncio.gather(*(alone.get(name).read() for name in names))

    def work(ctx: Context, name: str) -> None:
        ctx.storage.put("x", name)
        if name == "17":
            poison(ctx)
        else:
            ctx.execute(INSERT, id=int(name))

    results = await in_turns(alone, names, work)
    [failed] = [result for result in results if result is not None]
    assert failed is results[17]
    assert error in f"{type(failed).__name__} {failed}"
    rows = await database.pool.fetch("SELECT id FROM probe_rows WHERE id < 99 ORDER BY id")
    assert [row["id"] for row in rows] == [number for number in range(50) if number != 17]
    stored = await database.pool.fetch("SELECT name FROM actors.storage WHERE key = 'x' ORDER BY name")
    assert [row["name"] for row in stored] == [name for name in names if name != "17"]


@KEPT
async def test_a_fenced_actor_of_50_fails_alone_and_writes_nothing(alone: Setup, database: Database) -> None:
    names = [f"{number:02}" for number in range(50)]
    await asyncio.gather(*(alone.get(name).increment() for name in names))
    await database.pool.execute("UPDATE actors.actors SET epoch = epoch + 1 WHERE name = '17'")
    seqs = await database.pool.fetch("SELECT name, seq FROM actors.actors")
    results = await asyncio.gather(*(alone.get(name).increment() for name in names), return_exceptions=True)
    assert [result for result in results if result != 2] == [results[17]]
    assert isinstance(results[17], LeaseLost)
    after = {row["name"]: row["seq"] for row in await database.pool.fetch("SELECT name, seq FROM actors.actors")}
    assert after == {row["name"]: row["seq"] + (row["name"] != "17") for row in seqs}
    assert await alone.get("17").increment() == 2


@KEPT
async def test_an_owner_without_a_lease_writes_nothing(alone: Setup, database: Database) -> None:
    await asyncio.gather(alone.get("a").increment(), alone.get("b").increment())
    await database.pool.execute("UPDATE actors.nodes SET lease_until = now() - interval '1 minute'")
    results = await asyncio.gather(
        alone.get("a").increment(), alone.get("b").put("x", 1), alone.get("b").delete("y"), return_exceptions=True
    )
    assert [isinstance(result, ActorReset) for result in results] == [True, True, True]
    assert await database.pool.fetchval("SELECT array_agg(seq) FROM actors.actors") == [1, 1]


@KEPT
async def test_what_is_pipelined_on_the_culprit_fails_and_all_else_commits(alone: Setup, database: Database) -> None:
    await make_rows(database)
    names = [str(number) for number in range(20)]
    await asyncio.gather(*(alone.get(name).increment() for name in names))
    turns = alone.node.statistics().turns
    blocker = await database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM actors.actors FOR UPDATE")
        first = alone.get("0").increment()
        await until(lambda: alone.node.statistics().turns > turns)
        calls = [alone.get("7").increment(), alone.get("7").update(99), alone.get("7").increment()]
        calls += [alone.get(name).increment() for name in names if name not in "07"]
        await until(lambda: alone.node.statistics().waiting_calls == 0)
    assert await first == 2
    good, culprit, on_top, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert good == 2
    assert isinstance(culprit, WrongRowCount)
    assert type(on_top) is ActorReset
    assert others == [2] * 18
    assert await alone.get("7").stored() == 2
    await blocker.close()


@KEPT
async def test_a_statement_that_waits_for_a_lock_holds_up_no_storage(alone: Setup, database: Database) -> None:
    await make_rows(database)
    await database.pool.execute("INSERT INTO probe_rows (id) VALUES (1)")
    await asyncio.gather(alone.get("waits").read(), alone.get("stores").read())
    blocker = await database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM probe_rows FOR UPDATE")
        waits = asyncio.ensure_future(alone.get("waits").update(1))
        assert [await alone.get("stores").increment() for _ in range(20)] == list(range(1, 21))
        behind = asyncio.ensure_future(alone.get("waits").increment())
        assert await alone.get("stores").increment() == 21
        assert not waits.done()
        assert not behind.done()
    await waits
    assert await behind == 1
    await blocker.close()


async def test_a_group_is_bounded_by_turns_and_by_bytes(database: Database) -> None:
    def commit(size: int) -> Commit:
        turn = Turn(None)  # type: ignore[arg-type]  # of nobody
        turn.size = size
        return Commit(Fence(id=None, epoch=1, seq=0, incarnation=1), turn)  # type: ignore[arg-type]

    lane = Lane(database=database, queries=None, outcomes=None, lease=None, faults=None, settings={})  # type: ignore[arg-type]
    for size in (MAX_BYTES // 2, MAX_BYTES // 2, 1, MAX_TURN, MAX_TURN, *(300 * [1])):
        lane.add(commit(size))
    groups = []
    while len(lane):
        groups.append([one.turn.size for one in lane._gather()])
    assert [len(group) for group in groups] == [2, 1, 1, 1, 256, 44]


@pytest.mark.parametrize(
    ("write", "error", "match"),
    [
        (lambda ctx: ctx.storage.put("k" * (MAX_KEY + 1), 1), ValueError, "key has at most"),
        (lambda ctx: ctx.storage.put("a\0b", 1), ValueError, "NUL"),
        (lambda ctx: ctx.storage.delete("a\0b"), ValueError, "NUL"),
        (lambda ctx: ctx.storage.put("\ud800", 1), ValueError, "surrogates"),
        (lambda ctx: ctx.storage.put("k", "\ud800"), ValueError, "surrogates"),
        (lambda ctx: ctx.storage.put("k", object()), TypeError, "unsupported"),
        (lambda ctx: ctx.storage.put("k", b"x" * MAX_VALUE), ValueError, "may have"),
        (lambda ctx: [ctx.storage.put(str(n), b"x" * (MAX_VALUE - 9)) for n in range(17)], ValueError, "at most"),
        (lambda ctx: ctx.execute(INSERT, id="a\0b"), ValueError, "NUL"),
        (lambda ctx: ctx.execute(INSERT, id="\ud800"), ValueError, "surrogates"),
        (lambda ctx: ctx.execute(INSERT, id=b"x" * (MAX_TURN + 1)), ValueError, "at most"),
    ],
)
async def test_what_cannot_be_written_is_refused_at_the_write(
    write: Callable[[Context], None], error: type[Exception], match: str, alone: Setup, database: Database
) -> None:
    raised: list[Exception] = []

    def work(ctx: Context, name: str) -> None:
        ctx.storage.put("before", 1)
        try:
            write(ctx)
        except Exception as one:
            raised.append(one)
        ctx.storage.put("after", 2)

    assert await in_turns(alone, ["a"], work) == [None]
    assert isinstance(raised[0], error)
    assert match in str(raised[0])
    await evict(alone.get("a"))
    assert (await alone.get("a").get("before"), await alone.get("a").get("after")) == (1, 2)


@pytest.mark.parametrize("foreign", ["a step of the loop", "a query"])
async def test_500_read_modify_writes_around_a_foreign_await_keep_500(
    foreign: str, alone: Setup, database: Database
) -> None:
    async def increment(actor: Probe) -> int:
        before = await actor.ctx.storage.get("n", int) or 0
        if foreign == "a query":
            await database.pool.execute("SELECT 1")
        else:
            await asyncio.sleep(0)
        actor.ctx.storage.put("n", before + 1)
        return before + 1

    stub = alone.get()
    results = await asyncio.gather(*(run_in_actor(stub, increment) for _ in range(500)))
    assert sorted(results) == list(range(1, 501))
    await evict(stub)
    assert await stub.get("n") == 500


async def test_a_turn_reaches_no_actor_by_any_way_round(alone: Setup) -> None:
    async def by_a_task(actor: Probe) -> None:
        await asyncio.create_task(alone.get("b").read())

    async def by_a_group(actor: Probe) -> None:
        async def call() -> None:
            await alone.get("b").read()

        await asyncio.gather(call())

    async def there_and_back(actor: Probe) -> None:
        await alone.get("b").call_other("a")

    async with asyncio.timeout(2):
        for work in (by_a_task, by_a_group, there_and_back):
            with pytest.raises(NestedCall):
                await run_in_actor(alone.get("a"), work)


async def test_spawned_work_of_two_actors_may_call_in_a_circle(alone: Setup) -> None:
    found: list[int] = []

    async def spawn(actor: Probe) -> None:
        async def work() -> None:
            async def back(other: Probe) -> None:
                async def again() -> None:
                    found.append(await alone.get("a").increment())

                other.ctx.spawn(again(), name="back")

            await run_in_actor(alone.get("b"), back)

        actor.ctx.spawn(work(), name="there")

    await run_in_actor(alone.get("a"), spawn)
    await until(lambda: found == [1])
