"""A build's life without any I/O: what each event changes, and that repeated or late ones change nothing."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import zstandard
from planning_cases import plan_of

from buildsys.core.assignment import ContainerStarted, Item, JobStopped, LogBatch, StepStarted, StepStopped
from buildsys.core.build import Outcome, State
from buildsys.objects.build_life import BuildLife
from buildsys.objects.job_life import JobLife

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNER = UUID(int=7)


def apply(life: BuildLife, job: JobLife, item: Item) -> bool:
    return life.apply(job, item, NOW)


def life_of(**needs: tuple[str, ...]) -> BuildLife:
    """A build whose jobs, one step each, need each other as given."""
    return BuildLife.of_plan(uuid4(), plan_of(json.dumps({id: {"needs": needed} for id, needed in needs.items()})))


def claimed(life: BuildLife, name: str) -> JobLife:
    job = life.jobs[name]
    life.offer(job, uuid4())
    life.claim(job, RUNNER, 1, NOW)
    return job


def run(life: BuildLife, name: str, outcome: Outcome = Outcome.SUCCESS) -> JobLife:
    job = claimed(life, name)
    items: list[Item] = [
        StepStarted(step=0, at=NOW),
        ContainerStarted(container="c1", driver="process", at=NOW),
        StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=None, at=NOW),
        StepStarted(step=1, at=NOW),
        LogBatch(step=1, offset=0, end=6, lines=1, frame=zstandard.compress(b"hello\n"), at=NOW),
        StepStopped(step=1, outcome=outcome, exit_code=0 if outcome == Outcome.SUCCESS else 1, at=NOW),
        JobStopped(outcome=outcome, at=NOW),
    ]
    for item in items:
        assert apply(life, job, item)
    return job


def started(**needs: tuple[str, ...]) -> BuildLife:
    life = life_of(**needs)
    life.start(NOW)
    return life


def test_a_queued_build_offers_nothing() -> None:
    assert life_of(a=()).ready() == []


def test_jobs_are_offered_when_what_they_need_has_succeeded() -> None:
    life = started(a=(), b=("a",), c=("a", "b"))
    assert [job.id for job in life.ready()] == ["a"]
    run(life, "a")
    assert [job.id for job in life.ready()] == ["b"]
    run(life, "b")
    assert [job.id for job in life.ready()] == ["c"]


def test_an_offered_job_is_not_offered_again() -> None:
    life = started(a=())
    life.offer(life.jobs["a"], uuid4())
    assert life.ready() == []


def test_the_build_runs_with_its_first_container_and_stops_with_its_last_job() -> None:
    life = started(a=(), b=())
    run(life, "a")
    assert (life.state, life.outcome) == (State.RUNNING, None)
    run(life, "b")
    assert (life.state, life.outcome) == (State.STOPPED, Outcome.SUCCESS)
    assert [record.kind for record in life.records].count("end") == 1
    assert life.records[-1].kind == "end"


def test_a_failed_need_skips_all_that_hangs_on_it() -> None:
    life = started(a=(), b=("a",), c=("b",), d=())
    run(life, "d")
    run(life, "a", Outcome.FAILED)
    assert [life.jobs[id].outcome for id in "abcd"] == [
        Outcome.FAILED,
        Outcome.SKIPPED,
        Outcome.SKIPPED,
        Outcome.SUCCESS,
    ]
    assert (life.state, life.outcome) == (State.STOPPED, Outcome.FAILED)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((Outcome.SUCCESS, Outcome.FAILED), Outcome.FAILED),
        ((Outcome.FAILED, Outcome.CANCELED), Outcome.CANCELED),
        ((Outcome.CANCELED, Outcome.TIMED_OUT), Outcome.TIMED_OUT),
        ((Outcome.TIMED_OUT, Outcome.ERRORED), Outcome.ERRORED),
    ],
)
def test_the_worst_job_decides(outcomes: tuple[Outcome, Outcome], expected: Outcome) -> None:
    life = started(a=(), b=())
    for name, outcome in zip("ab", outcomes, strict=True):
        run(life, name, outcome)
    assert life.outcome == expected


def test_repeated_items_change_nothing() -> None:
    life = started(a=(), b=())
    job = run(life, "a")
    before = len(life.records)
    for item in (
        StepStarted(step=1, at=NOW),
        LogBatch(step=1, offset=0, end=6, lines=1, frame=zstandard.compress(b"hello\n"), at=NOW),
        StepStopped(step=1, outcome=Outcome.FAILED, exit_code=9, at=NOW),
        JobStopped(outcome=Outcome.FAILED, at=NOW),
    ):
        assert apply(life, job, item)
    assert len(life.records) == before
    assert job.outcome == Outcome.SUCCESS


def test_output_is_taken_only_where_the_stored_output_ends() -> None:
    life = started(a=())
    job = claimed(life, "a")

    def batch(start: int, end: int) -> LogBatch:
        return LogBatch(step=1, offset=start, end=end, lines=1, frame=zstandard.compress(b"\n"), at=NOW)

    assert not apply(life, job, batch(0, 10)), "of a step that did not begin"
    apply(life, job, StepStarted(step=1, at=NOW))
    assert apply(life, job, batch(0, 10))
    assert not apply(life, job, batch(20, 30)), "a hole"
    assert not apply(life, job, batch(5, 15)), "an overlap"
    assert job.position.offset == 10
    assert apply(life, job, batch(10, 15))
    assert [record.source for record in life.records if record.kind == "lines"] == [(0, 10), (10, 15)]
    apply(life, job, StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=NOW))
    assert not apply(life, job, batch(15, 20)), "of a step that has stopped"


def test_a_step_whose_output_is_not_all_stored_ends_with_a_gap() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=1, at=NOW))
    apply(life, job, StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=NOW, end=12))
    assert gaps(life) == [("a", 1, "the step's output ended at byte 12, and is stored up to 0")]


def test_a_step_that_did_not_begin_can_only_be_skipped() -> None:
    life = started(a=())
    job = claimed(life, "a")
    assert not apply(life, job, StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=NOW))
    assert apply(life, job, StepStopped(step=1, outcome=Outcome.SKIPPED, exit_code=None, at=NOW))
    assert job.position.stopped == {1: Outcome.SKIPPED}


def gaps(life: BuildLife) -> list[tuple[str | None, int | None, str]]:
    return [(r.job, r.step, (r.data or {})["reason"]) for r in life.records if r.kind == "gap"]


def test_a_job_that_ends_without_the_end_of_its_step_has_a_gap_there() -> None:
    life = started(a=())
    job = claimed(life, "a")
    for item in (
        StepStarted(step=0, at=NOW),
        StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=None, at=NOW),
        StepStarted(step=1, at=NOW),
        JobStopped(outcome=Outcome.ERRORED, at=NOW, reason="a report was refused"),
    ):
        assert apply(life, job, item)
    assert gaps(life) == [("a", 1, "a report was refused")]
    kinds = [record.kind for record in life.records]
    assert kinds[-4:] == ["gap", "step_stopped", "job_stopped", "end"]


def test_a_job_that_ends_between_two_steps_has_a_gap_at_the_next() -> None:
    """The refused report may have been the one that began the step."""
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=0, at=NOW))
    apply(life, job, StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=None, at=NOW))
    apply(life, job, JobStopped(outcome=Outcome.ERRORED, at=NOW))
    assert gaps(life) == [("a", 1, "the end of the step is not known")]


def test_a_job_that_is_told_to_its_end_has_no_gap() -> None:
    life = started(a=(), b=())
    run(life, "a", Outcome.FAILED)
    life.order_stop(Outcome.CANCELED, NOW)
    assert life.is_stopped
    assert gaps(life) == []


def test_cancel_ends_jobs_nobody_holds_at_once_and_waits_for_the_others() -> None:
    life = started(a=(), b=(), c=("a",))
    job = claimed(life, "a")
    life.order_stop(Outcome.CANCELED, NOW, reason="canceled by ann")
    assert (life.jobs["b"].outcome, life.jobs["c"].outcome) == (Outcome.CANCELED, None)
    assert job.ordered_at == NOW
    assert life.state != State.STOPPED
    apply(life, job, JobStopped(outcome=Outcome.CANCELED, at=NOW))
    assert life.jobs["c"].outcome == Outcome.SKIPPED
    assert (life.state, life.outcome, life.reason) == (State.STOPPED, Outcome.CANCELED, "canceled by ann")


def test_a_canceled_queued_build_stops_in_one_go() -> None:
    life = life_of(a=(), b=("a",))
    life.order_stop(Outcome.CANCELED, NOW)
    assert (life.state, life.outcome) == (State.STOPPED, Outcome.CANCELED)


def test_what_ended_in_time_keeps_its_outcome() -> None:
    life = started(a=())
    job = claimed(life, "a")
    life.order_stop(Outcome.TIMED_OUT, NOW + timedelta(minutes=20))
    apply(life, job, JobStopped(outcome=Outcome.SUCCESS, at=NOW))
    assert life.outcome == Outcome.SUCCESS


def test_a_build_that_ended_by_itself_is_not_said_to_be_canceled() -> None:
    life = started(a=())
    job = claimed(life, "a")
    life.order_stop(Outcome.CANCELED, NOW, reason="canceled by ann")
    apply(life, job, JobStopped(outcome=Outcome.SUCCESS, at=NOW))
    assert (life.outcome, life.reason) == (Outcome.SUCCESS, None)


def test_a_lost_job_leaves_a_gap_in_the_log() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=1, at=NOW))
    life.lose_job(job, NOW, reason="runner_lost")
    gap = next(record for record in life.records if record.kind == "gap")
    assert (gap.job, gap.step) == ("a", 1)
    assert [record.kind for record in life.records][-3:] == ["step_stopped", "job_stopped", "end"]


def test_a_job_nobody_had_leaves_no_gap() -> None:
    life = started(a=())
    life.fail(NOW, "the secret DEPLOY_KEY is missing")
    assert "gap" not in [record.kind for record in life.records]


def test_what_a_runner_cancels_for_the_time_limit_is_timed_out() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=1, at=NOW))
    life.order_stop(Outcome.TIMED_OUT, NOW, reason="the time limit of 3 s was reached")
    apply(life, job, StepStopped(step=1, outcome=Outcome.CANCELED, exit_code=143, at=NOW))
    apply(life, job, JobStopped(outcome=Outcome.CANCELED, at=NOW))
    assert (job.steps[1].outcome, job.outcome, life.outcome) == (Outcome.TIMED_OUT,) * 3


def test_an_error_of_ours_ends_everything_as_errored_with_its_reason() -> None:
    life = started(a=(), b=("a",))
    claimed(life, "a")
    life.fail(NOW, "the secret DEPLOY_KEY is missing")
    assert (life.state, life.outcome, life.reason) == (
        State.STOPPED,
        Outcome.ERRORED,
        "the secret DEPLOY_KEY is missing",
    )


def test_a_stopped_job_leaves_no_step_open() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=1, at=NOW))
    life.stop_job(job, Outcome.TIMED_OUT, NOW)
    assert [(step.state, step.outcome) for step in job.steps.values()] == [
        (State.STOPPED, Outcome.SKIPPED),
        (State.STOPPED, Outcome.TIMED_OUT),
    ]


def test_the_position_says_where_a_new_incarnation_goes_on() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=0, at=NOW))
    apply(life, job, ContainerStarted(container="c1", driver="docker", at=NOW))
    apply(life, job, StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=None, at=NOW))
    apply(life, job, StepStarted(step=1, at=NOW))
    apply(life, job, LogBatch(step=1, offset=0, end=42, lines=3, frame=zstandard.compress(b"\n"), at=NOW))
    assert (job.position.step, job.position.offset, job.position.container) == (1, 42, "c1")
    assert job.position.started == (0, 1)
    assert job.position.stopped == {0: Outcome.SUCCESS}


def driven(text: str) -> BuildLife:
    life = BuildLife.of_plan(uuid4(), plan_of(text))
    life.start(NOW)
    return life


def test_a_matrix_takes_the_place_of_its_job() -> None:
    life = driven("a: {strategy: {matrix: {x: [1, 2]}}}\nb: {needs: a}")
    assert [(job.id, job.name, job.rank) for job in life.jobs.values() if job.id != "b"] == [
        ("a.1", "a (1)", (1, 1)),
        ("a.2", "a (2)", (1, 2)),
    ]
    assert (life.changes.new_jobs, life.changes.replaced) == ({"a.1", "a.2"}, {"a"})
    assert [record.data for record in life.records if record.kind == "job_planned"] == [
        {"name": "a (1)"},
        {"name": "a (2)"},
    ]
    run(life, "a.1")
    run(life, "a.2")
    assert [job.id for job in life.ready()] == ["b"]


def test_the_first_combination_that_fails_ends_the_others_and_the_build_has_failed() -> None:
    life = driven("a: {strategy: {matrix: {x: [1, 2, 3]}}}")
    running = claimed(life, "a.2")
    run(life, "a.1", Outcome.FAILED)
    assert (running.ordered_at, life.jobs["a.3"].outcome) == (NOW, Outcome.CANCELED)
    reason = "a.1 failed, and its matrix fails fast"
    assert (running.reason, life.jobs["a.3"].reason) == (reason, reason)
    apply(life, running, JobStopped(outcome=Outcome.CANCELED, at=NOW))
    assert (life.outcome, running.reason) == (Outcome.FAILED, reason)


def test_what_may_not_begin_yet_is_held_and_says_why() -> None:
    life = driven("a: {strategy: {max-parallel: 1, matrix: {x: [1, 2]}}}")
    assert [job.id for job in life.ready()] == ["a.1"]
    assert life.jobs["a.2"].held == "max-parallel is 1"
    run(life, "a.1")
    assert ([job.id for job in life.ready()], life.jobs["a.2"].held) == (["a.2"], None)


def test_a_job_that_may_fail_fails_nothing() -> None:
    life = driven("a: {continue-on-error: true}\nb: {needs: a}")
    assert run(life, "a", Outcome.FAILED).outcome == Outcome.FAILED
    run(life, "b")
    assert (life.outcome, life.reason) == (Outcome.SUCCESS, None)


def test_a_job_that_cannot_be_planned_fails_with_the_key_that_is_to_blame() -> None:
    life = driven("a: {strategy: {matrix: \"${{ fromJSON('[1]') }}\"}}")
    assert (life.state, life.outcome) == (State.STOPPED, Outcome.FAILED)
    assert (life.reason or "").startswith("strategy.matrix: ")


def test_a_build_of_which_nothing_runs_is_skipped() -> None:
    life = driven("a: {if: false}\nb: {needs: a}")
    assert (life.state, life.outcome) == (State.STOPPED, Outcome.SKIPPED)
    assert [record.kind for record in life.records] == ["build_starting", "job_skipped", "job_skipped", "end"]


def test_after_a_cancel_what_always_runs_does_and_the_time_limit_ends_that() -> None:
    life = driven("a: {}\nb: {needs: a, if: always()}\nc: {needs: b}")
    job = claimed(life, "a")
    life.order_stop(Outcome.CANCELED, NOW, reason="canceled by ann")
    apply(life, job, JobStopped(outcome=Outcome.CANCELED, at=NOW))
    assert [job.id for job in life.ready()] == ["b"]
    cleaning = claimed(life, "b")
    assert cleaning.ordered_at is None
    life.order_stop(Outcome.TIMED_OUT, NOW, reason="no time")
    assert (cleaning.ordered_at, life.jobs["c"].outcome) == (NOW, Outcome.TIMED_OUT)
    apply(life, cleaning, JobStopped(outcome=Outcome.CANCELED, at=NOW))
    assert (life.state, life.outcome, life.reason) == (State.STOPPED, Outcome.TIMED_OUT, "no time")


def test_a_cancel_that_keeps_a_job_from_running_is_told_as_one() -> None:
    life = driven("a: {}\nb: {needs: a}")
    job = claimed(life, "a")
    life.order_stop(Outcome.CANCELED, NOW, reason="canceled by ann")
    apply(life, job, JobStopped(outcome=Outcome.SUCCESS, at=NOW))
    assert (life.outcome, life.reason) == (Outcome.CANCELED, "canceled by ann")


def test_outputs_reach_the_jobs_that_need_them() -> None:
    life = driven("a: {}\nb: {needs: a, name: 'b of ${{ needs.a.outputs.x }}'}")
    apply(life, claimed(life, "a"), JobStopped(outcome=Outcome.SUCCESS, at=NOW, outputs={"x": "7"}))
    assert life.jobs["b"].name == "b of 7"


def test_steps_within_an_action_are_rows_when_they_begin() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=1, at=NOW, name="Use it"))
    apply(life, job, StepStarted(step=1001, at=NOW, name="Within", parent=1))
    assert (job.steps[1].name, job.steps[1001].name, job.steps[1001].parent) == ("Use it", "Within", 1)
    assert job.position.step == 1001
    apply(life, job, StepStopped(step=1001, outcome=Outcome.SUCCESS, exit_code=0, at=NOW))
    apply(life, job, StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=None, at=NOW))
    assert (job.steps[1001].outcome, job.position.started) == (Outcome.SUCCESS, (1, 1001))


@pytest.mark.parametrize(
    "text",
    [
        "a: {}\nb: {needs: a}",
        "a: {strategy: {max-parallel: 1, matrix: {x: [1, 2]}}}\nb: {needs: a, if: always()}",
        "a: {if: false}\nb: {needs: a}\nc: {}",
    ],
)
def test_what_is_stored_is_enough_to_go_on(text: str) -> None:
    """A life made of another one's jobs knows what is to be offered, and what is held."""
    life = driven(text)
    while not life.is_stopped:
        again = BuildLife.of_plan(life.id, life.plan)
        again.jobs = {job.id: dataclasses.replace(job, planned=None, held=None) for job in life.jobs.values()}
        again.state = life.state
        again.resume()
        assert again.jobs == life.jobs
        run(life, life.ready()[0].id)
