"""How often the disk is waited for, as a server counts that does wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from postgres_server import PostgresServer
from probe import Probe, Setup, cluster, until

from actors import Database, migrate
from actors.testing import run_in_actor


@pytest.fixture(scope="module")
def durable_server() -> Iterator[PostgresServer]:
    with PostgresServer(durable=True) as server:
        yield server


@pytest.fixture
async def durable(durable_server: PostgresServer) -> AsyncIterator[Database]:
    async with Database(f"postgresql://tests@/postgres?host={durable_server.home}") as database:
        await migrate(database)
        yield database


@pytest.fixture
async def setup(durable: Database) -> AsyncIterator[Setup]:
    """A node that writes nothing but commits: it need not renew its lease."""
    async with cluster(durable, 1, lease_ttl=600.0) as nodes:
        yield nodes.declared[0]


async def fsyncs(database: Database) -> int:
    """How often other sessions, which stored, have synced the log. They tell of it once idle for some seconds."""
    found = await database.pool.fetchval(
        "SELECT coalesce(sum(io.fsyncs), 0)::bigint FROM pg_stat_activity a, pg_stat_get_backend_io(a.pid) io "
        "WHERE a.query LIKE '%INTO actors.storage%' AND a.pid <> pg_backend_pid() AND io.object = 'wal'"
    )
    assert isinstance(found, int)
    return found


async def all_told(setup: Setup, database: Database) -> int:
    """How many fsyncs the commits of the node took so far."""
    made = setup.node.statistics().transactions
    assert made > 0
    spent = 0

    async def told() -> bool:
        nonlocal spent
        spent = await fsyncs(database)
        return spent >= made

    await until(told, seconds=30)
    return spent


async def test_64_turns_at_once_are_few_fsyncs(setup: Setup, durable: Database) -> None:
    stubs = [setup.get(str(number)) for number in range(64)]
    await asyncio.gather(*(stub.read() for stub in stubs))
    assert await fsyncs(durable) == 0
    await asyncio.gather(*(stub.increment() for stub in stubs))
    spent = await all_told(setup, durable)
    print(f"\n64 turns at once: {spent} fsyncs")
    assert spent <= 10


async def test_1000_puts_of_a_turn_are_one_fsync(setup: Setup, durable: Database) -> None:
    async def put(actor: Probe) -> None:
        for number in range(1000):
            actor.ctx.storage.put(f"key {number}", number)

    await run_in_actor(setup.get("many"), put)
    assert await all_told(setup, durable) == 1
