"""Actors change hands: at once when their node leaves in order, and with its lease when it dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from probe import Probe, Setup, World, cluster, until

from actors import ActorUnavailable, Database
from actors.testing import Cluster

TTL = 2.0


@contextlib.asynccontextmanager
async def leaving(database: Database, world: World, id: str) -> AsyncIterator[tuple[Cluster[Setup], Setup]]:
    """One more node of the same cluster, that leaves at the end."""
    async with cluster(database, 0, world=world) as nodes:
        await nodes.start(id)
        yield nodes, nodes.declared[0]


async def test_a_stuck_turn_keeps_no_other_actor_from_being_handed_over(database: Database) -> None:
    world = World()
    async with cluster(database, 1, world=world) as staying:
        [there] = staying.declared

        async def leave() -> None:
            async with leaving(database, world, "leaving") as (_, here):
                await here.get("busy").increment()
                await here.get("idle").increment()
                waiting.append(asyncio.ensure_future(here.get("busy").wait()))
                await until(lambda: world.count("waiting") == 1)

        waiting: list[asyncio.Future[None]] = []
        going = asyncio.create_task(leave())
        await until(lambda: world.count("waiting") == 1)
        async with asyncio.timeout(1.5):
            assert await there.get("idle").increment() == 2
        assert not going.done()
        assert await there.node.others() != []
        world.pause.set()
        await going
        await waiting[0]
        assert await there.get("busy").increment() == 2
        assert await there.node.others() == []


async def test_schedules_of_a_leaving_node_ring_elsewhere_on_time(database: Database) -> None:
    world = World()
    async with cluster(database, 1, world=world) as staying:
        [there] = staying.declared

        async def leave() -> None:
            async with leaving(database, world, "leaving") as (_, here):
                waiting.append(asyncio.ensure_future(here.get("busy").wait()))
                due.extend([await here.get(str(n)).set("alarm", 1.0) for n in range(20)])
                await until(lambda: world.count("waiting") == 1)

        waiting: list[asyncio.Future[None]] = []
        due: list[datetime] = []
        going = asyncio.create_task(leave())
        await until(lambda: world.count("alarm") == 20)
        late = (there.node.clock.now() - max(due)).total_seconds()
        print(f"rang {late:.3f} s late")
        assert late < 0.5
        assert not going.done()
        assert there.node.statistics().active == 20
        world.pause.set()
        await going
        await waiting[0]


async def test_callers_on_a_leaving_node_follow_its_actors(database: Database) -> None:
    world = World()
    async with cluster(database, 1, world=world):
        waiting: list[asyncio.Future[None]] = []
        seen: list[object] = []

        async def look_on(here: Setup) -> None:
            await until(lambda: here.node.catalog.draining)
            async with asyncio.timeout(5):
                seen.extend([await here.get("idle").increment(), await here.get("idle").where()])
                seen.append(await here.get("new").where())
            world.pause.set()

        async with asyncio.TaskGroup() as group, leaving(database, world, "leaving") as (_, here):
            await here.get("idle").increment()
            waiting.append(asyncio.ensure_future(here.get("busy").wait()))
            await until(lambda: world.count("waiting") == 1)
            group.create_task(look_on(here))
        assert seen == [2, "node-1", "node-1"]
        await waiting[0]


async def test_a_run_that_does_not_end_is_not_begun_elsewhere_while_the_lease_lasts(database: Database) -> None:
    world, end = World(), asyncio.Event()
    ended_by_itself: list[bool] = []

    async def stubborn(actor: Probe, schedule: str) -> None:
        if actor.node != "leaving":
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()
        ended_by_itself.append(True)

    world.on_run = stubborn
    async with cluster(database, 1, world=world):
        with contextlib.suppress(TimeoutError):
            async with cluster(database, 0, world=world, drain_limit=0.3) as nodes:
                await nodes.start("leaving")
                await nodes.declared[0].get().set()
                await until(lambda: world.count("alarm") == 1)
        lasts = await database.pool.fetchval(
            "SELECT lease_until > actors_now() AND a.owner = n.id FROM actors.nodes n, actors.actors a "
            "WHERE n.id = 'leaving'"
        )
        assert lasts
        assert world.count("alarm") == 1
        end.set()
        await until(lambda: ended_by_itself == [True])


@pytest.mark.parametrize("phase", [0.0, 0.35])
async def test_a_dead_nodes_actors_are_taken_over_with_its_lease(database: Database, phase: float) -> None:
    world = World()
    loop = asyncio.get_running_loop()
    async with cluster(database, 2, world=world, lease_ttl=TTL) as nodes:
        here, there = nodes.declared
        await asyncio.gather(*(here.get(str(n)).set("alarm", 1.0 + phase) for n in range(10)))
        await here.get("called").increment()
        await asyncio.sleep(phase)
        await nodes.kill(here.node)
        killed = loop.time()
        assert await there.get("called").increment() == 2
        called = loop.time() - killed
        await until(lambda: world.count("alarm") == 10)
        print(f"called after {called:.3f} s, rung after {loop.time() - killed:.3f} s")
        assert loop.time() - killed < TTL + 1


async def test_a_rolling_restart_is_a_short_gap(database: Database) -> None:
    """Three nodes are replaced one after the other while each is called; nobody waits long, and nothing is lost.

    What the machine makes everybody wait for is seen by an actor that stays where it is.
    """
    world = World()
    loop = asyncio.get_running_loop()
    names = [*map(str, range(30)), "stays"]
    stop = asyncio.Event()
    gaps = dict.fromkeys(names, 0.0)
    acknowledged = dict.fromkeys(names, 0)
    failed: list[BaseException] = []

    async with cluster(database, 1, world=world) as staying:
        [caller] = staying.declared
        await caller.get("stays").increment()

        async def load(name: str) -> None:
            last = loop.time()
            while not stop.is_set():
                try:
                    await caller.get(name).increment()
                    acknowledged[name] += 1
                except ActorUnavailable as error:
                    failed.append(error)
                    continue
                gaps[name] = max(gaps[name], loop.time() - last)
                last = loop.time()
                await asyncio.sleep(0.01)

        async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as second:
            old = [await first.enter_async_context(leaving(database, world, f"old {n}")) for n in range(3)]
            for n, name in enumerate(names[:-1]):
                await old[n % 3][1].get(name).increment()
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(load(name))
                for n in range(3):
                    await until(lambda: min(acknowledged.values()) > 10 * (n + 1))  # noqa: B023
                    await second.enter_async_context(leaving(database, world, f"new {n}"))
                    await old[n][0].__aexit__(None, None, None)
                await asyncio.sleep(0.5)
                stop.set()
            counts = [await caller.get(name).read() for name in names]
        machine = gaps.pop("stays")
        print(f"longest gap {max(gaps.values()):.3f} s, staying {machine:.3f} s; {len(failed)} retryable errors")
        assert max(gaps.values()) < 1.0 + machine
        assert failed == []
        assert counts == [acknowledged[name] + 1 for name in names]
