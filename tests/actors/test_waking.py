"""Waking: many actors at once cost few commits, and none waits for another's trouble."""

from __future__ import annotations

import asyncio
from typing import Any

from probe import Setup, World, cluster, until

from actors import Actor, ActorUnavailable, CallFailed, Database, Namespace
from actors.queries import Query
from actors.testing import Cluster, evict


def names_of_queries(database: Database) -> list[str]:
    """The queries that are run from now on."""
    names: list[str] = []
    many = database.many

    async def watched(query: Query, **params: Any) -> Any:
        names.append(query.name)
        return await many(query, **params)

    database.many = watched  # type: ignore[method-assign]
    return names


async def test_many_are_acquired_by_few_commits(alone: Setup, database: Database) -> None:
    await alone.get().put("warm", 1)
    names = names_of_queries(database)
    stubs = [alone.get(f"{n}") for n in range(400)]
    assert await asyncio.gather(*(stub.read() for stub in stubs)) == [0] * 400
    assert 1 <= names.count("actor_acquire") <= 4
    assert 1 <= names.count("actor_load") <= 4
    epochs = await database.pool.fetch("SELECT epoch, seq FROM actors.actors WHERE name <> 'a'")
    assert [tuple(row) for row in epochs] == [(1, 0)] * 400


async def test_each_has_its_own_state_and_schedules(alone: Setup) -> None:
    stubs = [alone.get(f"{n}") for n in range(50)]
    for n, stub in enumerate(stubs):
        await stub.increment(n + 1)
        await stub.put("large", "x" * (70_000 if n % 5 == 0 else 7))
    due = [await stub.set("later", 3600 + n) for n, stub in enumerate(stubs)]
    for stub in stubs:
        await evict(stub)
    assert await asyncio.gather(*(stub.read() for stub in stubs)) == [n + 1 for n in range(50)]
    assert await asyncio.gather(*(stub.schedules() for stub in stubs)) == [{"later": at} for at in due]
    assert [len(await stub.get("large")) for stub in stubs] == [70_000 if n % 5 == 0 else 7 for n in range(50)]


async def test_a_locked_one_delays_no_other(alone: Setup, database: Database) -> None:
    stub = alone.get("locked")
    await stub.increment()
    await evict(stub)
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM actors.actors WHERE name = 'locked' FOR UPDATE")
        waiting = asyncio.ensure_future(stub.read())
        others = await asyncio.gather(*(alone.get(f"{n}").read() for n in range(20)))
        assert others == [0] * 20
        assert not waiting.done()
    assert await waiting == 1


async def test_one_that_stays_locked_is_told_so(alone: Setup, database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr("actors.waking.PATIENCE", 0.2)
    stub = alone.get("locked")
    await stub.read()
    await evict(stub)
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM actors.actors WHERE name = 'locked' FOR UPDATE")
        [error] = await asyncio.gather(stub.read(), return_exceptions=True)
    assert isinstance(error, ActorUnavailable)
    assert "did not run" in str(error)
    assert await stub.read() == 0


class Fragile(Actor):
    async def on_activate(self) -> None:
        if self.ctx.name == "3":
            raise LookupError("nothing to load")

    async def name(self) -> str:
        return self.ctx.name


async def test_one_that_cannot_be_loaded_fails_alone(database: Database) -> None:
    declare = lambda node: node.namespace("fragile", Fragile, Fragile)  # noqa: E731
    nodes: Cluster[Namespace[Fragile]]
    async with Cluster(database, 1, declare=declare) as nodes:
        stubs = [nodes.declared[0].get(f"{n}") for n in range(6)]
        answers = await asyncio.gather(*(stub.name() for stub in stubs), return_exceptions=True)
    assert isinstance(answers.pop(3), CallFailed)
    assert answers == ["0", "1", "2", "4", "5"]


async def test_a_name_that_the_database_refuses_fails_alone(alone: Setup) -> None:
    async def read(name: str) -> int:
        return await alone.get(name).read()

    answers = await asyncio.gather(*map(read, ["a", "b", "c\0", "d", "e"]), return_exceptions=True)
    assert isinstance(answers.pop(2), Exception)
    assert answers == [0] * 4


async def test_two_nodes_that_want_the_same_actors_share_them(database: Database) -> None:
    world = World()
    async with cluster(database, 2, world=world) as nodes:
        calls = [setup.get(f"{n}").increment() for n in range(100) for setup in nodes.declared]
        counts = await asyncio.gather(*calls)
    assert sorted(counts) == sorted([1, 2] * 100)
    assert all(world.count(f"activated {n}") == 1 for n in range(100))


async def test_waking_goes_on_when_its_connections_are_cut(alone: Setup, database: Database) -> None:
    async def cut() -> None:
        await database.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    for n in range(5):
        waking = [asyncio.ensure_future(alone.get(f"{n}-{m}").read()) for m in range(30)]
        await cut()
        assert await asyncio.gather(*waking) == [0] * 30
    await until(lambda: alone.node.statistics().active == 150)
