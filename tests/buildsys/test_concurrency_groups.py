"""Concurrency groups of jobs and of what they call, beside those of whole builds: one name space, one holder at a time.

Source: "Control the concurrency of workflows and jobs" in GitHub's documentation.
"""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from objects_bench import Bench, Hand, Objects, begun, ended, until

from actors import Database
from actors.testing import run_in_actor
from buildsys.core.build import Build, Outcome, State
from buildsys.core.project import Project
from buildsys.core.workflow_file import decode_workflow
from buildsys.objects import scheduler
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.objects.scheduler import STALE, STARTS
from buildsys.store.queries import QUERIES

STEPS = "runs-on: linux, steps: [{run: x}]"
CALLED = ".github/workflows/called.yml"
DEPLOY = f"deploy: {{concurrency: Deploy, {STEPS}}}"


@pytest.fixture
async def project(bench: Bench) -> Project:
    return await bench.project(f"shop-{uuid4().hex[:8]}")


async def queued(bench: Bench, project: Project, jobs: str, *, whole: str = "", called: str = "") -> UUID:
    """A build of these jobs. `whole` is the group of all of it, `called` are the jobs of what it may call."""
    concurrency = f"concurrency: {whole}\n" if whole else ""
    workflow = decode_workflow(f"on: push\n{concurrency}jobs:\n  {jobs}\n", file="ci.yml")
    within = {CALLED: decode_workflow(f"on: workflow_call\njobs:\n  {called}\n", file=CALLED)} if called else {}
    return await bench.queue(project, workflow=workflow, called=within)


async def queued_and_begun(bench: Bench, one: Objects, project: Project, jobs: str, *, called: str = "") -> UUID:
    """A build of these jobs, which is past the queue: what of it may run does, and the rest waits."""
    build = await queued(bench, project, jobs, called=called)
    await has_begun(bench, one, build)
    return build


async def has_begun(bench: Bench, one: Objects, build: UUID) -> None:
    await one.ring()
    await until(lambda: _is_started(bench, build))


async def took(one: Objects) -> Hand:
    hand = Hand(one)
    await hand.take()
    await hand.report(*begun())
    return hand


async def says(bench: Bench, build: UUID, text: str | None) -> Build:
    """The build, once its first job waits for just this."""

    async def holds() -> Build | None:
        found = await bench.builds.get(build)
        return found if found.jobs[0].waiting == text else None

    found: Build = await until(holds)
    return found


async def places(bench: Bench) -> int:
    return int(await bench.database.pool.fetchval("SELECT count(*) FROM group_places"))


async def test_one_job_of_a_group_runs_at_a_time_and_the_next_says_for_whom_it_waits(
    bench: Bench, one: Objects, project: Project
) -> None:
    first = await queued_and_begun(bench, one, project, DEPLOY)
    hand = await took(one)
    second = await queued(bench, project, DEPLOY.replace("Deploy", "DEPLOY"))
    other = await queued(bench, await bench.project("other"), DEPLOY)
    await has_begun(bench, one, second)
    found = await says(bench, second, "waits for the concurrency group 'deploy', held by #1 / deploy")
    assert found.waiting == found.jobs[0].waiting
    elsewhere = await took(one)
    assert elsewhere.assignment.build == other
    assert (await Hand(one).poll()).assignments == ()
    await hand.report(*ended())
    next = await took(one)
    assert (next.assignment.build, (await bench.builds.get(second)).jobs[0].waiting) == (second, None)
    for last in (next, elsewhere):
        await last.report(*ended())
    assert [(await bench.state(build))[1] for build in (first, second, other)] == [Outcome.SUCCESS] * 3
    assert await places(bench) == 0


async def test_of_those_that_wait_the_newest_stays(bench: Bench, one: Objects, project: Project) -> None:
    after = f"after: {{needs: deploy, if: always(), {STEPS}}}"
    builds = [await queued_and_begun(bench, one, project, f"{DEPLOY}\n  {after}")]
    hand = await took(one)
    for _ in range(2):
        builds.append(await queued_and_begun(bench, one, project, DEPLOY))
    found = await bench.stopped(builds[1])
    assert (found.outcome, found.jobs[0].outcome) == (Outcome.CANCELED, Outcome.CANCELED)
    assert found.reason == "canceled by #3 / deploy, which is newer in the concurrency group 'deploy'"
    await says(bench, builds[2], "waits for the concurrency group 'deploy', held by #1 / deploy")
    assert not (await hand.report()).cancel
    await hand.report(*ended())
    taken = {(hand := await took(one)).assignment.build: hand for _ in range(2)}
    assert set(taken) == {builds[0], builds[2]}


async def test_all_wait_in_turn_where_the_group_has_a_queue(bench: Bench, one: Objects, project: Project) -> None:
    jobs = f"deploy: {{concurrency: {{group: deploy, queue: max}}, {STEPS}}}"
    builds = []
    for _ in range(4):
        builds.append(await queued_and_begun(bench, one, project, jobs))
    for build in builds:
        hand = await took(one)
        assert hand.assignment.build == build
        assert (await Hand(one).poll()).assignments == ()
        await hand.report(*ended())
    assert [(await bench.state(build))[1] for build in builds] == [Outcome.SUCCESS] * 4


async def test_a_full_queue_takes_no_more(
    bench: Bench, one: Objects, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MOST_WAITING", 2)
    jobs = f"deploy: {{concurrency: {{group: deploy, queue: max}}, {STEPS}}}"
    builds = []
    for _ in range(4):
        builds.append(await queued_and_begun(bench, one, project, jobs))
    found = await bench.stopped(builds[-1])
    assert (found.outcome, found.reason) == (
        Outcome.CANCELED,
        "canceled: 2 wait for the concurrency group 'deploy' already",
    )
    assert [(await bench.state(build))[0] for build in builds[:3]] == [State.STARTING] * 3


async def test_the_newest_may_end_the_job_that_runs_and_waits_for_the_proof(
    bench: Bench, one: Objects, project: Project
) -> None:
    first = await queued_and_begun(bench, one, project, f"{DEPLOY}\n  test: {{{STEPS}}}")
    hands = {(hand := await took(one)).assignment.job.id: hand for _ in range(2)}
    second = await queued_and_begun(
        bench, one, project, f"a: {{concurrency: {{group: deploy, cancel-in-progress: true}}, {STEPS}}}"
    )
    await until(lambda: _is_ordered(hands["deploy"]))
    assert not (await hands["test"].report()).cancel
    assert (await Hand(one).poll()).assignments == ()
    await hands["deploy"].report(*ended(Outcome.CANCELED))
    assert (await took(one)).assignment.build == second
    await hands["test"].report(*ended())
    found = await bench.builds.get(first)
    assert (found.outcome, [job.outcome for job in found.jobs]) == (
        Outcome.CANCELED,
        [Outcome.CANCELED, Outcome.SUCCESS],
    )
    assert found.jobs[0].reason == "canceled by #2 / a, which is newer in the concurrency group 'deploy'"


async def test_builds_and_jobs_share_the_names(bench: Bench, one: Objects, project: Project) -> None:
    await queued_and_begun(bench, one, project, DEPLOY)
    hand = await took(one)
    whole = await queued(bench, project, f"a: {{{STEPS}}}", whole="deploy")
    await one.ring()

    async def waits() -> bool:
        await one.ring()
        found = await bench.builds.get(whole)
        return found.waiting == "waits for the concurrency group 'deploy', held by #1 / deploy"

    await until(waits)
    await hand.report(*ended())
    hand = await took(one)
    assert hand.assignment.build == whole
    again = await queued_and_begun(bench, one, project, DEPLOY)
    await says(bench, again, "waits for the concurrency group 'deploy', held by #2")
    await hand.report(*ended())
    assert (await took(one)).assignment.build == again


async def test_a_called_workflow_holds_its_group_from_its_first_job_to_its_last(
    bench: Bench, one: Objects, project: Project
) -> None:
    called = f"x: {{{STEPS}}}\n  y: {{needs: x, {STEPS}}}\n  z: {{needs: y, if: false, {STEPS}}}"
    calling = f"call: {{concurrency: deploy, uses: ./{CALLED}}}\n  after: {{needs: call, {STEPS}}}"
    await queued_and_begun(bench, one, project, calling, called=called)
    second = await queued_and_begun(bench, one, project, DEPLOY)
    for job in ("call.x", "call.y"):
        hand = await took(one)
        assert hand.assignment.job.id == job
        await says(bench, second, "waits for the concurrency group 'deploy', held by #1 / call")
        await hand.report(*ended())
    taken = {(hand := await took(one)).assignment.job.id: hand for _ in range(2)}
    assert set(taken) == {"after", "deploy"}


async def test_a_called_workflow_that_loses_its_place_ends_as_a_whole(
    bench: Bench, one: Objects, project: Project
) -> None:
    await queued_and_begun(bench, one, project, DEPLOY)
    hand = await took(one)
    called = f"x: {{{STEPS}}}\n  y: {{needs: x, if: always(), {STEPS}}}"
    second = await queued_and_begun(
        bench, one, project, f"call: {{concurrency: deploy, uses: ./{CALLED}}}", called=called
    )
    await says(bench, second, "waits for the concurrency group 'deploy', held by #1 / deploy")
    third = await queued_and_begun(bench, one, project, DEPLOY)
    found = await bench.stopped(second)
    assert [(job.id, job.outcome) for job in found.jobs] == [
        ("call.x", Outcome.CANCELED),
        ("call.y", Outcome.CANCELED),
    ]
    await hand.report(*ended())
    assert (await took(one)).assignment.build == third


@pytest.mark.parametrize(
    ("jobs", "called"),
    [
        (f"a: {{concurrency: deploy, {STEPS}}}", ""),
        (f"a: {{uses: ./{CALLED}}}", f"x: {{concurrency: Deploy, {STEPS}}}"),
    ],
)
async def test_nothing_waits_for_itself(bench: Bench, one: Objects, project: Project, jobs: str, called: str) -> None:
    """GitHub cancels such a job as well, "since a deadlock was detected"."""
    build = await queued(bench, project, jobs, whole="deploy", called=called)
    await one.ring()
    found = await bench.stopped(build)
    assert (found.outcome, found.reason) == (
        Outcome.CANCELED,
        "it would wait for itself: what it is part of holds the group 'deploy'",
    )
    assert await places(bench) == 0


async def test_two_holders_are_more_than_the_database_takes(bench: Bench, one: Objects, project: Project) -> None:
    for _ in range(2):
        await queued_and_begun(bench, one, project, DEPLOY)
    await until(lambda: bench.database.pool.fetchval("SELECT bool_or(held) AND count(*) = 2 FROM group_places"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await bench.database.pool.execute("UPDATE group_places SET held = true")


class TestEnds:
    """Whatever ends a build, nothing of it holds a group any more."""

    async def test_a_cancel(self, bench: Bench, one: Objects, project: Project) -> None:
        build, hand = await self._holding(bench, one, project)
        waiting = await queued_and_begun(bench, one, project, DEPLOY)
        await one.buddy(waiting).cancel_build("ann")
        await one.buddy(build).cancel_build("ann")
        assert await places(bench) == 2, "the job still runs"
        await hand.report(*ended(Outcome.CANCELED))
        assert await places(bench) == 0

    async def test_an_error_of_ours(self, bench: Bench, one: Objects, project: Project) -> None:
        build, _ = await self._holding(bench, one, project)
        await _in_buddy(one, build)
        assert (await bench.stopped(build)).outcome == Outcome.ERRORED
        assert await places(bench) == 0

    async def test_a_build_that_cannot_be_started(self, bench: Bench, project: Project, database: Database) -> None:
        build = await queued(bench, project, DEPLOY, whole="deploy")
        await database.pool.execute(
            "UPDATE queue SET claimed_at = now() - make_interval(secs => $1), starts = $2", STALE + 1, STARTS
        )
        async with bench.nodes() as nodes:
            await nodes.declared[0].ring()
            assert (await bench.stopped(build)).outcome == Outcome.ERRORED
        assert await places(bench) == 0

    async def test_a_project_that_is_removed(self, bench: Bench, one: Objects, project: Project) -> None:
        await self._holding(bench, one, project)
        await bench.database.pool.execute("DELETE FROM projects WHERE id = $1", project.id)
        assert await places(bench) == 0

    async def _holding(self, bench: Bench, one: Objects, project: Project) -> tuple[UUID, Hand]:
        build = await queued(bench, project, DEPLOY, whole="all")
        await one.ring()
        return build, await took(one)


async def test_a_node_that_dies_takes_no_group_with_it(bench: Bench, project: Project) -> None:
    async with bench.nodes(2, lease_ttl=2.0) as nodes:
        one, two = nodes.declared
        builds = []
        for _ in range(2):
            builds.append(await queued_and_begun(bench, one, project, DEPLOY))
        hand = await took(one)
        await nodes.kill(one.node)
        hand.objects = two
        await hand.report(*ended())
        last = await took(two)
        assert last.assignment.build == builds[1]
        await last.report(*ended())
        assert [(await bench.state(build))[1] for build in builds] == [Outcome.SUCCESS] * 2
    assert await places(bench) == 0


async def test_a_group_that_was_given_just_before_the_end_is_told_after_it(
    bench: Bench, project: Project, database: Database
) -> None:
    async with bench.nodes() as nodes:
        builds = []
        for _ in range(2):
            builds.append(await queued_and_begun(bench, nodes.declared[0], project, DEPLOY))
        hand = await took(nodes.declared[0])
        await says(bench, builds[1], "waits for the concurrency group 'deploy', held by #1 / deploy")
    await database.pool.execute("DELETE FROM group_places WHERE held")
    async with database.transaction() as transaction:
        await transaction.execute(QUERIES["group_grant"])
    assert await database.pool.fetchval("SELECT build FROM group_places WHERE held AND NOT told") == builds[1]
    async with bench.nodes() as nodes:
        hand = await took(nodes.declared[0])
        assert hand.assignment.build == builds[1]


async def test_many_builds_of_a_group_run_one_by_one(bench: Bench, project: Project) -> None:
    """On two nodes, with actors that are forgotten after each call, and builds that ask at the same moment."""
    jobs = f"a: {{concurrency: {{group: deploy, queue: max}}, {STEPS}}}\n  b: {{needs: a, concurrency: b, {STEPS}}}"
    builds = [await queued(bench, project, jobs.replace("group: deploy", f"group: g{n % 2}")) for n in range(6)]
    running: dict[str, UUID] = {}

    async def work(one: Objects) -> None:
        while not all([(await bench.state(build))[0] == State.STOPPED for build in builds]):
            hand = Hand(one)
            reply = await hand.poll(wait=0.2)
            for hand.assignment in reply.assignments:
                (group,) = hand.assignment.job.concurrency
                assert group.group not in running, "two hold the group"
                running[group.group] = hand.assignment.build
                await hand.report(*begun())
                await asyncio.sleep(0)
                assert running.pop(group.group) == hand.assignment.build
                await hand.report(*ended())

    async with bench.nodes(2, paranoid=True) as nodes:
        await nodes.declared[0].ring()
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(work(nodes.declared[number % 2]))
    outcomes = [(await bench.builds.get(build)).jobs[0].outcome for build in builds]
    assert outcomes == [Outcome.SUCCESS] * 6
    assert await places(bench) == 0


async def _is_started(bench: Bench, build: UUID) -> bool:
    return build in await bench.started()


async def _is_ordered(hand: Hand) -> bool:
    return (await hand.report()).cancel


async def _in_buddy(one: Objects, build: UUID) -> None:
    async def spawn(buddy: BuildBuddy) -> None:
        async def fail() -> None:
            raise RuntimeError("the disk is gone")

        buddy.ctx.spawn(fail(), name="work")

    await run_in_actor(one.buddy(build), spawn)
