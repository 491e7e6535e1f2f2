"""Several nodes: one writer, calls across, takeover, drain; and databases that go away."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from probe import Probe, ProbeError, Setup, World, cluster, until

from actors import ActorReset, ActorUnavailable, CallFailed, Database, LeaseLost, Overloaded
from actors.errors import NodeReplaced
from actors.testing import FakeClock, evict, list_ids, run_in_actor


async def test_calls_cross_nodes_in_order_with_errors_and_copies(database: Database) -> None:
    async with cluster(database, 2) as nodes:
        one, two = nodes.declared
        assert await one.get().where() == "node-1"
        stub = two.get()
        assert await stub.where() == "node-1"
        calls = [stub.note(str(number)) for number in range(1000)]
        assert await asyncio.gather(*calls) == [str(number) for number in range(1000)]
        assert one.world.events == ["activated a", *map(str, range(1000))]
        with pytest.raises(ProbeError) as raised:
            await stub.put_and_raise()
        assert (raised.value.args, raised.value.code) == (("no",), 7)
        with pytest.raises(CallFailed, match="nowhere"):
            await stub.fail_strangely()
        results = await asyncio.gather(*(setup.get().increment() for setup in (one, two) for _ in range(50)))
        assert sorted(results) == list(range(1, 101))
        assert await list_ids(two.probes) == await list_ids(one.probes)


async def test_100_first_calls_on_two_nodes_activate_once(database: Database) -> None:
    async with cluster(database, 2) as nodes:
        results = await asyncio.gather(*(nodes.declared[n % 2].get().increment() for n in range(100)))
        assert sorted(results) == list(range(1, 101))
        assert nodes.declared[0].world.count("activated a") == 1


async def test_the_key_of_the_cluster_is_required(database: Database) -> None:
    async with cluster(database, 1) as nodes, aiohttp.ClientSession() as session:
        address = await database.pool.fetchval("SELECT address FROM actors.nodes")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}):
            async with session.post(f"{address}/_actors/call", data=b"", headers=headers) as response:
                assert response.status == 401
        key = {"Authorization": "Bearer key of the cluster"}
        async with session.post(f"{address}/_actors/call", data=b"\xc1", headers=key) as response:
            assert response.status == 400
        assert nodes.nodes[0].statistics().turns == 0


async def test_a_stale_owner_writes_nothing(database: Database) -> None:
    async with cluster(database, 1) as nodes:
        one = nodes.declared[0]
        await one.get().increment()
        await database.pool.execute("UPDATE actors.actors SET epoch = epoch + 1, owner = NULL")
        with pytest.raises(LeaseLost):
            await one.get().increment()
        assert await one.get().increment() == 2
        assert one.world.count("activated a") == 2


async def test_a_fenced_actor_fails_alone_in_its_group(alone: Setup, database: Database) -> None:
    stubs = [alone.get(str(n)) for n in range(50)]
    await asyncio.gather(*(stub.increment() for stub in stubs))
    await database.pool.execute("UPDATE actors.actors SET epoch = epoch + 1 WHERE name = '7'")
    results = await asyncio.gather(*(stub.increment() for stub in stubs), return_exceptions=True)
    assert [n for n, result in enumerate(results) if result != 2] == [7]
    assert isinstance(results[7], LeaseLost)


async def test_a_killed_nodes_actors_wake_up_elsewhere_when_its_lease_is_over(database: Database) -> None:
    world = World()
    async with cluster(database, 2, world=world, lease_ttl=4.0) as nodes:
        one, two = nodes.declared
        await one.get().increment()
        await one.get("b").set("alarm", 0.5)
        await nodes.kill(one.node)
        started = asyncio.get_running_loop().time()
        assert await two.get().increment() == 2
        assert await two.get().where() == "node-2"
        await until(lambda: world.count("alarm") == 1)
        assert asyncio.get_running_loop().time() - started < 4.0 + 1.5


async def test_a_drained_node_hands_over_at_once(database: Database) -> None:
    world = World()
    async with cluster(database, 1, world=world) as staying:
        async with cluster(database, 0, world=world) as leaving:
            await leaving.start("leaving")
            stub = leaving.declared[0].get()
            calls = [stub.increment() for _ in range(100)]
            await calls[0]
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 101))
        async with asyncio.timeout(2):
            assert await staying.declared[0].get().increment() == 101


async def test_a_stuck_turn_does_not_keep_a_node_from_leaving(database: Database) -> None:
    async with cluster(database, 1, drain_limit=0.2, turn_limit=60.0) as nodes:
        stuck = asyncio.ensure_future(nodes.declared[0].get().hang())
        await nodes.declared[0].get("b").increment()
    with pytest.raises(ActorUnavailable):
        await stuck
    assert await database.pool.fetchval("SELECT count(*) FROM actors.actors WHERE owner IS NOT NULL") == 0


async def test_a_node_that_starts_again_owns_its_actors_at_once(database: Database) -> None:
    async with cluster(database, 1, lease_ttl=60.0) as nodes:
        await nodes.declared[0].get().increment()
        await nodes.kill(nodes.nodes[0])
        await nodes.start("node-1")
        async with asyncio.timeout(2):
            assert await nodes.declared[1].get().increment() == 2


async def test_a_replaced_node_fails(database: Database) -> None:
    async def replace() -> None:
        async with cluster(database, 1, lease_ttl=1.5) as nodes:
            await database.pool.execute("UPDATE actors.nodes SET incarnation = incarnation + 1")
            async with asyncio.timeout(5):
                await nodes.nodes[0].wait_failed()

    with pytest.raises(NodeReplaced):
        await replace()


async def test_a_lost_lease_drops_the_activations_and_is_taken_anew(database: Database) -> None:
    async with cluster(database, 1, lease_ttl=3.0) as nodes:
        one = nodes.declared[0]
        assert await one.get().increment() == 1
        await database.pool.execute("UPDATE actors.nodes SET lease_until = now() - interval '1 hour'")

        async def again() -> bool:
            return await database.pool.fetchval("SELECT incarnation FROM actors.nodes") == 2

        await until(again)
        await until(lambda: one.node.statistics().lease_left > 0)
        assert await one.get().increment() == 2
        assert one.world.count("activated a") == 2
        assert one.node.statistics().resets_by_reason == {"LeaseLost": 1}


async def test_no_reply_leaves_a_node_that_cannot_trust_its_lease(database: Database) -> None:
    clock = FakeClock()
    await clock.install(database)
    async with cluster(database, 1, clock=clock, lease_ttl=12.0, turn_limit=60.0) as nodes:
        stub = nodes.declared[0].get()
        assert await stub.increment() == 1
        waiting = stub.wait()
        await until(lambda: nodes.declared[0].world.count("waiting") == 1)
        blocker = await database.connect()
        async with blocker.transaction():
            await blocker.execute("LOCK actors.nodes")
            await clock.advance(11)
            nodes.declared[0].world.pause.set()
            with pytest.raises(LeaseLost):
                await waiting
        await blocker.close()


async def test_schedules_and_leases_go_by_the_databases_clock(database: Database) -> None:
    clock = FakeClock()
    await clock.install(database)
    async with cluster(database, 1, clock=clock) as nodes:
        one = nodes.declared[0]
        await one.get().set("alarm", 100)
        await clock.advance(99)
        assert one.world.count("alarm") == 0
        assert await one.get().read() == 0
        await clock.advance(1)
        await until(lambda: one.world.count("alarm") == 1)


async def test_idle_actors_leave_memory_and_busy_ones_stay(database: Database) -> None:
    async with cluster(database, 1, idle=0.2) as nodes:
        one = nodes.declared[0]
        await asyncio.gather(*(one.get(str(n)).increment() for n in range(20)))
        await one.get("busy").spawn()
        await until(lambda: one.node.statistics().active == 1)
        assert await one.get("3").increment() == 2
        assert one.world.count("activated busy") == 1


async def test_a_locked_table_is_waited_out(database: Database) -> None:
    async with cluster(database, 1) as nodes:
        await nodes.declared[0].get().increment()
        async with database.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await connection.execute("LOCK TABLE actors.nodes, actors.schedules IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(7):  # longer than a session waits for a lock
                    await nodes.nodes[0].wait_failed()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(ActorReset, ActorUnavailable):
                    await nodes.declared[0].get().increment()
                    break


async def test_every_backend_killed_in_turn(database: Database) -> None:
    async with cluster(database, 1) as nodes:
        one = nodes.declared[0]
        names = [str(n) for n in range(5)]
        done = dict.fromkeys(names, 0)
        tried = dict.fromkeys(names, 0)
        stop = asyncio.Event()

        async def load(name: str) -> None:
            while not stop.is_set():
                tried[name] += 1
                try:
                    await one.get(name).increment()
                    done[name] += 1
                except (ActorReset, ActorUnavailable, CallFailed):
                    continue

        killer = await database.connect()
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(load(name))
            for _ in range(15):
                before = sum(done.values())
                await until(lambda before=before: sum(done.values()) > before + 10)
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            stop.set()
        await killer.close()
        for name in names:
            assert done[name] <= await one.get(name).stored() <= tried[name]  # type: ignore[operator]
        assert sum(done.values()) > 150


async def test_a_full_mailbox_refuses(database: Database) -> None:
    async with cluster(database, 1, mailbox=3) as nodes:
        one = nodes.declared[0]
        stub = one.get()
        first = stub.wait()
        await until(lambda: one.world.count("waiting") == 1)
        waiting = [stub.read() for _ in range(3)]
        with pytest.raises(Overloaded):
            await stub.read()
        one.world.pause.set()
        await first
        await asyncio.gather(*waiting)


async def test_nothing_depends_on_a_field_that_survives(database: Database) -> None:
    async with cluster(database, 1, paranoid=True) as nodes:
        stub = nodes.declared[0].get()
        for expected in range(1, 6):
            assert await stub.increment() == expected
        assert nodes.declared[0].world.count("activated a") >= 5


async def test_the_look_inside(alone: Setup) -> None:
    async def look(probe: Probe) -> int:
        probe.ctx.storage.put("count", 41)
        probe.count = 41
        return probe.count

    assert await run_in_actor(alone.get(), look) == 41
    await evict(alone.get())
    assert await alone.get().increment() == 42
    assert alone.world.count("activated a") == 2
