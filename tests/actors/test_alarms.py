"""Alarms at scale: each once, in time, on one node, however many others are due."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from probe import Probe, Setup, World, cluster, until

from actors import Database, alarms, load_queries
from actors.messages import ActorId
from actors.testing import evict


async def plant(database: Database, prefix: str, count: int, *, owner: str | None, seconds: float = 0.0) -> None:
    """Actors with an alarm each, as an owner that is gone would have left them, or a living one has them."""
    await database.pool.execute(
        "INSERT INTO actors.actors (namespace, name, owner, owner_incarnation, epoch) "
        "SELECT 'probe', $1::text || n, $3::text, CASE WHEN $3 <> '' THEN 1 END, 1 FROM generate_series(1, $2::int) n",
        *(prefix, count, owner),
    )
    await database.pool.execute(
        "INSERT INTO actors.schedules (namespace, name, schedule, due_at) "
        "SELECT 'probe', $1::text || n, 'alarm', actors_now() + make_interval(secs => $3::float8) "
        "FROM generate_series(1, $2::int) n",
        *(prefix, count, seconds),
    )


async def plant_node(database: Database, id: str) -> None:
    """A node with a lease and no process."""
    await database.pool.execute(
        "INSERT INTO actors.nodes (id, incarnation, address, lease_until) "
        "VALUES ($1, 1, 'http://127.0.0.1:1', actors_now() + '1 h')",
        id,
    )


async def test_a_thousand_at_one_instant_each_run_once_though_evicted(alone: Setup, database: Database) -> None:
    ran: list[datetime] = []

    async def on_run(probe: Probe, schedule: str) -> None:
        ran.append(probe.ctx.clock.now())

    alone.world.on_run = on_run
    stubs = [alone.get(f"{n}") for n in range(1000)]
    at = datetime.now(UTC) + timedelta(seconds=4)

    async def arm(stub: Probe) -> None:
        await stub.set("alarm", (at - datetime.now(UTC)).total_seconds())
        await evict(stub)

    await asyncio.gather(*map(arm, stubs))
    due = dict(await database.pool.fetch("SELECT name, due_at FROM actors.schedules"))
    assert len(due) == 1000
    await until(lambda: alone.world.count("alarm") >= 1000, 30)

    async def settled() -> bool:
        return not await database.pool.fetchval("SELECT count(*) FROM actors.schedules")

    await until(settled)
    assert alone.world.count("alarm") == len(ran) == 1000
    assert min(ran) >= min(due.values())


async def test_those_of_nobody_are_shared_out_and_run_once(database: Database) -> None:
    world, ran = World(), Counter[str]()

    async def on_run(probe: Probe, schedule: str) -> None:
        ran[probe.node] += 1

    world.on_run = on_run
    async with cluster(database, 3, world=world):
        await plant(database, "left", 300, owner=None, seconds=1.5)
        await until(lambda: world.count("alarm") >= 300)

        async def settled() -> bool:
            return not await database.pool.fetchval("SELECT count(*) FROM actors.schedules")

        await until(settled)
    assert world.count("alarm") == 300
    assert all(40 < ran[node] < 180 for node in ("node-1", "node-2", "node-3")), ran
    assert set(await database.pool.fetch("SELECT epoch FROM actors.actors")) == {(2,)}


async def test_the_share_of_a_node_that_is_unwell_falls_to_the_others(
    alone: Setup, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "LATE", 0.5)
    await plant_node(database, "unwell")
    await plant(database, "left", 20, owner=None)
    await until(lambda: alone.world.count("alarm") == 20)


async def test_ten_thousand_of_a_living_neighbour_hide_none_of_ours(alone: Setup, database: Database) -> None:
    await plant_node(database, "neighbour")
    await plant(database, "theirs", 10_000, owner="neighbour", seconds=-60)
    await plant(database, "ours", 1, owner="node-1")
    await until(lambda: alone.world.count("alarm") == 1)
    assert alone.world.count("activated ours1") == 1
    assert len(alone.world.events) == 2


async def test_runs_under_way_hide_none_that_are_due(
    alone: Setup, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "PAGE", 4)
    monkeypatch.setattr(alarms, "PAGES", 2)

    async def on_run(probe: Probe, schedule: str) -> None:
        if probe.ctx.name.startswith("hung"):
            await asyncio.Event().wait()

    alone.world.on_run = on_run
    await plant(database, "hung", 30, owner=None, seconds=-60)
    await until(lambda: alone.world.count("alarm") == 30)
    await plant(database, "ours", 1, owner=None)
    await until(lambda: alone.world.count("alarm") == 31)


async def test_one_that_sets_its_alarm_for_ever_takes_no_memory_for_it(alone: Setup) -> None:
    times = [datetime.now(UTC) + timedelta(hours=1 + n % 2, seconds=-n) for n in range(5000)]
    id = ActorId(namespace="probe", name="a")
    noted = alone.node._alarms
    for at in times:
        noted.note(at, id)
    assert len(noted._queue) < 200
    assert noted._noted[id] == min(times)


async def test_looking_reads_what_is_due_and_not_what_is_set(database: Database) -> None:
    await plant_node(database, "me")
    await plant(database, "due", 100, owner="me")
    await plant(database, "set", 20_000, owner="me", seconds=3600)
    await database.pool.execute("ANALYZE actors.schedules, actors.actors, actors.nodes")
    query = load_queries("actors")["schedule_due"]
    place = dict(zip(("at", "namespace", "name", "schedule"), alarms._START, strict=True))
    settings = {"node": "me", "namespaces": ["probe"], "ahead": 2.5, "late": 2.0, "size": 1000}
    arguments = query.arguments(place | settings)
    async with database.pool.acquire() as connection:
        statement = await connection.prepare(query.text)
        assert len(await statement.fetch(*arguments)) == 100
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN (ANALYZE) {query.text}", *arguments))
    assert "schedules_due on schedules" in plan
    assert "Rows Removed by Filter" not in plan.split("schedules_due on schedules")[1].split("->")[0]
