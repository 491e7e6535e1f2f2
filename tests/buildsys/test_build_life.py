"""A build's life without any I/O: what each event changes, and that repeated or late ones change nothing."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
import zstandard
from life_bench import NOW, apply, claimed, life_of, run, started

from buildsys.core.assignment import ContainerStarted, JobStopped, LogBatch, StepStarted, StepStopped
from buildsys.core.build import Outcome, State
from buildsys.objects.build_life import BuildLife


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


def test_outputs_that_are_withheld_are_a_step_of_their_own_with_a_warning_for_each() -> None:
    """Definitions of outputs: those that may hold secrets are not sent, and a warning says which."""
    life = started(a=())
    job = claimed(life, "a")
    for item in (StepStarted(step=1, at=NOW), StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=NOW)):
        apply(life, job, item)
    life.records.clear()
    end = JobStopped(outcome=Outcome.SUCCESS, at=NOW, outputs={"open": "1"}, withheld=("token", "key"))
    apply(life, job, end)
    apply(life, job, end)
    assert (job.outputs, job.outcome, life.outcome) == ({"open": "1"}, Outcome.SUCCESS, Outcome.SUCCESS)
    step = job.steps[1001]
    assert (step.name, step.outcome, step.parent) == ("Withheld outputs: token, key", Outcome.SUCCESS, None)
    printed = [record for record in life.records if record.step == 1001]
    assert [record.kind for record in printed] == ["step_started", "lines", "step_stopped"]
    assert zstandard.decompress(printed[1].frame or b"").decode().splitlines() == [
        "output 'token' is withheld, since it may hold a secret",
        "output 'key' is withheld, since it may hold a secret",
    ]
    assert [(said.line, said.kind, said.level, said.message) for said in printed[1].commands] == [
        (0, "annotation", "warning", "output 'token' is withheld, since it may hold a secret"),
        (1, "annotation", "warning", "output 'key' is withheld, since it may hold a secret"),
    ]


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


def test_a_step_whose_log_was_changed_ends_with_a_gap() -> None:
    life = started(a=())
    job = claimed(life, "a")
    apply(life, job, StepStarted(step=1, at=NOW))
    apply(life, job, StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=NOW, end=0, lost="it was cut"))
    assert gaps(life) == [("a", 1, "it was cut")]


def test_a_step_that_did_not_begin_can_only_be_skipped() -> None:
    life = started(a=())
    job = claimed(life, "a")
    assert not apply(life, job, StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=NOW))
    assert apply(life, job, StepStopped(step=1, outcome=Outcome.SKIPPED, exit_code=None, at=NOW))
    assert job.position.stopped == {1: Outcome.SKIPPED}
    assert (life.records[-1].kind, life.records[-1].data["name"]) == ("step_stopped", job.steps[1].name)


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
