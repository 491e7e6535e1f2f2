"""Builds of a concurrency group: one runs, one waits.

Source: "Control the concurrency of workflows and jobs" in GitHub's documentation.
"""

from __future__ import annotations

import json
from uuid import UUID

from objects_bench import Bench, Hand, until

from buildsys.core.build import Outcome, State
from buildsys.core.definition import Workflow
from buildsys.core.workflow_file import decode_workflow


async def test_one_build_of_a_group_runs_at_a_time_and_the_next_says_for_whom_it_waits(bench: Bench) -> None:
    project, other = await bench.project(), await bench.project("other")
    first, second = [await bench.queue(project, workflow=grouped("Deploy")) for _ in range(2)]
    elsewhere = await bench.queue(other, workflow=grouped("deploy"))
    apart = await bench.queue(project, workflow=grouped("test"))
    async with bench.nodes() as nodes:
        one = nodes.declared[0]
        await one.ring()
        await until(lambda: _started(bench, {first, elsewhere, apart}))
        await one.ring()
        assert await bench.started() == {first, elsewhere, apart}
        waiting = (await bench.builds.get(second)).waiting
        assert waiting == "waits for the concurrency group 'deploy', held by #1"
        await one.buddy(first).cancel_build("ann")
        await until(lambda: _started(bench, {second}))


async def test_of_those_that_wait_the_newest_stays(bench: Bench) -> None:
    project = await bench.project()
    builds = [await bench.queue(project, workflow=grouped("deploy")) for _ in range(4)]
    async with bench.nodes() as nodes:
        await nodes.declared[0].ring()
        await until(lambda: _started(bench, {builds[0]}))
        for build in builds[1:3]:
            found = await bench.stopped(build)
            assert (found.outcome, found.started_at) == (Outcome.CANCELED, None)
            assert found.reason == "canceled by #4, which is newer in the concurrency group 'deploy'"
        await nodes.declared[0].ring()
        assert [(await bench.state(build))[0] for build in (builds[0], builds[3])] == ["starting", "queued"]


async def test_the_newest_may_end_what_runs(bench: Bench) -> None:
    project = await bench.project()
    first = await bench.queue(project, workflow=grouped("deploy"))
    async with bench.nodes() as nodes:
        one = nodes.declared[0]
        await one.ring()
        hand = Hand(one)
        await until(lambda: _started(bench, {first}))
        await hand.take()
        second = await bench.queue(project, workflow=grouped("deploy", cancel=True))
        await one.ring()
        await until(lambda: _is_canceling(bench, first))
        await one.ring()
        assert (await bench.state(second))[0] == State.QUEUED, "it waits for the proof"
        await hand.run(Outcome.CANCELED)
        await until(lambda: _started(bench, {second}))
        assert (await bench.builds.get(first)).reason == (
            "canceled by #2, which is newer in the concurrency group 'deploy'"
        )


def grouped(group: str, *, cancel: bool = False) -> Workflow:
    concurrency = {"group": group, "cancel-in-progress": cancel}
    job = {"runs-on": "linux", "steps": [{"run": "x"}]}
    return decode_workflow(json.dumps({"on": "push", "concurrency": concurrency, "jobs": {"a": job}}), file="ci.yml")


async def _is_canceling(bench: Bench, build: UUID) -> bool:
    return (await bench.builds.get(build)).cancel_requested_at is not None


async def _started(bench: Bench, builds: set[UUID]) -> bool:
    return await bench.started() >= builds
