"""Commits whose connection is cut at the worst moment: the database knows, and the caller is told the truth."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from probe import INSERT, Setup, until

from actors import ActorReset, Database
from actors.lane import batches
from actors.turn import Statement

KEPT = pytest.mark.parametrize("alone", [False], indirect=True, ids=["kept"])
"""For tests about what is in memory while the rows of an actor cannot be had."""


async def backend(connection: Any, condition: str) -> int | None:
    """The backend of this database in which something is so."""
    found = await connection.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND " + condition
    )
    assert found is None or isinstance(found, int)
    return found


async def kill_when(connection: Any, condition: str) -> None:
    async def found() -> bool:
        return await backend(connection, condition) is not None

    await until(found)
    await connection.execute("SELECT pg_terminate_backend($1, 5000)", await backend(connection, condition))


async def dawdle(connection: Any, *, times: int) -> None:
    """So many commits that replace a stored value never come to their end."""
    await connection.execute(
        f"""
        CREATE SEQUENCE dawdled;
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('dawdled') <= {times} THEN PERFORM pg_sleep(60); END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON actors.storage DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION dawdle()
        """
    )


@KEPT
async def test_a_commit_cut_before_it_was_durable_is_made_again(alone: Setup, database: Database) -> None:
    stub = alone.get()
    assert await stub.increment() == 1
    observer = await database.connect()
    await dawdle(observer, times=1)
    call, reading = asyncio.ensure_future(stub.increment()), asyncio.ensure_future(stub.read())
    await kill_when(observer, "wait_event = 'PgSleep'")
    assert (await call, await reading) == (2, 2)
    assert await stub.increment() == 3
    assert await stub.stored() == 3
    await observer.close()


@KEPT
async def test_a_commit_that_ends_its_connection_each_time_is_given_up(alone: Setup, database: Database) -> None:
    stub, other = alone.get("a"), alone.get("b")
    assert [await stub.increment(), await other.increment()] == [1, 1]
    observer = await database.connect()
    await dawdle(observer, times=3)
    call, reading = asyncio.ensure_future(stub.increment()), asyncio.ensure_future(stub.read())
    for _ in range(3):
        await kill_when(observer, "wait_event = 'PgSleep'")
    with pytest.raises(ActorReset):
        await call
    with pytest.raises(ActorReset):
        await reading
    assert [await stub.increment(), await other.increment()] == [2, 2]
    await observer.close()


@KEPT
async def test_a_commit_cut_after_it_was_durable_is_reported_as_done(alone: Setup, database: Database) -> None:
    stub = alone.get()
    assert await stub.increment() == 1
    observer = await database.connect()
    try:
        await observer.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await observer.execute("SELECT pg_reload_conf()")
        call, count = asyncio.ensure_future(stub.increment()), 2
        stuck = "wait_event = 'SyncRep' AND query LIKE '%INTO actors.storage%'"
        async with asyncio.timeout(10):
            while await backend(observer, stuck) is None:  # the server takes a moment to apply its setting
                if call.done():
                    call, count = asyncio.ensure_future(stub.increment()), count + 1
        await kill_when(observer, stuck)
    finally:
        await observer.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await observer.execute("SELECT pg_reload_conf()")
        await observer.close()
    assert await call == count
    assert await stub.increment() == count + 1
    assert alone.world.count("activated a") == 1


@KEPT
async def test_a_lost_connection_before_the_commit_is_made_good(alone: Setup, database: Database) -> None:
    stub = alone.get()
    assert await stub.increment() == 1
    observer, blocker = await database.connect(), await database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM actors.actors FOR UPDATE")
        call = asyncio.ensure_future(stub.increment())
        await kill_when(observer, "wait_event_type = 'Lock'")
        await asyncio.wait([call], timeout=0.1)
        assert not call.done()
    assert await call == 2
    await observer.close()
    await blocker.close()


@KEPT
async def test_spawned_work_starts_after_its_turn_is_durable(alone: Setup, database: Database) -> None:
    stub = alone.get()
    await stub.increment()
    turns = alone.node.statistics().turns
    blocker = await database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM actors.actors FOR UPDATE")
        write, spawn = asyncio.ensure_future(stub.increment()), asyncio.ensure_future(stub.spawn())
        await until(lambda: alone.node.statistics().turns == turns + 2)
        await asyncio.wait([write, spawn], timeout=0.1)
        assert alone.world.count("spawned") == 0
    await asyncio.gather(write, spawn)
    await until(lambda: alone.world.count("spawned") == 1)
    await blocker.close()


def test_batches_keep_each_actors_order() -> None:
    def statement(text: str, number: int) -> Statement:
        from msgspec.structs import replace

        return Statement(query=replace(INSERT, text=text), arguments=[number], rows=1)

    sequences = [
        [statement("a", 1), statement("b", 2), statement("a", 3)],
        [statement("b", 4), statement("a", 5)],
        [statement("a", 6), statement("a", 7)],
    ]
    merged = [one for batch in batches(sequences) for one in batch]
    for sequence in sequences:
        places = [merged.index(one) for one in sequence]
        assert places == sorted(places)
    assert len(merged) == 7
    assert len(list(batches(sequences))) <= 4
