"""Postgres dies and comes back, and its sessions are ended one by one; what was acknowledged is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from audit_run import audited
from postgres_server import PostgresServer
from probe import until

from actors import Database
from actors.migrations import migrate

TTL = 3.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


async def test_postgres_is_killed_and_started_again(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(f"postgresql://tests@/postgres?host={server.home}") as database:
        await migrate(database, ["actors"])
        async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
            one, two = cluster.nodes
            await audit.until_served(one, "a")
            await audit.until_served(two, "b")
            async with audit.load(cluster.nodes, ["a", "b"]), audit.load([one], ["a"], method="transact"):
                for outage in (0.0, TTL + 1):
                    done = audit.counts()["ok"]
                    await until(lambda done=done: audit.counts()["ok"] > done + 20)
                    before = server.process.pid
                    started = time.monotonic()
                    server.kill()
                    await asyncio.sleep(outage)
                    await asyncio.to_thread(server.start)
                    assert server.process.pid != before
                    for node in cluster.nodes:
                        await audit.until_served(node, "a")
                        await audit.until_served(node, "b")
                    print(f"\nkilled for {outage:g} s, all served again {time.monotonic() - started:.2f} s after")
            incarnations = await database.pool.fetch("SELECT incarnation FROM actors.nodes")
            assert all(row["incarnation"] > 1 for row in incarnations)  # the second outage outlived the leases
            assert all(node.alive for node in cluster.nodes)
            await audit.verify()


async def test_each_session_is_ended_in_turn(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        killer = await asyncpg.connect(database.dsn)
        mine = {killer.get_server_pid(), await database.pool.fetchval("SELECT pg_backend_pid()")}
        ended: list[str] = []
        async with audit.load(cluster.nodes, ["a", "b"]), audit.load(cluster.nodes, ["c"], method="transact"):
            await until(lambda: audit.counts()["ok"] > 50)
            for _ in range(3):
                sessions = await killer.fetch(
                    "SELECT pid, left(query, 40) AS query FROM pg_stat_activity WHERE datname = current_database() "
                    "AND backend_type = 'client backend' AND NOT pid = ANY($1::int[])",
                    list(mine),
                )
                for session in sessions:
                    if await killer.fetchval("SELECT pg_terminate_backend($1)", session["pid"]):
                        ended.append(session["query"])
                    await asyncio.sleep(0.02)
                done = audit.counts()["ok"]
                await until(lambda done=done: audit.counts()["ok"] > done + 50, 20)
        await killer.close()
        for actor in ("a", "b", "c"):
            await audit.until_served(cluster.nodes[0], actor)
        print(f"\n{len(ended)} sessions ended; {dict(audit.counts())}")
        assert len(ended) >= 10
        assert any("nodes" in query for query in ended), ended  # the lease's own among them
        assert await database.pool.fetchval("SELECT max(incarnation) FROM actors.nodes") == 1
        await audit.verify()
