"""Which jobs run: `needs`, `if`, matrices that fail fast or hold back, cancels. Each case names its sentence."""

from __future__ import annotations

import pytest
from planning_cases import Build

from buildsys.core.decisions import Cancel

Case = tuple[str, str, dict[str, str], str | None]
"""Jobs, what happens to them, how they stand then, and the build's result."""

CHAIN = "{a: {}, b: {needs: a}, c: {needs: b}}"
FOUR = "{strategy: {matrix: {n: [1, 2, 3, 4]}}}"

COURSES: dict[str, list[Case]] = {
    "jobs: run at the same time unless they need each other": [
        ("{a: {}, b: {}}", "", {"a": "runs", "b": "runs"}, None),
        ("{a: {}, b: {}}", "b=success a=success", {"a": "success", "b": "success"}, "success"),
    ],
    "needs: jobs that must complete successfully before this one runs": [
        ("{a: {}, b: {needs: a}}", "", {"a": "runs"}, None),
        ("{a: {}, b: {needs: a}}", "a=success", {"a": "success", "b": "runs"}, None),
        ("{a: {}, b: {}, c: {needs: [a, b]}}", "a=success", {"a": "success", "b": "runs"}, None),
        (
            "{a: {}, b: {}, c: {needs: [a, b]}}",
            "a=success b=success",
            {"a": "success", "b": "success", "c": "runs"},
            None,
        ),
        ("{b: {needs: a}, a: {}}", "a=success", {"a": "success", "b": "runs"}, None),
    ],
    "needs: if a job fails or is skipped, all jobs that need it are skipped": [
        ("{a: {}, b: {needs: a}}", "a=failure", {"a": "failure", "b": "skipped"}, "failure"),
        ("{a: {}, b: {needs: a}}", "a=cancelled", {"a": "cancelled", "b": "skipped"}, "cancelled"),
        ("{a: {if: false}, b: {needs: a}}", "", {"a": "skipped", "b": "skipped"}, "skipped"),
        ("{a: {}, b: {}, c: {needs: [a, b]}}", "a=failure", {"a": "failure", "b": "runs"}, None),
    ],
    "needs: in a series, a failure or skip goes on to all jobs down the chain": [
        (CHAIN, "a=failure", {"a": "failure", "b": "skipped", "c": "skipped"}, "failure"),
        ("{a: {if: false}, b: {needs: a}, c: {needs: b}}", "", dict.fromkeys("abc", "skipped"), "skipped"),
        (
            "{a: {if: false}, b: {needs: a, if: always()}, c: {needs: b}}",
            "b=success",
            {"a": "skipped", "b": "success", "c": "skipped"},
            "success",
        ),
        (
            "{a: {}, b: {needs: a, if: always()}, c: {needs: b}}",
            "a=failure b=success",
            {"a": "failure", "b": "success", "c": "skipped"},
            "failure",
        ),
        (
            "{a: {if: false}, b: {needs: a, if: always()}, c: {needs: b, if: needs.b.result == 'success'}}",
            "b=success",
            {"a": "skipped", "b": "success", "c": "skipped"},
            "success",
        ),
        (
            "{a: {if: false}, b: {needs: a, if: always()}, c: {needs: b, if: always() && needs.b.result == 'success'}}",
            "b=success",
            {"a": "skipped", "b": "success", "c": "runs"},
            None,
        ),
    ],
    "needs: a job with always() runs after those it needs, whether they succeeded or not": [
        ("{a: {}, b: {needs: a}, c: {needs: [a, b], if: always()}}", "", {"a": "runs"}, None),
        (
            "{a: {}, b: {needs: a}, c: {needs: [a, b], if: '${{ always() }}'}}",
            "a=failure",
            {"a": "failure", "b": "skipped", "c": "runs"},
            None,
        ),
    ],
    "if: a job whose condition does not hold is skipped": [
        ("{a: {if: github.ref == 'refs/heads/main'}}", "", {"a": "runs"}, None),
        ("{a: {if: github.ref == 'refs/heads/other'}}", "", {"a": "skipped"}, "skipped"),
        ("{a: {if: \"${{ github.event_name == 'push' && github.actor != 'bot' }}\"}}", "", {"a": "runs"}, None),
        ("{a: {if: vars.DEPLOY}}", "", {"a": "skipped"}, "skipped"),
        ("{a: {}, b: {if: false}}", "a=success", {"a": "success", "b": "skipped"}, "success"),
    ],
    "if: is evaluated before the matrix is applied": [
        (f"{{a: {{if: false, {FOUR[1:]}}}", "", {"a": "skipped"}, "skipped"),
        ("{a: {if: false, strategy: {matrix: \"${{ fromJSON('[') }}\"}}}", "", {"a": "skipped"}, "skipped"),
    ],
    "success(): true when all previous jobs have succeeded; it is meant where an if has no status function": [
        ("{a: {}, b: {needs: a, if: success()}}", "a=failure", {"a": "failure", "b": "skipped"}, "failure"),
        ("{a: {}, b: {needs: a, if: success()}}", "a=success", {"a": "success", "b": "runs"}, None),
        ("{a: {}, b: {needs: a, if: true}}", "a=failure", {"a": "failure", "b": "skipped"}, "failure"),
    ],
    "failure(): true when any ancestor job fails": [
        ("{a: {}, b: {needs: a, if: failure()}}", "a=failure", {"a": "failure", "b": "runs"}, None),
        ("{a: {}, b: {needs: a, if: failure()}}", "a=success", {"a": "success", "b": "skipped"}, "success"),
        ("{a: {if: false}, b: {needs: a, if: failure()}}", "", {"a": "skipped", "b": "skipped"}, "skipped"),
        (
            "{a: {}, b: {needs: a}, c: {needs: b, if: failure()}}",
            "a=failure",
            {"a": "failure", "b": "skipped", "c": "runs"},
            None,
        ),
        (
            "{a: {}, b: {needs: a, if: failure() && needs.a.outputs.x == '1'}}",
            "a=failure",
            {"a": "failure", "b": "skipped"},
            "failure",
        ),
    ],
    "cancelled(): true when the workflow was cancelled": [
        ("{a: {}, b: {needs: a, if: cancelled()}}", "a=success", {"a": "success", "b": "skipped"}, "success"),
        (
            "{a: {}, b: {needs: a, if: '!cancelled()'}}",
            "a=failure",
            {"a": "failure", "b": "runs"},
            None,
        ),
        (
            "{a: {if: false}, b: {needs: a, if: '!cancelled()'}}",
            "",
            {"a": "skipped", "b": "runs"},
            None,
        ),
    ],
    "cancellation: running jobs whose if holds go on, others are cancelled": [
        ("{a: {}}", "cancel", {"a": "to be cancelled"}, None),
        ("{a: {if: always()}, b: {}}", "cancel", {"a": "runs", "b": "to be cancelled"}, None),
        ("{a: {if: '!failure()'}}", "cancel", {"a": "runs"}, None),
        ("{a: {}, b: {needs: a}}", "cancel a=cancelled", {"a": "cancelled", "b": "skipped"}, "cancelled"),
        ("{a: {}, b: {needs: a, if: always()}}", "cancel", {"a": "to be cancelled"}, None),
        ("{a: {}, b: {needs: a, if: always()}}", "cancel a=cancelled", {"a": "cancelled", "b": "runs"}, None),
        ("{a: {}, b: {needs: a, if: cancelled()}}", "cancel a=cancelled", {"a": "cancelled", "b": "runs"}, None),
        (
            "{a: {}, b: {needs: a, if: '!cancelled()'}}",
            "cancel a=cancelled",
            {"a": "cancelled", "b": "skipped"},
            "cancelled",
        ),
        ("{a: {}, b: {needs: a}}", "cancel a=success", {"a": "success", "b": "skipped"}, "success"),
    ],
    "continue-on-error: the run passes when this job fails, and jobs that need it find a success": [
        ("{a: {continue-on-error: true}}", "a=failure", {"a": "failure"}, "success"),
        ("{a: {continue-on-error: true}, b: {needs: a}}", "a=failure", {"a": "failure", "b": "runs"}, None),
        (
            "{a: {continue-on-error: true}, b: {needs: a, if: needs.a.result == 'failure' || failure()}}",
            "a=failure",
            {"a": "failure", "b": "skipped"},
            "success",
        ),
        ("{a: {continue-on-error: '${{ vars.NONE == null }}'}}", "a=failure", {"a": "failure"}, "success"),
        ("{a: {continue-on-error: true}}", "a=cancelled", {"a": "cancelled"}, "cancelled"),
    ],
    "fail-fast: by default all jobs of a matrix are cancelled when one fails": [
        (
            f"{{a: {FOUR}}}",
            "a.1=success a.2=failure",
            {"a.1": "success", "a.2": "failure", "a.3": "to be cancelled", "a.4": "to be cancelled"},
            None,
        ),
        (
            "{a: {strategy: {matrix: {n: [1, 2]}}}, b: {}}",
            "a.1=failure",
            {"a.1": "failure", "a.2": "to be cancelled", "b": "runs"},
            None,
        ),
        (
            "{a: {strategy: {matrix: {n: [1, 2]}}}, b: {needs: a, if: always()}}",
            "a.1=failure a.2=cancelled",
            {"a.1": "failure", "a.2": "cancelled", "b": "runs"},
            None,
        ),
        (
            "{a: {strategy: {fail-fast: false, matrix: {n: [1, 2]}}}}",
            "a.1=failure",
            {"a.1": "failure", "a.2": "runs"},
            None,
        ),
        (
            "{a: {strategy: {fail-fast: '${{ github.ref_type == ''tag'' }}', matrix: {n: [1, 2]}}}}",
            "a.1=failure",
            {"a.1": "failure", "a.2": "runs"},
            None,
        ),
    ],
    "fail-fast and continue-on-error: a job that may fail cancels no others": [
        (
            "{a: {continue-on-error: '${{ matrix.n > 1 }}', strategy: {matrix: {n: [1, 2, 3]}}}}",
            "a.2=failure",
            {"a.1": "runs", "a.2": "failure", "a.3": "runs"},
            None,
        ),
        (
            "{a: {continue-on-error: '${{ matrix.n > 1 }}', strategy: {matrix: {n: [1, 2, 3]}}}}",
            "a.1=failure",
            {"a.1": "failure", "a.2": "to be cancelled", "a.3": "to be cancelled"},
            None,
        ),
        (
            "{a: {continue-on-error: '${{ matrix.n > 1 }}', strategy: {matrix: {n: [1, 2]}}}, b: {needs: a}}",
            "a.2=failure a.1=success",
            {"a.1": "success", "a.2": "failure", "b": "runs"},
            None,
        ),
    ],
    "matrix: a job that needs one waits for all of its jobs": [
        (
            "{a: {strategy: {matrix: {n: [1, 2]}}}, b: {needs: a}}",
            "a.1=success",
            {"a.1": "success", "a.2": "runs"},
            None,
        ),
        (
            "{a: {strategy: {matrix: {n: [1, 2]}}}, b: {needs: a}}",
            "a.1=success a.2=success",
            {"a.1": "success", "a.2": "success", "b": "runs"},
            None,
        ),
        (
            "{a: {strategy: {fail-fast: false, matrix: {n: [1, 2]}}}, b: {needs: a}}",
            "a.2=failure a.1=success",
            {"a.1": "success", "a.2": "failure", "b": "skipped"},
            "failure",
        ),
    ],
    "max-parallel: the most jobs of a matrix that run at once": [
        (
            "{a: {strategy: {max-parallel: 2, matrix: {n: [1, 2, 3, 4]}}}}",
            "",
            {"a.1": "runs", "a.2": "runs", "a.3": "held", "a.4": "held"},
            None,
        ),
        (
            "{a: {strategy: {max-parallel: 2, matrix: {n: [1, 2, 3, 4]}}}}",
            "a.2=success",
            {"a.1": "runs", "a.2": "success", "a.3": "runs", "a.4": "held"},
            None,
        ),
        (
            "{a: {strategy: {max-parallel: 1, matrix: {n: [1, 2, 3]}}}}",
            "a.1=failure",
            {"a.1": "failure", "a.2": "to be cancelled", "a.3": "to be cancelled"},
            None,
        ),
        (
            "{a: {strategy: {max-parallel: '${{ fromJSON(vars.NONE || 3) }}', matrix: {n: [1, 2, 3, 4]}}}}",
            "",
            {"a.1": "runs", "a.2": "runs", "a.3": "runs", "a.4": "held"},
            None,
        ),
    ],
}


@pytest.mark.parametrize(
    ("jobs", "script", "states", "result"),
    [
        pytest.param(*case, id=f"{sentence} | {case[0]} | {case[1]}")
        for sentence, cases in COURSES.items()
        for case in cases
    ],
)
def test_course(jobs: str, script: str, states: dict[str, str], result: str | None) -> None:
    build = Build.of(jobs).play(script)
    assert build.states == states
    assert build.progress.result == result


OUTPUTS = "{a: {outputs: {x: '1', y: '2'}, strategy: {fail-fast: false, matrix: {n: [1, 2, 3]}}}, b: {needs: a}}"


def test_needs_has_results_and_outputs_of_direct_dependencies_only() -> None:
    """`needs` context: a property for each job that is a direct dependency."""
    build = Build.of("{a: {outputs: {v: '1'}}, b: {needs: a}, c: {needs: b}}")
    build.end("a", v="7").end("b")
    assert build.jobs["b"].contexts["needs"] == {"a": {"result": "success", "outputs": {"v": "7"}}}
    assert build.jobs["c"].contexts["needs"] == {"b": {"result": "success", "outputs": {}}}


def test_a_failed_job_still_gives_its_outputs() -> None:
    """`needs.<job_id>.result`: success, failure, cancelled or skipped; outputs are whatever was set."""
    build = Build.of("{a: {}, b: {needs: a, if: always()}, s: {if: false}, t: {needs: s, if: always()}}")
    build.end("a", "failure", v="x")
    assert build.jobs["b"].contexts["needs"] == {"a": {"result": "failure", "outputs": {"v": "x"}}}
    assert build.jobs["t"].contexts["needs"] == {"s": {"result": "skipped", "outputs": {}}}


def test_of_a_matrix_the_output_that_ran_last_stays() -> None:
    """`jobs.<job_id>.outputs`: the last matrix job that runs overrides the value."""
    build = Build.of(OUTPUTS).end("a.3", x="three").end("a.1", x="one").end("a.2", x="two")
    assert build.jobs["b"].contexts["needs"]["a"]["outputs"]["x"] == "two"


def test_of_a_matrix_names_made_unique_are_all_there() -> None:
    """`jobs.<job_id>.outputs`, its example of a matrix: each sets its own output, and leaves the others empty."""
    build = Build.of(OUTPUTS)
    build.end("a.2", x="", y="two").end("a.1", x="one", y="").end("a.3", x="", y="", z="")
    assert build.jobs["b"].contexts["needs"]["a"]["outputs"] == {"x": "one", "y": "two", "z": ""}


def test_a_skipped_job_says_why() -> None:
    build = Build.of("{a: {}, b: {needs: a}, c: {needs: [a, b], if: success()}, d: {if: github.actor == 'x'}}")
    build.end("a", "failure")
    assert build.notes == {
        "b": "a is failure",
        "c": "its 'if' does not hold; a is failure, b is skipped",
        "d": "its 'if' does not hold",
    }


def test_a_job_after_an_ancestor_that_failed_says_why_it_is_skipped() -> None:
    build = Build.of("{a: {}, b: {needs: a, if: always()}, c: {needs: b}}").end("a", "failure").end("b")
    assert build.notes == {"c": "a job before those it needs did not succeed"}


def test_what_is_held_says_why() -> None:
    build = Build.of("{a: {strategy: {max-parallel: 1, matrix: {n: [1, 2]}}}}")
    assert build.progress.held == {"a.2": "max-parallel is 1"}


def test_what_is_cancelled_says_why() -> None:
    build = Build.of("{a: {strategy: {matrix: {n: [1, 2]}}}, b: {}}").end("a.2", "failure")
    assert build.progress.decisions == (Cancel(ids=("a.1",), reason="a.2 failed, and its matrix fails fast"),)
    assert build.cancel().progress.decisions == (
        Cancel(ids=("a.1",), reason="the build was cancelled"),
        Cancel(ids=("b",), reason="the build was cancelled"),
    )


def test_a_job_that_cannot_be_planned_fails_by_its_key_and_the_build_goes_on() -> None:
    build = Build.of("{a: {if: \"fromJSON('{')\"}, b: {needs: a}, c: {needs: a, if: failure()}, d: {}}")
    assert build.states == {"a": "failure", "b": "skipped", "c": "runs", "d": "runs"}
    assert build.notes["a"].startswith("if: the text is not JSON")
    assert build.end("c").end("d").progress.result == "failure"


def test_a_failed_plan_is_no_error_to_continue_on() -> None:
    build = Build.of("{a: {continue-on-error: true, timeout-minutes: \"${{ fromJSON('[]') }}\"}, b: {needs: a}}")
    assert build.states == {"a": "failure", "b": "skipped"}
    assert build.progress.result == "failure"


def test_a_failed_if_is_no_error_to_continue_on() -> None:
    build = Build.of("{a: {continue-on-error: true, if: \"fromJSON('[')\"}, b: {needs: a}}")
    assert build.states == {"a": "failure", "b": "skipped"}
    assert build.progress.result == "failure"


def test_what_was_started_counts_after_a_takeover_wherever_it_stands() -> None:
    """A job whose turn comes late finds the build as full as it is, though it stands before those that filled it."""
    matrix = f"strategy: {{matrix: {{n: {list(range(256))}}}}}"
    late = ", ".join(f"{id}: {{needs: second, {matrix}}}" for id in "xyz")
    build = Build.of(f"{{slow: {{}}, big: {{needs: slow, {matrix}}}, first: {{}}, second: {{needs: first}}, {late}}}")
    build.play("first=success second=success slow=success")
    assert build.notes == {"big": "strategy.matrix: with it the build has 1027 jobs; there may be 1000"}


def test_a_planned_job_is_found_again_after_a_takeover() -> None:
    build = Build.of("{a: {strategy: {matrix: {n: [1, 2]}}}, b: {}}")
    again = type(build.course)(build.plan)
    assert again.planned("a.2") is None
    again.advance(build.rows)
    assert again.planned("a.2") == build.jobs["a.2"]
    assert again.planned("b") == build.jobs["b"]
    assert again.planned("a") is None
