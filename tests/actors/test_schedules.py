"""Schedules: durable, at least once, never early, never two at a time, retried, and visibly out of attempts."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from probe import Probe, ProbeError, Setup, World, cluster, until

from actors import Database, Retry
from actors.testing import evict, run_alarm, run_in_actor


async def stored(database: Database) -> dict[str, tuple[int, str, str | None]]:
    rows = await database.pool.fetch("SELECT * FROM actors.schedules")
    return {row["schedule"]: (row["attempt"], row["state"], row["error"]) for row in rows}


async def test_an_alarm_runs_once_and_is_deleted(alone: Setup, database: Database) -> None:
    await alone.get().set("alarm", 0.1)
    await until(lambda: alone.world.count("alarm") == 1)

    async def gone() -> bool:
        return await stored(database) == {}

    await until(gone)
    assert await alone.get().schedules() == {}


async def test_an_alarm_is_never_early_and_seldom_late(alone: Setup, database: Database) -> None:
    ran: dict[str, datetime] = {}

    async def on_run(probe: Probe, schedule: str) -> None:
        ran[probe.ctx.name] = await database.pool.fetchval("SELECT actors_now()")

    alone.world.on_run = on_run
    due = {str(n): await alone.get(str(n)).set("alarm", 0.3 + n / 100) for n in range(30)}
    await until(lambda: len(ran) == 30)
    late = [(ran[name] - due[name]).total_seconds() for name in due]
    assert min(late) >= 0
    assert sorted(late)[15] < 0.25


async def test_a_schedule_is_replaced_and_unset(alone: Setup) -> None:
    stub = alone.get()
    await stub.set("alarm", 1.0)
    await stub.set("alarm", 3600)
    await stub.set("later", 1.0)
    await stub.unset("later")
    await stub.set("urgent", 1.1)
    await until(lambda: alone.world.count("urgent") == 1)
    assert alone.world.count("alarm") == alone.world.count("later") == 0
    assert list(await stub.schedules()) in (["alarm"], ["alarm", "urgent"])


async def test_one_set_again_during_its_run_stays(alone: Setup) -> None:
    async def on_run(probe: Probe, schedule: str) -> None:
        if alone.world.count("alarm") < 3:
            async with probe.ctx.turn():
                probe.ctx.set_alarm(probe.ctx.clock.now() + timedelta(seconds=0.05))

    alone.world.on_run = on_run
    await alone.get().set()
    await until(lambda: alone.world.count("alarm") == 3)


async def test_a_failing_schedule_is_tried_again_and_shows_when_it_is_exhausted(
    alone: Setup, database: Database
) -> None:
    async def on_run(probe: Probe, schedule: str) -> None:
        raise ProbeError("broken", code=1)

    alone.world.on_run = on_run
    await alone.get().set()
    await until(lambda: "error in alarm: broken" in alone.world.events)
    assert alone.world.count("alarm") == 3
    assert await stored(database) == {"alarm": (3, "exhausted", "ProbeError: broken")}
    [exhausted] = await alone.probes.exhausted()
    assert (exhausted.name, exhausted.schedule, exhausted.attempt) == ("a", "alarm", 3)
    await until(lambda: alone.node.statistics().exhausted_schedules == 1)
    assert await alone.get().schedules() == {}
    alone.world.on_run = None
    await alone.get().set()
    await until(lambda: alone.world.count("alarm") == 4)


async def test_a_run_whose_turn_raises_after_writing_counts_as_an_attempt(alone: Setup, database: Database) -> None:
    async def on_run(probe: Probe, schedule: str) -> None:
        async with probe.ctx.turn():
            probe.ctx.storage.put("half", 1)
            raise ProbeError("broken", code=1)

    alone.world.on_run = on_run
    await alone.get().set()

    async def exhausted() -> bool:
        return await stored(database) == {"alarm": (3, "exhausted", "ProbeError: broken")}

    await until(exhausted)
    assert alone.world.count("alarm") == 3
    assert await alone.get().get("half") is None


async def test_an_overdue_run_is_ended_and_tried_again(alone: Setup) -> None:
    async def on_run(probe: Probe, schedule: str) -> None:
        if alone.world.count("urgent") == 1:
            await asyncio.Event().wait()

    alone.world.on_run = on_run
    await alone.get().set("urgent")
    await until(lambda: alone.world.count("urgent") == 2)


async def test_a_hung_run_delays_no_other_and_is_never_doubled(alone: Setup) -> None:
    async def on_run(probe: Probe, schedule: str) -> None:
        if schedule == "later":
            await alone.world.pause.wait()

    alone.world.on_run = on_run
    stub = alone.get()
    await stub.set("later")
    await until(lambda: alone.world.count("later") == 1)
    await stub.set("later")
    await stub.set("urgent")
    await until(lambda: alone.world.count("urgent") == 1)
    await stub.wake("later")
    assert alone.world.count("later") == 1
    alone.world.pause.set()
    await until(lambda: alone.world.count("later") == 2)


async def test_the_most_urgent_goes_first(alone: Setup) -> None:
    async def both(probe: Probe) -> None:
        for name in ("later", "alarm", "urgent"):
            probe.ctx.schedule(name, probe.ctx.clock.now())

    await run_in_actor(alone.get(), both)
    await until(lambda: len(alone.world.events) == 4)
    assert alone.world.events == ["activated a", "urgent", "alarm", "later"]


async def test_waking_runs_what_is_set_now_and_nothing_else(alone: Setup) -> None:
    stub = alone.get()
    await stub.wake()
    await stub.set("alarm", 3600)
    await stub.wake()
    await until(lambda: alone.world.count("alarm") == 1)
    await until(lambda: alone.node.statistics().committed_turns == 2)
    await stub.wake()
    assert await stub.schedules() == {}
    assert alone.world.count("alarm") == 1


async def test_an_evicted_actor_wakes_up_for_its_alarm(alone: Setup) -> None:
    stub = alone.get()
    await stub.set("alarm", 0.3)
    await evict(stub)
    await until(lambda: alone.world.count("alarm") == 1)
    assert alone.world.count("activated a") == 2


async def test_schedules_survive_a_crash_and_the_attempts_are_counted_on(database: Database) -> None:
    world = World()

    async def fail(probe: Probe, schedule: str) -> None:
        raise ProbeError("broken", code=1)

    async with cluster(database, 1, world=world, retry=Retry(base=0.5, attempts=2, jitter=0)) as nodes:
        world.on_run = fail
        await nodes.declared[0].get().set()

        async def failed_once() -> bool:
            return await stored(database) == {"alarm": (1, "set", "ProbeError: broken")}

        await until(failed_once)
        await nodes.kill(nodes.nodes[0])
        await nodes.start("node-1")
        await until(lambda: "error in alarm: broken" in world.events)
    assert world.count("alarm") == 2
    assert await stored(database) == {"alarm": (2, "exhausted", "ProbeError: broken")}


async def test_ensure_sets_what_is_not_set(alone: Setup) -> None:
    await alone.probes.ensure("a")
    await until(lambda: alone.world.count("alarm") == 1)
    due = await alone.get("b").set("alarm", 3600)
    await alone.probes.ensure("b")
    assert await alone.get("b").schedules() == {"alarm": due}


async def test_run_alarm(alone: Setup) -> None:
    assert not await run_alarm(alone.get())
    await alone.get().set("alarm", 3600)
    assert await run_alarm(alone.get())
    assert not await run_alarm(alone.get())
    assert alone.world.count("alarm") == 1


async def test_an_error_of_spawned_work_reaches_the_actor(alone: Setup) -> None:
    await alone.get().spawn()
    await until(lambda: alone.world.count("spawned") == 1)
    alone.world.pause.set()
    await until(lambda: "error in work: spawned work failed" in alone.world.events)
