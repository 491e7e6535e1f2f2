"""What BuildBuddy makes of a workflow's jobs on a real database: instances, conditions, outputs, cancels, secrets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from log_fold import fold, rows_of
from msgspec.structs import replace
from objects_bench import Bench, Hand, Objects, begun, ended, output, until
from thread_gate import ThreadGate

from actors import Database
from actors.testing import FakeClock, evict
from buildsys.core.assignment import JobStopped, Position, StepStarted, StepStopped
from buildsys.core.build import Build, Outcome, State
from buildsys.core.events import Event
from buildsys.core.project import Project
from buildsys.core.workflow_file import decode_workflow
from buildsys.objects.build_buddy import ESCALATION
from buildsys.objects.build_life import BuildLife

STEPS = "runs-on: linux, steps: [{name: say, run: echo hello}]"


async def project_of(bench: Bench) -> Project:
    return await bench.project(f"shop-{uuid4().hex[:8]}")


async def started(bench: Bench, one: Objects, jobs: str, *, project: Project | None = None, **given: Any) -> UUID:
    """A build of these jobs; `STEPS` stands for what each of them does."""
    text = f"on: push\njobs:\n  {jobs.replace('STEPS', STEPS)}"
    build = await bench.queue(
        project or await project_of(bench), workflow=decode_workflow(text, file="ci.yml"), **given
    )
    await one.buddy(build).start_build()
    return build


async def took(one: Objects) -> Hand:
    """A runner that has taken the next job, which has printed a line."""
    hand = Hand(one)
    await hand.take()
    await hand.report(*begun(), output(0, b"hello\n"))
    return hand


async def ran(one: Objects, outcome: Outcome = Outcome.SUCCESS) -> None:
    """The next job is over."""
    await (await took(one)).report(*ended(outcome))


async def states(bench: Bench, build: UUID) -> dict[str, str]:
    return {job.id: str(job.outcome or job.state) for job in (await bench.builds.get(build)).jobs}


async def check(bench: Bench, build: UUID) -> Build:
    """The build, of which the log says all that its rows say."""
    records = await bench.logs.read(build, after=0, size=1000)
    assert fold(await bench.builds.plan(build), records) == await rows_of(bench.database, build)
    return await bench.builds.get(build)


async def test_a_matrix_is_offered_at_once_under_its_names(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {strategy: {matrix: {x: [one, two]}}, STEPS}\n  b: {needs: a, STEPS}")
    found = await check(bench, build)
    assert [(job.id, job.name, job.needs) for job in found.jobs] == [
        ("a.1", "a (one)", ()),
        ("a.2", "a (two)", ()),
        ("b", "b", ("a",)),
    ]
    hands = [await took(one), await took(one)]
    assert [hand.assignment.job.contexts["matrix"] for hand in hands] == [{"x": "one"}, {"x": "two"}]
    await check(bench, build)
    for hand in hands:
        await hand.report(*ended())
    await ran(one)
    assert (await check(bench, build)).outcome == Outcome.SUCCESS


async def test_steps_are_there_once_a_runner_has_the_job(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {STEPS}")
    assert (await bench.builds.get(build)).jobs[0].steps == ()
    hand = Hand(one)
    await hand.take()
    (job,) = (await check(bench, build)).jobs
    assert [(step.number, step.name) for step in job.steps] == [(0, "Set up job"), (1, "say")]


async def test_steps_within_an_action_are_kept_with_what_they_are_part_of(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {STEPS}")
    hand = await took(one)
    now = datetime.now(UTC)
    await hand.report(StepStarted(step=1001, at=now, name="Within", parent=1), output(0, b"in\n", step=1001))
    reply = await hand.report()
    assert (reply.position.step, reply.position.offset, set(reply.position.started)) == (1001, 3, {0, 1, 1001})
    await hand.report(StepStopped(step=1001, outcome=Outcome.SUCCESS, exit_code=0, at=now), *ended())
    (job,) = (await check(bench, build)).jobs
    assert [(step.number, step.name, step.parent) for step in job.steps][2:] == [(1001, "Within", 1)]


async def test_outputs_reach_the_next_jobs(bench: Bench, one: Objects) -> None:
    build = await started(
        bench,
        one,
        "a: {outputs: {x: '${{ steps.s.outputs.x }}'}, runs-on: linux, steps: [{id: s, run: y}]}\n"
        "  b: {needs: a, if: \"needs.a.outputs.x == '7'\", name: 'b${{ needs.a.outputs.x }}', STEPS}",
    )
    hand = await took(one)
    await hand.report(JobStopped(outcome=Outcome.SUCCESS, at=datetime.now(UTC), outputs={"x": "7", "y": 'a\n"b'}))
    hand = await took(one)
    assert hand.assignment.job.contexts["needs"]["a"] == {"result": "success", "outputs": {"x": "7", "y": 'a\n"b'}}
    assert [job.name for job in (await check(bench, build)).jobs] == ["a", "b7"]


async def test_large_outputs_are_planned_with_beside_the_event_loop(
    bench: Bench, one: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = await started(
        bench,
        one,
        'a: {STEPS}\n  b: {needs: a, if: "fromJSON(needs.a.outputs.x)[0] == 1", STEPS}\n'
        "  c: {needs: a, strategy: {matrix: {n: '${{ fromJSON(needs.a.outputs.x) }}'}}, STEPS}",
    )
    hand = await took(one)
    gate = ThreadGate()
    monkeypatch.setattr(BuildLife, "apply", gate.held(BuildLife.apply))
    large = json.dumps([1, *({"key": number} for number in range(60_000))])
    stopped = JobStopped(outcome=Outcome.SUCCESS, at=datetime.now(UTC), outputs={"x": large})
    reporting = asyncio.create_task(hand.report(stopped))
    await gate.reached.wait()
    gate.open()
    await reporting
    assert await states(bench, build) == {"a": "success", "b": "queued", "c": "failed"}
    (failed,) = [job for job in (await check(bench, build)).jobs if job.id == "c"]
    assert failed.reason == "strategy.matrix: larger than 256 KiB"


async def test_conditions_choose_what_runs_after_a_failure(bench: Bench, one: Objects) -> None:
    build = await started(
        bench,
        one,
        "a: {STEPS}\n  b: {needs: a, STEPS}\n"
        "  c: {needs: a, if: failure(), STEPS}\n  d: {needs: b, if: always(), STEPS}",
    )
    await ran(one, Outcome.FAILED)
    assert await states(bench, build) == {"a": "failed", "b": "skipped", "c": "queued", "d": "queued"}
    for _ in range(2):
        await ran(one)
    found = await check(bench, build)
    assert (found.outcome, found.jobs[1].reason) == (Outcome.FAILED, "a is failure")


async def test_a_failure_that_is_allowed_fails_nothing(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {continue-on-error: true, STEPS}\n  b: {needs: a, STEPS}")
    await ran(one, Outcome.FAILED)
    await ran(one)
    found = await check(bench, build)
    assert (found.outcome, found.jobs[0].outcome) == (Outcome.SUCCESS, Outcome.FAILED)


async def test_a_combination_that_fails_ends_the_others(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {strategy: {matrix: {x: [1, 2, 3]}}, STEPS}")
    failing, other = await took(one), await took(one)
    await failing.report(*ended(Outcome.FAILED))
    assert (await other.poll()).cancel == (other.assignment.id,)
    assert (await other.report()).cancel
    assert (await states(bench, build))["a.3"] == "canceled"
    await check(bench, build)
    await other.report(*ended(Outcome.CANCELED))
    found = await check(bench, build)
    assert found.outcome == Outcome.FAILED
    assert found.jobs[1].reason == "a.1 failed, and its matrix fails fast"


async def test_combinations_beyond_the_most_at_a_time_wait_and_say_so(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {strategy: {max-parallel: 1, matrix: {x: [1, 2]}}, STEPS}")
    assert [job.waiting for job in (await bench.builds.get(build)).jobs] == [None, "max-parallel is 1"]
    first = await took(one)
    assert (await Hand(one).poll()).assignments == ()
    await first.report(*ended())
    assert [job.waiting for job in (await bench.builds.get(build)).jobs] == [None, None]
    await ran(one)
    assert (await check(bench, build)).outcome == Outcome.SUCCESS


async def test_what_cannot_be_planned_fails_with_its_key(bench: Bench, one: Objects) -> None:
    build = await started(
        bench, one, "a: {strategy: {matrix: \"${{ fromJSON('1') }}\"}, STEPS}\n  b: {needs: a, STEPS}"
    )
    found = await check(bench, build)
    assert (found.state, found.outcome) == (State.STOPPED, Outcome.FAILED)
    assert (found.reason or "").startswith("strategy.matrix: ")
    assert await bench.database.pool.fetchval("SELECT count(*) FROM actors.schedules") == 0


async def test_a_build_of_which_nothing_is_to_run_is_skipped(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {if: false, STEPS}")
    assert (await check(bench, build)).outcome == Outcome.SKIPPED


async def test_after_a_cancel_runs_what_always_does(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {STEPS}\n  b: {needs: a, STEPS}\n  c: {needs: b, if: always(), STEPS}")
    hand = await took(one)
    await one.buddy(build).cancel_build("ann")
    await hand.report(*ended(Outcome.CANCELED))
    assert await states(bench, build) == {"a": "canceled", "b": "skipped", "c": "queued"}
    last = await took(one)
    assert not (await last.report()).cancel
    await last.report(*ended())
    found = await check(bench, build)
    assert (found.outcome, found.reason) == (Outcome.CANCELED, "canceled by ann")


async def test_a_job_that_is_not_ended_is_lost_and_what_runs_after_it_is_not(bench: Bench, database: Database) -> None:
    clock = FakeClock()
    await clock.install(database)
    async with bench.nodes(clock=clock) as nodes:
        one = nodes.declared[0]
        build = await started(bench, one, "a: {STEPS}\n  b: {if: always(), STEPS}")
        stuck, other = await took(one), await took(one)
        await one.buddy(build).cancel_build("ann")
        assert ((await stuck.report()).cancel, (await other.report()).cancel) == (True, False)
        await clock.advance(ESCALATION / 2)
        await other.poll()
        await clock.advance(ESCALATION / 2 + 2)
        await bench.database.pool.execute("UPDATE runners SET seen_at = now()")
        await _until_state(bench, build, "a", "errored")
        assert await states(bench, build) == {"a": "errored", "b": "running"}
        await other.report(*ended())
        assert (await check(bench, build)).outcome == Outcome.ERRORED


class TestSecrets:
    NAMING = (
        "a: {runs-on: linux, steps: [{run: x, env: {K: '${{ secrets.Key }}', T: '${{ secrets.GITHUB_TOKEN }}'}}]}\n"
        "  b: {STEPS}"
    )

    async def test_reach_the_jobs_that_name_them_and_no_others(self, bench: Bench, one: Objects) -> None:
        project = await project_of(bench)
        for name in ("KEY", "OTHER"):
            await bench.secrets.set(name, f"the value of {name}", project=project, by="ann")
        build = await started(bench, one, self.NAMING, project=project)
        given = {hand.assignment.job.id: hand.assignment for hand in [await took(one), await took(one)]}
        assert given["a"].named_secrets == {"KEY": "the value of KEY"}
        assert given["b"].named_secrets == {}
        assert "the value" not in repr(given["a"])
        stored = await bench.database.pool.fetchval("SELECT plan::text FROM builds WHERE id = $1", build)
        assert "the value" not in stored

    async def test_that_are_missing_end_the_build_before_anything_runs(self, bench: Bench, one: Objects) -> None:
        build = await started(bench, one, self.NAMING)
        found = await check(bench, build)
        reason = "secret KEY is missing: set it with 'buildsys secret set KEY'"
        assert (found.state, found.outcome, found.reason) == (State.STOPPED, Outcome.ERRORED, reason)
        assert await bench.database.pool.fetchval("SELECT count(*) FROM assignments") == 0
        assert await bench.database.pool.fetchval("SELECT count(*) FROM queue") == 0
        assert await bench.kinds(build) == ["job_stopped", "job_stopped", "end"]

    async def test_that_are_removed_meanwhile_end_the_job(self, bench: Bench, one: Objects) -> None:
        project = await project_of(bench)
        await bench.secrets.set("KEY", "value", project=project, by="ann")
        build = await started(bench, one, self.NAMING, project=project)
        await bench.secrets.remove("KEY", project=project)
        await ran(one)
        found = await check(bench, build)
        assert (found.outcome, found.jobs[0].outcome) == (Outcome.ERRORED, Outcome.ERRORED)
        assert (found.reason or "").startswith("secret KEY is missing")

    async def test_are_not_for_forks(self, bench: Bench, one: Objects) -> None:
        project = await project_of(bench)
        await bench.secrets.set("KEY", "value", project=project, by="ann")
        fork = Event(name="pull_request", ref="refs/pull/1/merge", sha="c" * 40, head_branch="x", from_fork=True)
        await started(bench, one, self.NAMING, project=project, event=fork)
        hand = await took(one)
        assert (hand.assignment.job.id, hand.assignment.named_secrets) == ("a", {})


async def test_what_a_runner_gets_is_what_was_planned(bench: Bench, one: Objects) -> None:
    await started(bench, one, "a: {timeout-minutes: 2, STEPS}")
    hand = await took(one)
    given = hand.assignment
    assert (given.job.id, given.job.timeout, given.env["GITHUB_JOB"]) == ("a", 120.0, "a")
    assert given.remaining == pytest.approx(120.0, abs=10.0)
    assert given.source is not None
    assert (given.source.ref, given.source.commit) == ("refs/heads/main", "c" * 40)
    again = Hand(one, id=hand.id, incarnation=2)
    resumed = await again.take()
    changing = {"remaining": 0.0, "position": Position(), "log_left": 0}
    assert replace(resumed, **changing) == replace(given, **changing)


async def test_a_build_goes_on_after_it_was_forgotten(bench: Bench, one: Objects) -> None:
    build = await started(bench, one, "a: {strategy: {matrix: {x: [1, 2]}}, STEPS}\n  b: {needs: a, STEPS}")
    first = await took(one)
    await evict(one.buddy(build))
    await first.report(*ended())
    await evict(one.buddy(build))
    await ran(one)
    await evict(one.buddy(build))
    last = await took(one)
    assert last.assignment.job.id == "b"
    await last.report(*ended())
    assert (await check(bench, build)).outcome == Outcome.SUCCESS


async def _until_state(bench: Bench, build: UUID, job: str, state: str) -> None:
    async def holds() -> bool:
        return (await states(bench, build))[job] == state

    await until(holds)


async def test_a_job_that_needs_what_is_not_built_in_fails_alone(bench: Bench, one: Objects) -> None:
    build = await started(
        bench,
        one,
        "a: {strategy: {matrix: {x: [1, 2]}}, continue-on-error: true, runs-on: linux,\n"
        "      steps: [{uses: actions/setup-python@v5}]}\n  b: {STEPS}",
    )
    assert await states(bench, build) == {"a.1": "failed", "a.2": "failed", "b": "queued"}
    await ran(one)
    found = await check(bench, build)
    reason = "actions/setup-python@v5 is not built in; do its work in a 'run' step"
    assert [job.reason.startswith(reason) for job in found.jobs if job.reason] == [True, True]
    assert found.outcome == Outcome.SUCCESS
