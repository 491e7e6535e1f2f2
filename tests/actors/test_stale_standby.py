"""The database is replaced by a standby that lacks acknowledged commits: nobody goes on from what only memory knows."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer
from probe import Probe, cluster

from actors import ActorReset, ActorUnavailable, Database
from actors.errors import DatabaseUnavailable
from actors.migrations import migrate


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def copy(server: PostgresServer) -> None:
    subprocess.run(["cp", "-a", server.home / "data", server.home / "copy"], check=True)


def promote_the_copy(server: PostgresServer) -> None:
    """Put the copy in the server's place, as the new primary that it becomes when its own primary is lost."""
    server.kill()
    data, old = server.home / "data", server.home / "copy"
    data.rename(server.home / "lost")
    old.rename(data)
    (data / "postmaster.pid").unlink(missing_ok=True)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'false'\n")
    subprocess.run(["chown", "--reference", data, data / "recovery.signal"], check=True)
    server.start()


async def increment(stub: Probe) -> int:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(ActorReset, ActorUnavailable):
                return await stub.increment()
            await asyncio.sleep(0.01)


async def test_activations_and_the_lease_do_not_outlive_their_database(server: PostgresServer) -> None:
    async with Database(f"postgresql://tests@/postgres?host={server.home}") as database:
        await migrate(database, ["actors"])
        async with cluster(database, 1, lease_ttl=60.0) as nodes:
            [one] = nodes.declared
            assert await one.get().increment() == 1
            before = database.identity
            server.kill()
            await asyncio.to_thread(copy, server)
            await asyncio.to_thread(server.start)
            assert await increment(one.get()) == 2
            assert database.identity == before
            assert one.node.statistics().resets_by_reason.get("LeaseLost", 0) == 0
            await asyncio.to_thread(promote_the_copy, server)
            assert await increment(one.get()) == 2
            assert database.identity != before
            assert await database.pool.fetchval("SELECT incarnation FROM actors.nodes") == 2
            assert one.node.statistics().resets_by_reason["LeaseLost"] == 1


async def test_a_full_pool_says_so(database: Database) -> None:
    async with Database(database.dsn, size=1, patience=0.2) as small, small.session():
        with pytest.raises(DatabaseUnavailable, match="became free"):
            async with small.session():
                pass
