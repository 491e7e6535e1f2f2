"""The Dispatcher on a real database: who gets which job, once, and what a runner is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from objects_bench import Bench, Hand, Objects, begun, ended, output

from actors import Database
from actors.testing import run_alarm
from buildsys.core.build import Outcome, State
from buildsys.errors import Forbidden, Unavailable
from buildsys.store.tokens import Tokens


@pytest.fixture
async def one(bench: Bench) -> AsyncIterator[Objects]:
    async with bench.nodes() as nodes:
        yield nodes.declared[0]


async def started(bench: Bench, one: Objects, count: int = 1) -> list[UUID]:
    project = await bench.project(f"shop-{uuid4().hex[:8]}")
    builds = [await bench.queue(project) for _ in range(count)]
    for build in builds:
        await one.buddy(build).start_build()
    return builds


async def test_a_poll_without_news_waits_and_ends_empty(one: Objects) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    reply = await Hand(one).poll(wait=0.2)
    assert (reply.assignments, reply.cancel, reply.revoked) == ((), (), ())
    assert loop.time() - began >= 0.2


async def test_a_waiting_poll_is_answered_when_a_job_is_offered(bench: Bench, one: Objects) -> None:
    waiting = asyncio.create_task(Hand(one).take())
    (build,) = await started(bench, one)
    async with asyncio.timeout(3):
        assert (await waiting).build == build


async def test_each_job_goes_to_one_runner(bench: Bench, one: Objects) -> None:
    builds = await started(bench, one, 20)
    hands = [Hand(one) for _ in range(10)]
    replies = await asyncio.gather(*(hand.poll(slots=5) for hand in hands))
    given = [assignment.build for reply in replies for assignment in reply.assignments]
    while len(given) < 20:
        given += [assignment.build for assignment in (await hands[0].poll(slots=20)).assignments]
    assert sorted(given) == sorted(builds)
    assert max(len(reply.assignments) for reply in replies) <= 5


async def test_no_more_jobs_than_slots(bench: Bench, one: Objects) -> None:
    await started(bench, one, 5)
    hand = Hand(one)
    assert len((await hand.poll(slots=2)).assignments) == 2
    assert (await hand.poll(slots=0)).assignments == ()
    assert len((await hand.poll(slots=9)).assignments) == 3


async def test_the_oldest_offer_goes_first(bench: Bench, one: Objects) -> None:
    builds = await started(bench, one, 3)
    hand = Hand(one)
    assert [(await hand.take()).build for _ in builds] == builds


async def test_a_job_goes_to_runners_with_all_its_labels(bench: Bench, one: Objects) -> None:
    await started(bench, one)
    assert (await Hand(one).poll(labels=("macos",))).assignments == ()
    assert len((await Hand(one).poll(labels=("gpu", "linux"))).assignments) == 1


async def test_an_answer_that_was_lost_is_given_again(bench: Bench, one: Objects) -> None:
    await started(bench, one, 2)
    hand = Hand(one)
    lost = await hand.poll()
    hand.holding = ()
    again = await hand.poll()
    assert [each.id for each in again.assignments] == [each.id for each in lost.assignments]


async def test_an_old_incarnation_loses_everything(bench: Bench, one: Objects) -> None:
    await started(bench, one)
    old = Hand(one)
    assignment = await old.take()
    new = Hand(one, id=old.id, incarnation=2)
    assert (await new.take()).id == assignment.id
    assert (await old.poll()).revoked == (assignment.id,)
    assert (await old.report(*ended())).revoked


async def test_a_cancel_is_told_until_the_runner_brings_it_to_its_end(bench: Bench, one: Objects) -> None:
    (build,) = await started(bench, one)
    hand = Hand(one)
    assignment = await hand.take()
    waiting = asyncio.create_task(hand.poll(wait=20))
    await one.buddy(build).cancel_build("ann")
    async with asyncio.timeout(3):
        assert (await waiting).cancel == (assignment.id,)
    assert (await hand.poll()).cancel == (assignment.id,)
    hand.ending = (assignment.id,)
    assert (await hand.poll()).cancel == ()
    await hand.report(*begun(), *ended(Outcome.CANCELED))
    assert (await hand.poll()).revoked == (assignment.id,)


async def test_what_a_runner_holds_and_nobody_knows_is_revoked(one: Objects) -> None:
    hand = Hand(one)
    unknown = uuid4()
    hand.holding = (unknown,)
    assert (await hand.poll()).revoked == (unknown,)


async def test_an_offer_that_its_build_has_given_up_is_dropped(bench: Bench, one: Objects) -> None:
    """As a crash between two commits may leave it."""
    (build,) = await started(bench, one)
    await one.buddy(build).cancel_build("ann")
    assert await bench.state(build) == (State.STOPPED, Outcome.CANCELED)
    await bench.database.pool.execute(
        "INSERT INTO assignments (id, build, job, labels) VALUES ($1, $2, 'a', '{linux}')", uuid4(), build
    )
    assert (await Hand(one).poll()).assignments == ()
    assert await bench.database.pool.fetchval("SELECT count(*) FROM assignments") == 0


async def test_any_node_answers_any_runner(bench: Bench) -> None:
    async with bench.nodes(2) as nodes:
        one, two = nodes.declared
        (build,) = await started(bench, one)
        hand = Hand(two)
        await hand.take()
        await hand.run()
        assert await bench.state(build) == (State.STOPPED, Outcome.SUCCESS)


async def test_an_owner_that_is_away_is_unavailable(bench: Bench) -> None:
    async with bench.nodes() as nodes:
        one = nodes.declared[0]
        await started(bench, one)
        hand = Hand(one)
        await hand.take()
        await nodes.kill(one.node)
        with pytest.raises(Unavailable):
            await hand.report(output(0, b"hello\n"))


class TestARunnersToken:
    async def test_another_token_cannot_take_over_a_runner(self, bench: Bench, one: Objects) -> None:
        await started(bench, one)
        victim = Hand(one, token=uuid4())
        await victim.take()
        thief = Hand(one, id=victim.id, incarnation=99, token=uuid4())
        with pytest.raises(Forbidden):
            await thief.poll()
        thief.assignment = victim.assignment
        with pytest.raises(Forbidden):
            await thief.report(*begun())
        assert not (await victim.report(*begun())).revoked

    async def test_nor_one_of_our_own_process(self, bench: Bench, one: Objects) -> None:
        ours = Hand(one)
        await ours.poll()
        with pytest.raises(Forbidden):
            await Hand(one, id=ours.id, token=uuid4()).poll()

    async def test_a_revoked_token_is_replaced(self, bench: Bench, one: Objects, database: Database) -> None:
        tokens = Tokens(database=database)
        old, new = [(await tokens.create(name, role="runner"))[0] for name in ("old", "new")]
        runner = Hand(one, token=old)
        await runner.poll()
        await tokens.revoke(old)
        assert (await Hand(one, id=runner.id, incarnation=2, token=new).poll()).revoked == ()


async def test_what_was_given_to_a_runner_that_never_heard_of_it_is_offered_again(
    bench: Bench, one: Objects, database: Database
) -> None:
    (build,) = await started(bench, one)
    silent = Hand(one)
    await silent.poll(slots=0)
    async with database.pool.acquire() as connection:
        await connection.execute("UPDATE assignments SET runner = $1, incarnation = 1", silent.id)
        await connection.execute("UPDATE runners SET seen_at = now() - interval '1 hour'")
    assert await run_alarm(one.buddy(build), "check_health")
    assert (await Hand(one).take()).build == build
