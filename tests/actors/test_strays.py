"""What an actor's code may do to those who run it: raise what is no `Exception`, or what cannot be told."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from probe import Probe, Setup, World, cluster, until

from actors import ActorReset, ActorsError, ActorUnavailable, CallFailed, Database
from actors.testing import run_alarm, run_in_actor


class Strange(BaseException):
    """No `Exception`, as the outcomes of some libraries are."""


class Unspeakable(Exception):
    """Fails even in saying what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def stray() -> None:
    """Await what somebody else has cancelled."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def stray_later() -> None:
    await asyncio.sleep(0)
    await stray()


@pytest.mark.parametrize("work", [stray, stray_later])
async def test_a_turn_that_awaits_what_was_cancelled_fails_alone(alone: Setup, work: object) -> None:
    await alone.get().read()

    async def run(actor: Probe) -> None:
        await work()  # type: ignore[operator]

    async with asyncio.timeout(5):
        failing = asyncio.ensure_future(run_in_actor(alone.get(), run))
        following = asyncio.ensure_future(alone.get().read())
        with pytest.raises(CallFailed, match="CancelledError"):
            await failing
        assert await following == 0


async def test_what_is_no_exception_is_an_error_of_its_turn(alone: Setup) -> None:
    async def run(actor: Probe) -> None:
        await asyncio.sleep(0)
        raise Strange("odd")

    async with asyncio.timeout(5):
        failing = asyncio.ensure_future(run_in_actor(alone.get(), run))
        following = asyncio.ensure_future(alone.get().read())
        with pytest.raises(CallFailed, match="Strange: odd"):
            await failing
        assert await following == 0


async def test_an_error_that_cannot_be_told_is_told_by_its_class(database: Database) -> None:
    async def silent(actor: Probe) -> None:
        raise Unspeakable

    async def odd(actor: Probe) -> None:
        raise OSError("no file \udcff")

    async def endless(actor: Probe) -> None:
        items: list[object] = []
        items.append(items)
        raise ActorsError(items)

    async with cluster(database, 1) as nodes:
        [here] = nodes.declared
        async with asyncio.timeout(5):
            for work, told in ((silent, "Unspeakable"), (odd, r"OSError: no file"), (endless, r"\[\[")):
                with pytest.raises(ActorsError, match=told) as raised:
                    await run_in_actor(here.get(), work)
                str(raised.value).encode()
            assert await here.get().read() == 0


async def test_a_run_that_awaits_what_was_cancelled_has_failed(alone: Setup) -> None:
    async def run(actor: Probe, schedule: str) -> None:
        if alone.world.count("alarm") == 1:
            await stray()

    alone.world.on_run = run
    await alone.get().set()
    await until(lambda: alone.world.count("alarm") == 2)
    await until(lambda: _unset(alone))


async def test_spawned_work_that_awaits_what_was_cancelled_is_told_of(alone: Setup) -> None:
    async def run(actor: Probe) -> None:
        actor.ctx.spawn(stray(), name="stray")

    await run_in_actor(alone.get(), run)
    await until(lambda: alone.world.count("error in stray: ") == 1)


async def test_a_run_whose_error_the_database_cannot_store_is_tried_again_with_pauses(alone: Setup) -> None:
    async def run(actor: Probe, schedule: str) -> None:
        raise OSError("no file \udcff")

    alone.world.on_run = run
    await alone.get().set()
    await until(lambda: _exhausted(alone))
    assert alone.world.count("alarm") == 3
    [exhausted] = await alone.probes.exhausted()
    assert exhausted.error is not None
    assert exhausted.error.startswith("OSError: no file ")


async def test_an_error_raised_on_what_never_was_is_not_let_out(database: Database) -> None:
    """The turn goes on from a turn whose commit fails meanwhile, and raises an error about that."""
    await database.pool.execute("CREATE TABLE probe_rows (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
    async with cluster(database, 1) as nodes:
        [here] = nodes.declared
        stub = here.get()
        await stub.read()
        activation = here.node.catalog.mailbox(here.node.catalog.ids()[0]).activation
        assert activation is not None

        async def phantom(actor: Probe) -> None:
            actor.count = 100
            await actor.update(99)

        async def raising(actor: Probe) -> None:
            assert actor.count == 100
            await until(lambda: activation.dead is not None)
            raise LookupError(f"the count is {actor.count}")

        first = asyncio.ensure_future(run_in_actor(stub, phantom))
        second = asyncio.ensure_future(run_in_actor(stub, raising))
        await asyncio.wait([first, second])
        assert type(second.exception()) is ActorReset
        assert await stub.read() == 0


async def test_an_actor_whose_every_life_fails_does_not_keep_the_node_busy(database: Database) -> None:
    world = World()
    await database.pool.execute("CREATE TABLE probe_rows (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
    async with cluster(database, 1, world=world) as nodes:
        [here] = nodes.declared
        await here.get().set("later", 3600)
        original = Probe.on_activate

        async def poisoned(self: Probe) -> None:
            await original(self)
            await self.update(99)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Probe, "on_activate", poisoned)
            await here.node.catalog.mailbox(here.node.catalog.ids()[0]).evict()
            with contextlib.suppress(ActorsError):
                await here.get().read()
            before = world.count("activated a")
            await asyncio.sleep(1)
            assert world.count("activated a") - before < 20


async def test_a_turn_that_raises_after_its_transaction_says_that_it_may_have_run(alone: Setup) -> None:
    await alone.get().read()

    async def run(actor: Probe) -> None:
        async with actor.ctx.transaction():
            actor.ctx.storage.put("count", 7)
        raise LookupError("too late")

    with pytest.raises(CallFailed, match="too late") as raised:
        await run_in_actor(alone.get(), run)
    assert raised.value.ran == "maybe"
    assert await alone.get().read() == 7


async def test_the_lease_lapses_before_a_turn_raises_behind_its_transaction(alone: Setup) -> None:
    async def run(actor: Probe) -> None:
        async with actor.ctx.transaction():
            actor.ctx.storage.put("count", 7)
        actor._lapse()  # type: ignore[attr-defined]
        raise LookupError("too late")

    lease = alone.node._lease
    Probe._lapse = lambda self: setattr(lease, "_until", 0.0)  # type: ignore[attr-defined]
    with pytest.raises(ActorUnavailable) as raised:
        await run_in_actor(alone.get(), run)
    assert raised.value.ran == "maybe"


async def test_a_transaction_in_a_transaction_is_refused_at_once(alone: Setup) -> None:
    async def run(actor: Probe) -> None:
        async with actor.ctx.transaction(), actor.ctx.transaction():
            pass

    async with asyncio.timeout(2):
        with pytest.raises(ActorsError, match="in its transaction already"):
            await run_in_actor(alone.get(), run)
        assert await alone.get().read() == 0


async def _unset(setup: Setup) -> bool:
    return await setup.get().schedules() == {}


async def _exhausted(setup: Setup) -> bool:
    return len(await setup.probes.exhausted()) == 1


async def test_run_alarm_returns_when_the_run_is_stray(alone: Setup) -> None:
    async def run(actor: Probe, schedule: str) -> None:
        await stray()

    alone.world.on_run = run
    await alone.get().set("later", 3600)
    async with asyncio.timeout(5):
        assert await run_alarm(alone.get(), "later")
