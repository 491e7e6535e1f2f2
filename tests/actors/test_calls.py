"""Calls: in order, copied, bounded, in time; and errors that say what they mean for whoever calls again."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from probe import Probe, ProbeError, Setup, World, cluster, until
from structlog.testing import capture_logs

from actors import Actor, ActorsError, ActorUnavailable, BadCall, CallFailed, Database, Overloaded
from actors.kind import Kind
from actors.retry import Retry
from actors.testing import Cluster


@pytest.fixture
async def two(database: Database) -> AsyncIterator[Cluster[Setup]]:
    """Two nodes, the first of which has the actor "a"."""
    async with cluster(database, 2) as nodes:
        await nodes.declared[0].get().read()
        yield nodes


@pytest.fixture(params=["here", "elsewhere"])
async def stub(two: Cluster[Setup], request: pytest.FixtureRequest) -> Probe:
    """A stub of "a" on its own node, and on the other one."""
    return two.declared[0 if request.param == "here" else 1].get()


def world(nodes: Cluster[Setup]) -> World:
    return nodes.declared[0].world


async def test_10_000_calls_that_nobody_waits_for_arrive_in_order(two: Cluster[Setup], stub: Probe) -> None:
    calls = [stub.note(str(number)) for number in range(10_000)]
    assert await calls[-1] == "9999"
    assert world(two).events == ["activated a", *map(str, range(10_000))]
    assert await asyncio.gather(*calls) == [str(number) for number in range(10_000)]


async def test_calls_keep_their_order_while_the_actor_moves(database: Database) -> None:
    shared = World()
    async with cluster(database, 1, world=shared) as staying:
        stub = staying.declared[0].get()
        async with cluster(database, 0, world=shared) as leaving:
            await leaving.start("leaving")
            assert await leaving.declared[0].get().where() == "leaving"
            calls = [stub.note(str(number)) for number in range(5_000)]
            await calls[100]
        calls += [stub.note(str(number)) for number in range(5_000, 10_000)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        ran = [int(event) for event in shared.events if event.isdigit()]
        assert ran == sorted(set(ran))
        assert await stub.where() == "node-1"
        for number, outcome in enumerate(outcomes):
            assert outcome == str(number) or (isinstance(outcome, ActorUnavailable) and outcome.retryable)
        refused = {number for number, outcome in enumerate(outcomes) if getattr(outcome, "ran", None) == "no"}
        assert refused.isdisjoint(ran)
        assert sum(isinstance(outcome, str) for outcome in outcomes) > 9_000


async def test_an_error_that_nobody_waits_for_is_logged_once(stub: Probe) -> None:
    with capture_logs() as logs:
        unheard = stub.fail()
        heard = stub.fail()
        with pytest.raises(ProbeError):
            await heard
        fine = stub.read()
        assert await stub.read() == 0
        del unheard, heard, fine
        gc.collect()
    [log] = [log for log in logs if log["event"] == "call_failed_unheard"]
    assert log["call"] == "probe/a.fail"
    assert log["error"] == "probe.ProbeError: no"


async def test_a_caller_that_stops_waiting_does_not_stop_the_call(two: Cluster[Setup], stub: Probe) -> None:
    waiting = asyncio.ensure_future(stub.wait())
    await until(lambda: world(two).count("waiting") == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    behind = stub.increment()
    world(two).pause.set()
    assert await behind == 1
    assert world(two).count("activated a") == 1


async def test_a_call_ends_in_time_and_says_whether_it_may_have_run(database: Database) -> None:
    async with cluster(database, 2, turn_limit=60.0) as nodes:
        await nodes.declared[0].get().read()
        for setup in nodes.declared:
            patient, hurried = setup.get(), setup.probes.get("a", timeout=0.1)
            running = hurried.wait()
            await until(lambda: world(nodes).events[-1] == "waiting")
            with pytest.raises(ActorUnavailable, match="may have run") as raised:
                await running
            assert (raised.value.retryable, raised.value.ran) == (True, "maybe")
            with pytest.raises(ActorUnavailable, match="did not run") as raised:
                await hurried.note("too late")
            assert raised.value.ran == "no"
            world(nodes).pause.set()
            assert await patient.note("in time") == "in time"
            assert world(nodes).count("too late") == 0
            world(nodes).pause.clear()


async def test_an_actors_waiting_calls_are_bounded_by_bytes(database: Database) -> None:
    async with cluster(database, 2, mailbox_bytes=100_000, turn_limit=60.0) as nodes:
        await nodes.declared[0].get().read()
        for setup in nodes.declared:
            first = setup.get().wait()
            await until(lambda: world(nodes).events[-1] == "waiting")
            stubs = [setup.get() for _ in range(4)]
            kept = [stub.put("x", b"x" * 30_000) for stub in stubs[:3]]
            await until(lambda: nodes.nodes[0].statistics().waiting_calls == 3)
            with pytest.raises(Overloaded, match="bytes of calls") as raised:
                await stubs[3].put("x", b"x" * 30_000)
            assert (raised.value.retryable, raised.value.ran) == (True, "no")
            world(nodes).pause.set()
            await asyncio.gather(first, *kept)
            world(nodes).pause.clear()


async def test_a_line_to_another_node_is_bounded(database: Database) -> None:
    async with cluster(database, 2, mailbox=3, mailbox_bytes=100_000, turn_limit=60.0) as nodes:
        await nodes.declared[0].get().read()
        stub = nodes.declared[1].get()
        first = stub.wait()
        await until(lambda: world(nodes).count("waiting") == 1)
        waiting = [stub.put("x", b"x" * 30_000) for _ in range(3)]
        with pytest.raises(Overloaded, match="3 calls of this stub"):
            await stub.read()
        world(nodes).pause.set()
        await asyncio.gather(first, *waiting)


VALUES: list[tuple[Any, Any]] = [
    (3, None),
    (-(1 << 63), None),
    ((1 << 64) - 1, None),
    (1 << 64, BadCall),
    (True, BadCall),
    (1.5, BadCall),
    ("3", BadCall),
    (None, BadCall),
    ("\ud800", BadCall),
    (object(), BadCall),
]


@pytest.mark.parametrize(("value", "error"), VALUES, ids=[repr(value)[:24] for value, _ in VALUES])
async def test_arguments_are_checked_alike_here_and_elsewhere(stub: Probe, value: Any, error: Any) -> None:
    if error is None:
        assert await stub.same(value) == value
        return
    with pytest.raises(error, match=r"Probe\.same") as raised:
        await stub.same(value)
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, ActorsError)
    assert (raised.value.retryable, raised.value.ran) == (False, "no")


async def test_what_cannot_be_copied_is_named(stub: Probe) -> None:
    with pytest.raises(BadCall, match=r"the argument 'value' of Probe\.put cannot be copied"):
        await stub.put("key", object())
    with pytest.raises(BadCall, match=r"the arguments of Probe\.put have \d+ bytes"):
        await stub.put("key", b"x" * (17 << 20))
    with pytest.raises(TypeError, match=r"Probe\.put: missing a required argument: 'value'"):
        await stub.put("key")  # type: ignore[call-arg]
    assert await stub.increment() == 1
    with pytest.raises(BadCall, match=r"the result of Probe\.put_and_return_a_lock cannot be copied"):
        await stub.put_and_return_a_lock()
    with pytest.raises(BadCall, match=r"the result of Probe\.put_and_return_a_lot has \d+ bytes"):
        await stub.put_and_return_a_lot()
    with pytest.raises(BadCall, match=r"the result of Probe\.claim_an_integer: Expected `int`, got `str`"):
        await stub.claim_an_integer()
    assert await stub.get("written") is None
    assert await stub.read() == 1


async def test_a_stub_works_on_after_every_kind_of_error(stub: Probe, database: Database) -> None:
    for failing in (stub.fail(), stub.fail_strangely(), stub.put_and_raise(), stub.put_and_return_a_lock()):
        with pytest.raises((ProbeError, CallFailed, BadCall)):
            await failing
    await stub.increment()
    await database.pool.execute("UPDATE actors.actors SET epoch = epoch + 1, owner = NULL")
    with pytest.raises(Exception, match="owns") as raised:
        await stub.increment()
    assert getattr(raised.value, "ran", None) == "no"
    assert await stub.increment() == 2


def test_a_missing_method_names_the_nearest(alone: Setup) -> None:
    with pytest.raises(AttributeError, match=r"Probe has no method 'incremend' that can be called; .* 'increment'"):
        alone.get().incremend()  # type: ignore[attr-defined]


def test_what_every_actor_has_cannot_be_a_method() -> None:
    class Odd(Actor):
        async def ctx(self) -> None:  # type: ignore[override]
            pass

    with pytest.raises(TypeError, match=r"Odd\.ctx cannot be a method"):
        Kind(namespace="odd", cls=Odd, factory=Odd, retry=Retry(), errors=())


async def test_an_attribute_of_the_instance_is_never_called(stub: Probe) -> None:
    await stub.shadow()
    assert await stub.read() == 0


async def test_a_node_that_refuses_connections_is_left_for_the_next_owner_at_once(database: Database) -> None:
    async with cluster(database, 1) as staying:
        stub = staying.declared[0].get()
        async with cluster(database, 0) as leaving:
            await leaving.start("leaving")
            await leaving.declared[0].get().increment()
            assert await stub.increment() == 2
        async with asyncio.timeout(1):
            assert await stub.increment() == 3


async def test_callers_that_never_wait_leave_others_time(alone: Setup) -> None:
    stub = alone.get()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    started = asyncio.get_running_loop().time()
    for _ in range(2_000):
        await stub.read()
    took = asyncio.get_running_loop().time() - started
    ticking.cancel()
    assert ticks > took / 0.02


async def test_a_stopped_node_refuses_at_once(database: Database) -> None:
    async with cluster(database, 1) as nodes:
        stub = nodes.declared[0].get()
        assert await stub.increment() == 1
    for _ in range(2):
        with pytest.raises(ActorUnavailable) as raised:
            await stub.increment()
        assert raised.value.ran == "no"
