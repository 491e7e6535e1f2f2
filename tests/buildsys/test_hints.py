"""Hints: at once in a process, by NOTIFY to others, and through a database that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock, Mock

import asyncpg
import pytest
from objects_bench import until

from actors import Database
from buildsys.store import hints as hints_module
from buildsys.store.hints import CHANNEL, Hints


@pytest.fixture
async def here(database: Database) -> AsyncIterator[Hints]:
    async with Hints(database=database) as hints:
        yield hints


@pytest.fixture
async def there(postgres_dsn: str) -> AsyncIterator[Hints]:
    """The hints of another process, for all they know of each other."""
    async with Database(postgres_dsn) as database, Hints(database=database) as hints:
        yield hints


async def listening(database: Database, count: int) -> None:
    """Wait until so many processes listen."""
    query = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%{CHANNEL}%'"
    )

    async def enough() -> bool:
        return bool(await database.pool.fetchval(query) >= count)

    await until(enough)


async def test_in_this_process_a_hint_is_there_when_send_returns(here: Hints) -> None:
    with here.subscribe("queue") as changed, here.subscribe("assignments") as other:
        here.send("queue")
        assert changed.is_set()
        assert not other.is_set()


async def test_every_listener_gets_it_and_one_that_left_does_not(here: Hints) -> None:
    with here.subscribe("queue") as stays:
        with here.subscribe("queue") as left, here.subscribe("queue") as second:
            here.send("queue")
            assert left.is_set()
            assert second.is_set()
        left.clear()
        stays.clear()
        here.send("queue")
        assert stays.is_set()
        assert not left.is_set()


async def test_it_reaches_other_processes(database: Database, here: Hints, there: Hints) -> None:
    await listening(database, 2)
    with there.subscribe("log:1") as changed, there.subscribe("log:2") as other:
        here.send("log:1")
        async with asyncio.timeout(5):
            await changed.wait()
        assert not other.is_set()


async def test_a_burst_of_many_topics_reaches_other_processes_whole(
    database: Database, here: Hints, there: Hints
) -> None:
    """More than one NOTIFY can carry."""
    await listening(database, 2)
    topics = [f"log:{number:04}{'x' * 40}" for number in range(1000)]
    with there.subscribe(topics[0]) as first, there.subscribe(topics[-1]) as last, there.subscribe(topics[500]) as one:
        for topic in topics:
            here.send(topic)
        async with asyncio.timeout(5):
            await asyncio.gather(first.wait(), last.wait(), one.wait())


async def test_after_a_lost_connection_everyone_looks_again(database: Database, here: Hints, there: Hints) -> None:
    await listening(database, 2)
    with there.subscribe("queue") as changed:
        await _cut_all(database)
        async with asyncio.timeout(10):
            await changed.wait()
        changed.clear()
        await listening(database, 2)
        here.send("queue")
        async with asyncio.timeout(5):
            await changed.wait()


async def test_sending_never_fails(database: Database, here: Hints) -> None:
    await listening(database, 1)
    with here.subscribe("queue") as changed:
        for _ in range(20):
            await _cut_all(database)
            here.send("queue")
            assert changed.is_set()
            changed.clear()


async def _cut_all(database: Database) -> None:
    connection = await database.connect()
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def test_connections_cut_at_an_unlucky_moment_end_nothing(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg has an error of its own for those, which is none of its errors of connections."""
    unlucky = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    monkeypatch.setattr(hints_module, "AGAIN", 0.05)
    async with Database(postgres_dsn) as database, Database(postgres_dsn) as elsewhere:
        cut = Mock(wraps=database, pool=Mock(wraps=database.pool))
        cut.connect = AsyncMock(side_effect=[unlucky, await database.connect()])
        cut.pool.execute = AsyncMock(side_effect=[unlucky, None])
        async with Hints(database=cut) as here, Hints(database=elsewhere) as there:
            await listening(database, 2)
            with here.subscribe("queue") as changed:
                there.send("queue")
                async with asyncio.timeout(5):
                    await changed.wait()
            for count in (1, 2):
                here.send("log:1")
                await until(lambda count=count: cut.pool.execute.await_count == count)  # type: ignore[misc]
