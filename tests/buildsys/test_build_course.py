"""What a build's life makes of its course: combinations, what is held, skipped, allowed to fail, and of a cancel."""

from __future__ import annotations

import dataclasses

import pytest
from life_bench import NOW, apply, claimed, driven, run, started

from buildsys.core.assignment import JobStopped, StepStarted, StepStopped
from buildsys.core.build import Outcome, State
from buildsys.objects.build_life import BuildLife


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


def test_a_job_whose_time_is_up_is_cancelled_for_the_others_and_the_build_has_timed_out() -> None:
    """Workflow syntax, timeout-minutes: GitHub cancels a job that takes longer."""
    life = driven("a: {}\nb: {needs: a, if: failure()}\nc: {needs: a, if: needs.a.result == 'cancelled' && always()}")
    run(life, "a", Outcome.TIMED_OUT)
    assert life.jobs["b"].outcome == Outcome.SKIPPED
    run(life, "c")
    assert (life.state, life.outcome) == (State.STOPPED, Outcome.TIMED_OUT)


@pytest.mark.parametrize(
    ("combinations", "expected"),
    [
        ((Outcome.SUCCESS, Outcome.TIMED_OUT), Outcome.TIMED_OUT),
        ((Outcome.FAILED, Outcome.TIMED_OUT), Outcome.TIMED_OUT),
        ((Outcome.TIMED_OUT, Outcome.ERRORED), Outcome.ERRORED),
    ],
)
def test_a_build_with_a_combination_whose_time_was_up(combinations: tuple[Outcome, Outcome], expected: Outcome) -> None:
    life = driven("a: {strategy: {fail-fast: false, matrix: {x: [1, 2]}}}")
    for id, outcome in zip(("a.1", "a.2"), combinations, strict=True):
        run(life, id, outcome)
    assert life.outcome == expected


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
