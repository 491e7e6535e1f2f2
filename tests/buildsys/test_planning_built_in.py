"""Jobs that need what is not built in: they fail when they are decided, the others run."""

from __future__ import annotations

import pytest
from planning_cases import Build, plan_of, why

from buildsys.core.planned import PlannedJob

SETUP = "steps: [{uses: actions/checkout@v4}, {uses: actions/setup-python@v5}, {run: make}]"

LACKING = {
    "an action": (SETUP, "actions/setup-python@v5 is not built in; do its work in a 'run' step"),
    "an action in a folder of a repository": (
        "steps: [{uses: actions/cache/save@v4}]",
        "actions/cache/save@v4 is not built in",
    ),
    "an image as a step": ("steps: [{uses: 'docker://alpine:3'}]", "run the image as the job's 'container'"),
    "a step that would be skipped": ("steps: [{uses: a/b@v1, if: false}, {run: make}]", "a/b@v1 is not built in"),
    "a step that may fail": ("steps: [{uses: a/b@v1, continue-on-error: true}]", "a/b@v1 is not built in"),
    "a shell": ("steps: [{run: dir, shell: cmd}]", "the shell cmd is not built in; use sh, bash, python, node, zx or"),
    "the job's default shell": (
        "defaults: {run: {shell: pwsh}}, steps: [{run: dir}]",
        "the shell pwsh is not built in",
    ),
    "a group of runners": ("runs-on: {group: g}", "runs-on: groups of runners are not built in: write the labels"),
    "a workflow": ("uses: o/r/.github/workflows/b.yml@v1", "b.yml@v1 is not built in; copy that workflow to"),
    "the first of several": ("steps: [{run: x, shell: cmd}, {uses: a/b@v1}]", "the shell cmd is not built in"),
}


@pytest.mark.parametrize(("job", "reason"), LACKING.values(), ids=LACKING)
def test_a_job_fails_when_it_is_decided(job: str, reason: str) -> None:
    assert reason in why(f"a: {{{job}}}")


def test_a_default_shell_is_no_matter_where_each_step_has_its_own() -> None:
    build = Build.of(
        "a: {defaults: {run: {shell: pwsh}}, steps: [{run: dir, shell: bash}, {run: x, shell: 'pwsh {0}'}]}"
    )
    assert build.states == {"a": "runs"}


def test_a_group_beside_labels_is_no_matter() -> None:
    build = Build.of("a: {runs-on: {group: g, labels: [linux, x]}}\nb: {runs-on: {group: g}}")
    assert build.states == {"a": "runs", "b": "failure"}
    planned = build.course.planned("a")
    assert isinstance(planned, PlannedJob)
    assert planned.runs_on == ("linux", "x")


def test_the_default_shell_of_the_workflow_counts_as_well() -> None:
    assert "the shell cmd" in why("{defaults: {run: {shell: cmd}}, jobs: {a: {steps: [{run: dir}]}}}")


def test_the_other_jobs_run_and_those_that_need_it_are_skipped() -> None:
    jobs = f"a: {{{SETUP}}}\nb: {{}}\nc: {{needs: a}}\nd: {{needs: a, if: always()}}\ne: {{needs: a, if: failure()}}"
    assert Build.of(jobs).states == {"a": "failure", "b": "runs", "c": "skipped", "d": "runs", "e": "runs"}


def test_a_job_that_does_not_run_needs_nothing() -> None:
    build = Build.of(
        f"a: {{if: github.ref_name == 'x', {SETUP}}}\nb: {{if: false, uses: o/r/.github/workflows/b.yml@v1}}"
    )
    assert build.states == {"a": "skipped", "b": "skipped"}


def test_each_combination_of_a_matrix_fails_by_its_own_name_and_is_known() -> None:
    build = Build.of(f"a: {{strategy: {{max-parallel: 1, matrix: {{v: [1, 2]}}}}, {SETUP}}}\nb: {{needs: a}}")
    assert build.states == {"a.1": "failure", "a.2": "failure", "b": "skipped"}
    assert (build.names["a.1"], build.names["a.2"]) == ("a (1)", "a (2)")
    planned = build.course.planned("a.2")
    assert isinstance(planned, PlannedJob)
    assert planned.contexts["matrix"] == {"v": 2.0}


def test_where_a_job_may_fail_the_next_runs() -> None:
    build = Build.of(f"a: {{continue-on-error: true, {SETUP}}}\nb: {{needs: a}}").end("b")
    assert build.states == {"a": "failure", "b": "success"}
    assert build.progress.result == "success"


def test_a_called_workflow_fails_by_the_job_that_lacks_something() -> None:
    called = {"in.yml": f"{{on: workflow_call, jobs: {{x: {{{SETUP}}}, y: {{}}}}}}"}
    build = Build.of("a: {uses: ./.github/workflows/in.yml}\nb: {needs: a}", called=called).end("a.y")
    assert build.states == {"a.x": "failure", "a.y": "success", "b": "skipped"}


def test_secrets_that_go_to_a_workflow_elsewhere_are_nobodys() -> None:
    plan = plan_of("a: {uses: o/r/.github/workflows/b.yml@v1, secrets: {key: '${{ secrets.KEY }}'}}\nb: {}")
    assert (plan.secrets.required, plan.called) == (frozenset(), {})
