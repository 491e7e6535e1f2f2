"""Clocks are wrong by an hour: a node's own, and the database's. Nothing runs early, nothing is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_run import audited
from probe import until

from actors import Database

TTL = 1.0


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_nodes_wall_clock_changes_nothing(
    hours: int, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 1, lease_ttl=TTL) as (audit, cluster):
        [right] = cluster.nodes
        wrong = await cluster.start("wrong", clock_shift=hours * 3600.0)
        for actor, node in (("a", wrong), ("b", right)):
            await audit.until_served(node, actor)
            assert (await audit.call(node, actor, "remind", 0.5)).outcome == "ok"
        await wrong.shift_clock(-hours * 3600.0)
        assert (await audit.call(wrong, "a", "remind", 0.3)).outcome == "ok"
        await audit.settled(seconds=10)
        assert (await audit.owner("a"), await audit.owner("b")) == (wrong.id, right.id)
        assert await database.pool.fetchval("SELECT max(incarnation) FROM actors.nodes") == 1
        await audit.verify()  # finds alarms that ran before they were due, by the database's clock
        await wrong.kill()
        assert await audit.until_served(right, "a") <= TTL + 2  # the lease was no longer than it should be


@pytest.mark.parametrize("hours", [1, -1])
async def test_the_databases_clock_jumps(
    hours: int, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        one, two = cluster.nodes
        await audit.until_served(one, "a")
        await audit.until_served(two, "b")
        async with audit.load(cluster.nodes, ["a", "b"]):
            assert (await audit.call(one, "a", "remind", 0.2)).outcome == "ok"
            before = await database.pool.fetchval("SELECT actors_now()")
            await database.pool.execute(
                "CREATE OR REPLACE FUNCTION actors_now() RETURNS timestamptz LANGUAGE sql VOLATILE "
                f"AS $$ SELECT clock_timestamp() + interval '{hours} hours' $$"
            )
            jumped = (await database.pool.fetchval("SELECT actors_now()") - before).total_seconds()
            assert abs(jumped - hours * 3600) < 60
            done = len([op for op in audit.ops if op.outcome == "ok"])
            await until(lambda: len([op for op in audit.ops if op.outcome == "ok"]) > done + 50, 20)
        for actor in ("a", "b"):
            for node in cluster.nodes:
                await audit.until_served(node, actor)
        if hours > 0:
            await audit.settled(seconds=10)
        await audit.verify(clock_moved=True)
