"""Turns: exclusive, atomic, and answered when they are durable."""

from __future__ import annotations

import asyncio

import pytest
from probe import ProbeError, Setup, cluster, until

from actors import ActorReset, BadCall, CallFailed, Database, NestedCall, TurnTimeout, WrongRowCount
from actors.testing import evict


async def make_rows(database: Database) -> None:
    await database.pool.execute("CREATE TABLE probe_rows (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")


async def value(database: Database, name: str = "a", key: str = "count") -> bytes | None:
    found = await database.pool.fetchval("SELECT value FROM actors.storage WHERE name = $1 AND key = $2", name, key)
    assert found is None or isinstance(found, bytes)
    return found


async def test_500_concurrent_read_modify_writes_keep_500(alone: Setup) -> None:
    stub = alone.get()
    results = await asyncio.gather(*(stub.increment() for _ in range(500)))
    assert sorted(results) == list(range(1, 501))
    assert await alone.get().stored() == 500


async def test_making_a_stub_does_nothing(alone: Setup, database: Database) -> None:
    alone.get("untouched")
    assert await alone.probes.names() == []
    assert alone.world.events == []


async def test_100_first_calls_activate_once(alone: Setup) -> None:
    await asyncio.gather(*(alone.get().read() for _ in range(100)))
    assert alone.world.count("activated a") == 1


async def test_calls_start_unawaited_and_in_order(alone: Setup) -> None:
    stub = alone.get()
    calls = [stub.note(str(number)) for number in range(300)]
    assert await calls[-1] == "299"
    assert alone.world.events == ["activated a", *map(str, range(300))]
    await asyncio.gather(*calls)


async def test_arguments_and_results_are_copied(alone: Setup) -> None:
    items = [1, 2, 3]
    assert await alone.get().append(items) == [1, 2, 3, 4]
    assert items == [1, 2, 3]


async def test_arguments_that_do_not_fit_are_refused(alone: Setup) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        await alone.get().increment(bye=1)  # type: ignore[call-arg]
    with pytest.raises(BadCall, match=r"Probe.increment: Expected `int`, got `str` - at `\$.by`"):
        await alone.get().increment("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["_ran", "on_activate", "alarm", "urgent", "count", "nothing"])
def test_only_public_methods_can_be_called(alone: Setup, name: str) -> None:
    with pytest.raises(AttributeError, match="has no method"):
        getattr(alone.get(), name)


async def test_a_raising_turn_writes_nothing_and_the_actor_is_loaded_anew(alone: Setup, database: Database) -> None:
    stub = alone.get()
    await stub.increment(5)
    with pytest.raises(ProbeError) as raised:
        await stub.put_and_raise()
    assert (raised.value.args, raised.value.code) == (("no",), 7)
    assert await stub.read() == 5
    assert await stub.schedules() == {}
    assert alone.world.events == ["activated a", "activated a"]


async def test_a_turn_that_raises_without_writing_keeps_the_activation(alone: Setup) -> None:
    stub = alone.get()
    with pytest.raises(ProbeError):
        await stub.fail()
    with pytest.raises(CallFailed, match="LookupError: nowhere") as raised:
        await stub.fail_strangely()
    assert raised.value.type == "builtins.LookupError"
    assert await stub.read() == 0
    assert alone.world.events == ["activated a"]


async def test_a_nested_call_raises_at_once(alone: Setup) -> None:
    with pytest.raises(NestedCall):
        await alone.get("a").call_other("b")
    with pytest.raises(NestedCall):
        await alone.get("a").call_other("a")


async def test_a_turn_that_takes_too_long_is_ended(database: Database) -> None:
    async with cluster(database, 1, turn_limit=0.05) as nodes:
        stub = nodes.declared[0].get("slow")
        hanging, waiting = stub.hang(), stub.read()
        with pytest.raises(TurnTimeout):
            await hanging
        assert await waiting == 0
        assert nodes.declared[0].world.count("activated slow") == 2


async def test_the_reply_leaves_after_the_commit(alone: Setup, database: Database) -> None:
    stub = alone.get()
    await stub.increment()
    turns = alone.node.statistics().turns
    blocker = await database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM actors.actors WHERE name = 'a' FOR UPDATE")
        write, read = asyncio.ensure_future(stub.increment()), asyncio.ensure_future(stub.read())
        await until(lambda: alone.node.statistics().turns == turns + 2)
        done, _ = await asyncio.wait([write, read], timeout=0.2)
        assert not done
    assert (await write, await read) == (2, 2)
    await blocker.close()


async def test_callbacks_run_after_the_commit(alone: Setup, database: Database) -> None:
    await alone.get().put_then_call_back()
    assert alone.world.events == ["activated a", "turn over", "committed"]


async def test_a_wrong_row_count_fails_its_turn_alone(alone: Setup, database: Database) -> None:
    await make_rows(database)
    await asyncio.gather(*(alone.get(str(id)).insert(id) for id in range(20)))
    results = await asyncio.gather(
        *(alone.get(str(id)).update(id if id != 7 else 99) for id in range(20)), return_exceptions=True
    )
    [error] = [result for result in results if result is not None]
    assert isinstance(error, WrongRowCount)
    assert (error.query, error.expected, error.got) == ("probe_update", 1, 0)
    assert isinstance(results[7], WrongRowCount)
    counts = await database.pool.fetch("SELECT id, n FROM probe_rows")
    assert {row["id"]: row["n"] for row in counts} == {id: int(id != 7) for id in range(20)}
    assert await value(database, "7", "updated") is None
    await alone.get("7").update(99, None)


async def test_what_is_built_on_a_failed_turn_fails_with_it(alone: Setup, database: Database) -> None:
    await make_rows(database)
    stub = alone.get()
    assert await stub.increment() == 1
    good, culprit, on_top, reading = stub.increment(), stub.update(99), stub.increment(), stub.read()
    results = await asyncio.gather(good, culprit, on_top, reading, return_exceptions=True)
    assert results[0] == 2
    assert isinstance(results[1], WrongRowCount)
    assert type(results[2]) is ActorReset or results[2] == 3
    assert await stub.read() == await stub.stored()
    assert await value(database, key="updated") is None


async def test_group_commit(alone: Setup) -> None:
    stubs = [alone.get(str(id)) for id in range(50)]
    await asyncio.gather(*(stub.read() for stub in stubs))
    before = alone.node.statistics()
    await asyncio.gather(*(stub.increment() for stub in stubs for _ in range(4)))
    after = alone.node.statistics()
    assert after.committed_turns - before.committed_turns == 200
    assert after.transactions - before.transactions <= 20


async def test_a_transaction_and_the_turns_writes_are_one_commit(alone: Setup, database: Database) -> None:
    await make_rows(database)
    stub = alone.get()
    assert await stub.transact(1) == 1
    assert await stub.get("transacted") == 1
    with pytest.raises(ProbeError):
        await stub.transact(2, fail=True)
    assert await stub.get("transacted") == 1
    assert await database.pool.fetchval("SELECT count(*) FROM probe_rows") == 1


async def test_storage(alone: Setup, database: Database) -> None:
    stub = alone.get()
    for key in ("b", "a1", "a2", "é", "a"):
        await stub.put(key, {"key": key})
    await stub.delete("a2")
    assert await stub.keys() == ["a", "a1", "b", "é"]
    await evict(stub)
    assert await stub.keys("a") == ["a", "a1"]
    assert await stub.get("é") == {"key": "é"}
    assert await stub.get("a2") is None
    with pytest.raises(CallFailed, match="may have"):
        await stub.put("big", b"x" * (1 << 21))
