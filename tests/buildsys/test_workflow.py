"""What a right workflow file is decoded to."""

from __future__ import annotations

import pytest

from buildsys.core.plan import Condition, JobPlan, StepPlan
from buildsys.core.workflow import Workflow, decode

ONE_JOB = "on: push\njobs:\n  a:\n    runs-on: linux\n"


def job(text: str, *, workflow: str = "on: push") -> JobPlan:
    """The only job of a workflow; `text` stands in its mapping, after `runs-on` if it does not say that itself."""
    runs_on = "" if "runs-on" in text else "\n    runs-on: linux"
    steps = "" if "steps:" in text else "\n    steps: [{run: 'true'}]"
    indented = "".join(f"\n    {line}" for line in text.splitlines())
    return decode(f"{workflow}\njobs:\n  a:{runs_on}{indented}{steps}\n", file="ci.yml").jobs[0]


def step(text: str) -> StepPlan:
    """The only step of a job; `text` is in flow style, without the braces."""
    return job(f"steps:\n  - {{{text}}}").steps[0]


def test_the_whole_of_it() -> None:
    text = """
name: CI
run-name: of no consequence
on: {push: {branches: [main]}, workflow_dispatch: }
permissions: {contents: read}
env: {A: workflow, B: workflow, C: workflow}
jobs:
  package:
    needs: test
    runs-on: [self-hosted, linux]
    container: {image: "alpine:3", env: {B: container, C: container}}
    env: {C: job}
    timeout-minutes: 1.5
    steps:
      - uses: actions/checkout@v4
      - {id: one, name: Pack, run: make, env: {D: step}, working-directory: src, shell: bash, if: always()}
      - run: |

          make check
          make install
        continue-on-error: true
  test:
    name: All tests
    runs-on: ubuntu-latest
    steps: [run: make test]
"""
    workflow = decode(text, file="ci.yml")
    assert workflow.name == "CI"
    assert workflow.on.names == ("push", "workflow_dispatch")
    env = {"A": "workflow", "B": "workflow", "C": "workflow"}
    assert workflow.jobs == (
        JobPlan(
            id="test",
            name="All tests",
            steps=(StepPlan(number=1, name="Run make test", run="make test"),),
            runs_on=("ubuntu-latest",),
            env=env,
        ),
        JobPlan(
            id="package",
            name="package",
            needs=("test",),
            runs_on=("self-hosted", "linux"),
            image="alpine:3",
            env=env | {"B": "container", "C": "job"},
            timeout=90.0,
            steps=(
                StepPlan(
                    number=1,
                    name="Pack",
                    run="make",
                    shell="bash",
                    env={"D": "step"},
                    working_directory="src",
                    condition=Condition.ALWAYS,
                ),
                StepPlan(number=2, name="Run make check", run="\nmake check\nmake install\n", continue_on_error=True),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("on", "names"),
    [
        ("push", ("push",)),
        ("[push, pull_request]", ("push", "pull_request")),
        ("{push: , schedule: [{cron: '0 0 * * *'}]}", ("push", "schedule")),
        ("workflow_dispatch", ("workflow_dispatch",)),
        ("\n  push:\n  release:\n    types: [published]", ("push", "release")),
    ],
)
def test_events(on: str, names: tuple[str, ...]) -> None:
    workflow = decode(f"on: {on}\njobs: {{a: {{runs-on: x, steps: [run: x]}}}}", file="ci.yml")
    assert workflow.on.names == names
    assert (workflow.on.push is not None) == ("push" in names)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.10", "1.10"),
        ("010", "010"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", "true"),
        ("0x1F", "0x1F"),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("''", ""),
        ("", ""),
        ("~", ""),
        ("'~'", "~"),
        ("!!str 5", "5"),
        ('"a\\nb"', "a\nb"),
        ("$(reboot); `x` '\\", "$(reboot); `x` '\\"),
        ("ünï", "ünï"),
    ],
)
def test_a_variable_is_as_it_is_written(value: str, text: str) -> None:
    assert job(f"env:\n  V: {value}").env == {"V": text}


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("success()", Condition.SUCCESS),
        ("failure()", Condition.FAILURE),
        ("always()", Condition.ALWAYS),
        ("'${{ always() }}'", Condition.ALWAYS),
        ("'${{failure()}}'", Condition.FAILURE),
        ("' always ( ) '", Condition.ALWAYS),
    ],
)
def test_conditions(text: str, condition: Condition) -> None:
    assert step(f"run: x, if: {text}").condition is condition


@pytest.mark.parametrize("shell", ["sh", "bash", "python", "perl {0}", "bash -x {0}"])
def test_shells(shell: str) -> None:
    assert step(f"run: x, shell: '{shell}'").shell == shell


@pytest.mark.parametrize("directory", [".", "src", "./a/b", "a/../b", "..a", "a b"])
def test_directories(directory: str) -> None:
    assert step(f"run: x, working-directory: '{directory}'").working_directory == directory


@pytest.mark.parametrize(
    ("container", "image"), [("alpine", "alpine"), ("{image: 'r:5000/a/b@sha256:00'}", "r:5000/a/b@sha256:00")]
)
def test_containers(container: str, image: str) -> None:
    assert job(f"container: {container}").image == image


def test_anchors_stand_for_what_they_name() -> None:
    jobs = "  b: {runs-on: linux, env: *e, steps: *s}\n"
    text = ONE_JOB + "    env: &e {A: 1}\n    steps: &s [run: x]\n" + jobs
    first, second = decode(text, file="ci.yml").jobs
    assert (first.env, first.steps) == (second.env, second.steps)


def test_a_job_of_a_checkout_alone_has_nothing_to_run() -> None:
    assert job("steps: [{uses: actions/checkout@v4, with: {clean: true}}]").steps == ()


def test_a_file_without_a_name_is_named_by_its_path() -> None:
    assert decode(ONE_JOB + "    steps: [run: x]", file=".buildsys.yml").name == ".buildsys.yml"


@pytest.mark.parametrize("encode", [str, str.encode, lambda text: b"\xef\xbb\xbf" + text.encode()])
def test_bytes_and_text_are_the_same(encode) -> None:
    assert isinstance(decode(encode(ONE_JOB + "    steps: [run: ß]"), file="x"), Workflow)


def test_jobs_stand_after_those_they_need_and_else_in_the_files_order() -> None:
    needs = {"d": "[c, b]", "a": "[]", "b": "[]", "e": "d", "c": "a"}
    jobs = "".join(f"  {id}: {{runs-on: x, needs: {wanted}, steps: [run: x]}}\n" for id, wanted in needs.items())
    ids = [job.id for job in decode(f"on: push\njobs:\n{jobs}", file="ci.yml").jobs]
    assert ids == ["a", "b", "c", "d", "e"]
