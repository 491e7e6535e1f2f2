"""What steps are to each other: conditions, environments, outputs, failures. Each test names its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from steps_bench import StepsBench, job, steps

from buildsys.core.build import Outcome

SUCCESS, FAILED, SKIPPED = Outcome.SUCCESS, Outcome.FAILED, Outcome.SKIPPED

SAYS = [
    (
        "a variable of GITHUB_ENV is there for the steps behind, not for its own",
        ('echo "A=1" >> "$GITHUB_ENV"; echo "${A-none}"', 'echo "$A"'),
        ("none\n", "1\n"),
    ),
    (
        "the env context has variables of GITHUB_ENV",
        ('echo "A=it is" >> "$GITHUB_ENV"', 'echo "${{ env.A }}"'),
        ("", "it is\n"),
    ),
    (
        "a multiline variable arrives as it is",
        ('printf "J<<EOF\\none\\n  two\\nEOF\\n" >> "$GITHUB_ENV"', 'printf "%s|" "$J"'),
        ("", "one\n  two|"),
    ),
    (
        "an output is read by its step's id",
        ('echo "color=green" >> "$GITHUB_OUTPUT"', 'echo "${{ steps.s1.outputs.color }}"'),
        ("", "green\n"),
    ),
    (
        "an output that was not set is empty",
        ("true", 'echo "[${{ steps.s1.outputs.color }}]"'),
        ("", "[]\n"),
    ),
    (
        "outputs are there, too, when the step fails",
        ('echo "a=1" >> "$GITHUB_OUTPUT"; exit 1', 'echo "${{ steps.s1.outputs.a }} ${{ steps.s1.outcome }}"'),
        ("", "1 failure\n"),
    ),
    (
        "GITHUB_PATH goes before PATH for the steps behind",
        (
            'mkdir b; printf "#!/bin/sh\\necho mine\\n" > b/ls; chmod +x b/ls; echo "$PWD/b" >> "$GITHUB_PATH"; ls',
            "ls; case $PATH in *:/usr/bin*) echo kept;; esac",
        ),
        ("b\n", "mine\nkept\n"),
    ),
    (
        "each step has files of its own",
        ('echo "a=1" >> "$GITHUB_OUTPUT"', 'cat "$GITHUB_OUTPUT"; echo "[${{ steps.s2.outputs.a }}]"'),
        ("", "[]\n"),
    ),
    (
        "a default variable keeps its value",
        ('echo "GITHUB_SHA=x" >> "$GITHUB_ENV"', 'echo "$GITHUB_SHA" | cut -c1-3'),
        ("buildsys: warning: GITHUB_ENV: default variables cannot be changed: GITHUB_SHA\n", "fff\n"),
    ),
    (
        "CI is always true, and may be overwritten",
        ('echo "$CI"; echo CI=false >> "$GITHUB_ENV"', 'echo "$CI"'),
        ("true\n", "false\n"),
    ),
    (
        "the workspace is the first directory",
        ('test "$PWD" = "$GITHUB_WORKSPACE" && echo yes',),
        ("yes\n",),
    ),
    (
        "runner: the operating system is Linux",
        ('echo "$RUNNER_OS ${{ runner.os }} $RUNNER_ENVIRONMENT $RUNNER_NAME"',),
        ("Linux Linux self-hosted tester\n",),
    ),
    (
        "the runner's temporary folder is there and is the job's own",
        ('echo x > "$RUNNER_TEMP/x"; cat "${{ runner.temp }}/x"', 'cat "$RUNNER_TEMP/x"'),
        ("x\n", "x\n"),
    ),
    (
        "without a shell a script is `bash -e`: it ends at the first failure",
        ('echo "$-" | tr -cd e; false; echo not reached', 'echo "${BASH_VERSION:+bash}"; false | true; echo reached'),
        ("e", "bash\nreached\n"),
    ),
    (
        "::set-output:: is an output, with a warning",
        (
            'echo "::set-output name=a::1%0A2"; echo "::SET-OUTPUT name=b::old"; echo b=new >> "$GITHUB_OUTPUT"',
            'echo "[${{ steps.s1.outputs.a }}|${{ steps.s1.outputs.b }}]${{ steps.s1.outcome }}"',
        ),
        (
            "::set-output name=a::1%0A2\n::SET-OUTPUT name=b::old\n"
            "buildsys: warning: the command ::set-output:: is deprecated; write to the file GITHUB_OUTPUT\n",
            "[1\n2|new]success\n",
        ),
    ),
    (
        "::set-env:: is disabled, and fails the step",
        ('echo "::set-env name=B::2"', 'echo "[$B]${{ steps.s1.outcome }}"'),
        (
            "::set-env name=B::2\nbuildsys: error: the command ::set-env:: is disabled; write to the file GITHUB_ENV\n",
            "[]failure\n",
        ),
    ),
    (
        "no command is heard between ::stop-commands:: and its token",
        ('echo "::stop-commands::t"; echo "::set-output name=a::1"; echo ::t::', 'echo "[${{ steps.s1.outputs.a }}]"'),
        ("::stop-commands::t\n::set-output name=a::1\n::t::\n", "[]\n"),
    ),
    (
        "github.action is the step's id",
        ('echo "${{ github.action }} $GITHUB_ACTION"',),
        ("s1 s1\n",),
    ),
    (
        "job.status is how the job goes so far",
        ('echo "${{ job.status }}"; exit 1', 'echo "${{ job.status }}"'),
        ("success\n", "failure\n"),
    ),
    (
        "secrets are read by name; one that is not there is empty",
        ('test "${{ secrets.TOKEN }}" = hunter2hunter2 && echo "[${{ secrets.OTHER }}]"',),
        ("[]\n",),
    ),
    (
        "needs, vars and matrix are those of the job",
        ('echo "${{ needs.before.outputs.tag }} ${{ vars.REGION }} ${{ matrix.os }}"',),
        ("v1 north linux\n",),
    ),
    (
        "an expression's value is put into the script as text",
        ("echo \"${{ format('{0} {1}', 1.5, true) }} ${{ null }}.\"",),
        ("1.5 true .\n",),
    ),
    (
        "a name that is not known fails the step with a line that says where",
        ('echo "${{ fromJSON(steps.s9.outputs.x) }}"', "echo next"),
        ("buildsys: error: run: ", "next\n"),
    ),
    (
        "a wrong line in GITHUB_OUTPUT fails the step",
        ('echo "printed"; echo "no assignment" >> "$GITHUB_OUTPUT"', 'echo "${{ steps.s1.outcome }}"'),
        ("printed\nbuildsys: error: GITHUB_OUTPUT: a line is neither", "failure\n"),
    ),
    (
        "what the runner says stands in lines of its own",
        ('printf "printed"; echo "no assignment" >> "$GITHUB_OUTPUT"',),
        ("printed\nbuildsys: error: GITHUB_OUTPUT: a line is neither",),
    ),
]


@pytest.mark.parametrize(("sentence", "scripts", "logs"), SAYS, ids=[case[0] for case in SAYS])
async def test_a_step_says(tmp_path: Path, sentence: str, scripts: tuple[str, ...], logs: tuple[str, ...]) -> None:
    async with StepsBench(tmp_path, steps(*scripts)) as bench:
        await bench.steps.run()
        for number, log in enumerate(logs, 1):
            assert bench.log(number).startswith(log)
            assert log.startswith("buildsys:") or "buildsys:" in log or bench.log(number) == log


CONDITIONS = [
    ("without an if a step runs when all before it succeeded", "true", "", True),
    ("without an if a step does not run after a failure", "false", "", False),
    ("failure() runs after a failure", "false", "failure()", True),
    ("failure() does not run without one", "true", "failure()", False),
    ("always() runs after a failure", "false", "always()", True),
    ("success() || failure() runs after either", "false", "success() || failure()", True),
    ("cancelled() does not run where nobody canceled", "false", "cancelled()", False),
    ("!cancelled() runs after a failure", "false", "${{ !cancelled() }}", True),
    ("an if without a status function means success() as well", "false", "true", False),
    ("an if may be false", "true", "github.ref == 'refs/heads/other'", False),
    ("an if may be true", "true", "github.ref == 'refs/heads/main'", True),
    ("failure() && a step's outcome", "false", "failure() && steps.first.outcome == 'failure'", True),
    ("a step's outcome, where it succeeded", "true", "failure() && steps.first.outcome == 'failure'", False),
    ("an if reads the step's own env", "true", "env.OWN == 'yes'", True),
    ("an if reads the job's env", "true", "env.JOB == 'yes'", True),
    ("secrets are read through env", "true", "env.SECRET != ''", True),
]


@pytest.mark.parametrize(("sentence", "first", "condition", "runs"), CONDITIONS, ids=[case[0] for case in CONDITIONS])
async def test_a_condition(tmp_path: Path, sentence: str, first: str, condition: str, runs: bool) -> None:
    planned = job(
        f"""\
env:
  JOB: "yes"
  SECRET: ${{{{ secrets.TOKEN }}}}
steps:
  - run: {first}
    id: first
  - run: echo ran
    id: second
    if: ${{{{ {condition.removeprefix("${{").removesuffix("}}") or "success()"} }}}}
    env:
      OWN: "yes"
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() == (first == "false")
        assert bench.outcomes["2"] is (SUCCESS if runs else SKIPPED)
        assert bench.steps._top.results["second"]["conclusion"] == ("success" if runs else "skipped")


async def test_continue_on_error(tmp_path: Path) -> None:
    """The outcome is before continue-on-error is applied, the conclusion after it; the job goes on and passes."""
    planned = job(
        """\
steps:
  - run: exit 3
    id: a
    continue-on-error: true
  - run: echo "${{ steps.a.outcome }} ${{ steps.a.conclusion }} ${{ job.status }}"
  - run: exit 4
    id: b
    continue-on-error: ${{ steps.a.outcome == 'success' }}
  - run: echo not reached
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is True
        assert bench.log(2) == "failure success success\n"
        assert bench.outcomes == {"1": FAILED, "2": SUCCESS, "3": FAILED, "4": SKIPPED}
        assert [bench.ended(n).tolerated for n in (1, 3)] == [True, False]
        assert [bench.ended(n).exit_code for n in (1, 2, 3, 4)] == [3, 0, 4, None]


async def test_environments_the_inner_one_wins(tmp_path: Path) -> None:
    """With several variables of one name the most specific counts; GITHUB_ENV is over the job's, under the step's."""
    planned = job(
        """\
env:
  A: job
  B: job
  C: ${{ format('{0}!', github.ref_name) }}
steps:
  - run: echo "$A $B $C"; echo B=file >> "$GITHUB_ENV"
    env: {A: step}
  - run: echo "$A $B $C"
  - run: echo "$A $B ${{ env.B }}"
    env: {B: own}
""",
    )
    planned = planned.__class__(
        **{
            **{f: getattr(planned, f) for f in planned.__struct_fields__},
            "environments": ({"A": "workflow", "W": "w"}, *planned.environments),
        }
    )
    async with StepsBench(tmp_path, planned) as bench:
        await bench.steps.run()
        assert [bench.log(n) for n in (1, 2, 3)] == ["step job main!\n", "job file main!\n", "job own own\n"]


async def test_defaults_directories_and_shells(tmp_path: Path) -> None:
    """A step's own shell and working-directory win over those of defaults.run."""
    planned = job(
        """\
defaults:
  run:
    shell: sh
    working-directory: deep
steps:
  - run: pwd | grep -o 'deep$'; echo "${BASH_VERSION:-no bash}" | grep -o '^no bash' || true
  - run: pwd | grep -c 'deep$' || true
    working-directory: ${{ github.workspace }}
  - run: pwd
    working-directory: /
  - run: print(6 * 7)
    shell: python
  - run: as it is $HOME
    shell: cat {0}
  - run: false | true
    shell: bash
    continue-on-error: true
  - run: echo no
    shell: no-such-program {0}
""",
    )
    async with StepsBench(tmp_path, planned, {"deep/x": ""}) as bench:
        await bench.steps.run()
        assert bench.log(1).startswith("deep\n")
        assert [bench.log(n) for n in (2, 3, 4, 5)] == ["0\n", "/\n", "42\n", "as it is $HOME\n"]
        assert bench.outcomes["6"] is FAILED
        assert bench.log(7) == "buildsys: error: there is no no-such-program here to run the step\n"
        assert bench.ended(7).exit_code == 127


async def test_names(tmp_path: Path) -> None:
    """A step without a name is called by what it runs; names may hold expressions."""
    planned = job(
        """\
steps:
  - run: |
      echo one
      echo two
  - name: Deploy ${{ matrix.os }}
    run: "true"
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        await bench.steps.run()
        assert [bench.begun(n).name for n in (1, 2)] == ["Run echo one", "Deploy linux"]
        assert bench.begun(1).number == 1


async def test_values_reach_no_shell_but_as_values(tmp_path: Path) -> None:
    planned = job(
        """\
env:
  MESSAGE: ${{ github.event.head_commit.message }}
steps:
  - run: printf %s "$MESSAGE"
    working-directory: ./a'; touch owned; '
  - run: printf %s "$MESSAGE" >> "$GITHUB_STEP_SUMMARY"; printf %s "$MESSAGE"
"""
    )
    async with StepsBench(tmp_path, planned, {"a'; touch owned; '/x": ""}) as bench:
        await bench.steps.run()
        assert bench.log(1) == bench.log(2) == "a $(touch owned) `touch owned`"
        assert bench.ended(2).summary == "a $(touch owned) `touch owned`"
        assert not list(bench.workspace.glob("**/owned"))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ('run: x\n    env: {A: "${{ fromJSON(\'\\"\\\\u0000\\"\') }}"}', "the environment variable A contains a NUL"),
        ("run: x\n    timeout-minutes: ${{ fromJSON('-1') }}", "timeout-minutes: the value is no number of minutes"),
        ("run: x\n    env: ${{ fromJSON('[1]') }}", "env: the value is no mapping of variables"),
        ("run: x\n    working-directory: ${{ fromJSON('\"\\u0000\"') }}", "the working directory contains a NUL"),
        ("run: x\n    name: ${{ fromJSON('{') }}", "name: "),
        ("run: x\n    if: fromJSON(github.ref)", "if: "),
    ],
)
async def test_what_cannot_be_evaluated_fails_the_step(tmp_path: Path, step: str, message: str) -> None:
    planned = job(f"steps:\n  - {step}\n  - run: echo next\n    if: failure()\n")
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is True
        assert bench.outcomes == {"1": FAILED, "2": SUCCESS}
        assert bench.log(1).startswith(f"buildsys: error: {message}")
        assert bench.log(1).count("\n") == 1


async def test_names_that_no_shell_can_export(tmp_path: Path) -> None:
    planned = job("steps:\n  - run: echo '${{ env.a-b }}'; env | grep -c ^a-b= || true\n    env: {a-b: here}\n")
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is False
        warning = "buildsys: warning: no shell can export 'a-b': it is in the env context only\n"
        assert bench.log(1) == f"here\n0\n{warning}"


async def test_job_outputs(tmp_path: Path) -> None:
    """A job's outputs are evaluated on the runner at its end, and are texts."""
    planned = job(
        """\
outputs:
  tag: ${{ steps.a.outputs.tag }}-${{ github.ref_name }}
  none: ${{ steps.a.outputs.nothing }}
steps:
  - run: echo tag=v1 >> "$GITHUB_OUTPUT"
    id: a
  - run: exit 1
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is True
        assert bench.steps.outputs() == {"tag": "v1-main", "none": ""}
