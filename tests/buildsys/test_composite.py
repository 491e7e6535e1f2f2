"""Composite actions of the workspace, and `actions/checkout`: each test names its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from steps_bench import StepsBench, job

from buildsys.core.build import Outcome
from buildsys.runner import step_run

SUCCESS, FAILED, SKIPPED = Outcome.SUCCESS, Outcome.FAILED, Outcome.SKIPPED


def action(steps: str, *, head: str = "") -> str:
    indented = "".join(f"    {line}\n" for line in steps.splitlines())
    return f"name: test\ndescription: test\n{head}runs:\n  using: composite\n  steps:\n{indented}"


GREET = action(
    """\
- run: echo "$GREETING ${{ inputs.who-to-greet }}"; echo "word=hi-${{ inputs.who-to-greet }}" >> "$GITHUB_OUTPUT"
  id: say
  shell: bash
- run: |
    test "$GITHUB_ACTION_PATH" = "${{ github.action_path }}" && cat "$GITHUB_ACTION_PATH/text"
  shell: sh
""",
    head="""\
inputs:
  who-to-greet:
    required: true
    default: World
outputs:
  word:
    value: ${{ steps.say.outputs.word }}
""",
)
FILES = {"greet/action.yml": GREET, "greet/text": "from the action\n"}


async def test_an_action_knows_how_it_goes(tmp_path: Path) -> None:
    tell = 'run: echo "${{ github.action_status }} ${{ job.status }}"\n  if: always()\n  shell: sh'
    files = {"a/action.yml": action(f"- {tell}\n- run: exit 1\n  shell: sh\n- {tell}")}
    async with StepsBench(tmp_path, job("steps: [uses: ./a]"), files) as bench:
        assert await bench.steps.run() is True
        assert (bench.log(1001), bench.log(1003)) == ("success success\n", "failure success\n")


async def test_an_action_runs_its_steps_with_its_inputs_and_outputs(tmp_path: Path) -> None:
    planned = job(
        """\
steps:
  - uses: ./greet
    id: greet
    env: {GREETING: Hello}
    with: {Who-To-Greet: "${{ github.ref_name }}"}
  - run: echo "${{ steps.greet.outputs.word }} ${{ steps.say.outputs.word }}."
"""
    )
    async with StepsBench(tmp_path, planned, FILES) as bench:
        assert await bench.steps.run() is False
        assert bench.log(1001) == "Hello main\n"
        assert bench.log(1002) == "from the action\n"
        assert bench.log(2) == "hi-main .\n"
        assert bench.outcomes == {"1.1": SUCCESS, "1.2": SUCCESS, "1": SUCCESS, "2": SUCCESS}
        begun = [(step.number, step.parent, step.name) for step in bench.journal.begun.values()]
        assert begun[0] == (1, None, "Run ./greet")
        assert [step[:2] for step in begun[1:]] == [(1001, 1), (1002, 1), (2, None)]


async def test_defaults_and_inputs_that_are_wrong(tmp_path: Path) -> None:
    """A default is used for an input that is not given; `required` returns no error by itself."""
    files = {
        "a/action.yaml": action(
            '- run: echo "[${{ inputs.a }}] [${{ inputs.b }}] [${{ inputs.C }}]"\n  shell: bash\n',
            head='inputs:\n  a: {required: true}\n  b: {default: "${{ github.ref_name }}"}\n  c: {}\n',
        )
    }
    planned = job("steps:\n  - uses: ./a\n    with: {d: x}\n")
    async with StepsBench(tmp_path, planned, files) as bench:
        assert await bench.steps.run() is False
        assert bench.log(1001) == "[] [main] []\n"
        assert bench.log(1) == (
            "buildsys: warning: the input 'a' is required by the action and was not given\n"
            "buildsys: warning: the action has no input 'd'; it has a, b, c\n"
        )


async def test_conditions_within_an_action(tmp_path: Path) -> None:
    """Within a composite action success() and failure() are about the action's own steps."""
    files = {
        "a/action.yml": action(
            """\
- run: echo one
  shell: sh
- run: exit 1
  shell: sh
  id: bad
- run: echo not reached
  shell: sh
- run: echo "${{ steps.bad.outcome }}"
  shell: sh
  if: failure()
"""
        )
    }
    planned = job(
        """\
steps:
  - run: exit 1
  - uses: ./a
    if: failure()
    continue-on-error: true
  - run: echo not reached
"""
    )
    async with StepsBench(tmp_path, planned, files) as bench:
        assert await bench.steps.run() is True
        assert bench.outcomes == {
            "1": FAILED,
            "2.1": SUCCESS,
            "2.2": FAILED,
            "2.3": SKIPPED,
            "2.4": SUCCESS,
            "2": FAILED,
            "3": SKIPPED,
        }
        assert bench.log(1003) == "failure\n"
        assert bench.ended(2).tolerated
        numbers = [ended.number for ended in bench.journal.ended.values()]
        assert numbers == [1, 1001, 1002, None, 1003, 2, 3]


async def test_continue_on_error_within_an_action(tmp_path: Path) -> None:
    body = "- run: exit 1\n  shell: sh\n  continue-on-error: true\n- run: echo on\n  shell: sh\n"
    planned = job("steps:\n  - uses: ./a\n")
    async with StepsBench(tmp_path, planned, {"a/action.yml": action(body)}) as bench:
        assert await bench.steps.run() is False
        assert bench.log(1002) == "on\n"


async def test_what_an_action_sets_is_there_for_the_job(tmp_path: Path) -> None:
    """Variables and folders that an action sets hold for all steps behind; its own env does not."""
    body = """\
- run: echo "A=set" >> "$GITHUB_ENV"; echo "$PWD/bin" >> "$GITHUB_PATH"
  shell: bash
- run: echo "$A $OUTER $INNER"
  shell: bash
  env: {INNER: inner}
"""
    planned = job(
        """\
steps:
  - uses: ./a
    env: {OUTER: outer}
  - run: echo "$A [$OUTER$INNER]"; case $PATH in */bin:*) echo path;; esac
"""
    )
    async with StepsBench(tmp_path, planned, {"a/action.yml": action(body)}) as bench:
        await bench.steps.run()
        assert bench.log(1002) == "set outer inner\n"
        assert bench.log(2) == "set []\npath\n"


async def test_an_action_sees_no_secrets_and_no_steps_of_others(tmp_path: Path) -> None:
    body = """\
- run: echo "[${{ steps.before.outputs.a }}] [${{ github.ref_name }}] ${{ matrix.os }} ${{ runner.os }}"
  shell: bash
- run: echo "${{ secrets.TOKEN }}"
  shell: bash
"""
    planned = job('steps:\n  - run: echo a=1 >> "$GITHUB_OUTPUT"\n    id: before\n  - uses: ./a\n')
    files = {"a/action.yml": action(body.partition('- run: echo "${{ secrets')[0])}
    async with StepsBench(tmp_path / "1", planned, files) as bench:
        await bench.steps.run()
        assert bench.log(1001) == "[] [main] linux Linux\n"
    async with StepsBench(tmp_path / "2", planned, {"a/action.yml": action(body)}) as bench:
        assert await bench.steps.run() is True
        assert "'secrets' cannot be used" in bench.log(2)


async def test_actions_within_actions(tmp_path: Path) -> None:
    """An action may use another; its path is one of the workspace, and its outputs go up step by step."""
    outer = action(
        '- uses: ./greet\n  id: inner\n  with: {who-to-greet: "${{ inputs.name }}"}\n',
        head='inputs:\n  name: {default: x}\noutputs:\n  up: {value: "${{ steps.inner.outputs.word }}!"}\n',
    )
    planned = job(
        'steps:\n  - uses: ./outer\n    id: o\n    with: {name: Ann}\n  - run: echo "${{ steps.o.outputs.up }}"\n'
    )
    async with StepsBench(tmp_path, planned, {**FILES, "outer/action.yml": outer}) as bench:
        assert await bench.steps.run() is False
        assert bench.log(2) == "hi-Ann!\n"
        parents = {step.number: step.parent for step in bench.journal.begun.values()}
        assert parents == {1: None, 1001: 1, 1002: 1001, 1003: 1001, 2: None}


async def test_actions_are_ten_deep_at_most(tmp_path: Path) -> None:
    files = {f"a{n}/action.yml": action(f"- uses: ./a{n + 1}\n") for n in range(1, 11)}
    files["a10/action.yml"] = action("- run: echo deep\n  shell: sh\n")
    planned = job("steps:\n  - uses: ./a1\n")
    async with StepsBench(tmp_path / "1", planned, files) as bench:
        assert await bench.steps.run() is False
        assert bench.log(1010) == "deep\n"
    async with StepsBench(tmp_path / "2", planned, {"a1/action.yml": action("- uses: ./a1\n")}) as bench:
        assert await bench.steps.run() is True
        assert bench.log(1010) == "buildsys: error: actions are at most 10 deep within one another\n"


async def test_the_steps_within_actions_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_run, "MOST_WITHIN", 5)
    files = {f"a{n}/action.yml": action(f"- uses: ./a{n + 1}\n" * 3) for n in (1, 2)}
    files["a3/action.yml"] = action("- run: 'true'\n  shell: sh\n")
    async with StepsBench(tmp_path, job("steps:\n  - uses: ./a1\n"), files) as bench:
        assert await bench.steps.run() is True
        assert len(bench.journal.begun) <= 7
        assert "at most 5 steps within its actions" in bench.log(1006)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no action.yml and no action.yaml in 'a'"),
        ({"a": "a file"}, "there is no action.yml"),
        ({"a/action.yml": "runs: [\n"}, "a/action.yml:"),
        (
            {"a/action.yml": "name: x\nruns:\n  using: node20\n  main: x.js\n"},
            "a/action.yml: actions of the kind 'node20' are",
        ),
        ({"a/action.yml": "#" * (1 << 20) + "\n"}, "a/action.yml is larger than 1 MiB"),
    ],
)
async def test_actions_that_cannot_be_used(tmp_path: Path, files: dict[str, str], message: str) -> None:
    async with StepsBench(tmp_path, job("steps:\n  - uses: ./a\n"), files) as bench:
        assert await bench.steps.run() is True
        assert message in bench.log(1)
        assert bench.log(1).startswith("buildsys: error: ")


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_an_action_behind_a_link_is_not_read(tmp_path: Path, what: str) -> None:
    """The workspace is the job's: a link in it could lead anywhere on this host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "action.yml").write_text(GREET)
    async with StepsBench(tmp_path, job("steps:\n  - uses: ./a\n")) as bench:
        if what == "folder":
            (bench.workspace / "a").symlink_to(outside)
        else:
            (bench.workspace / "a").mkdir()
            (bench.workspace / "a/action.yml").symlink_to(outside / "action.yml")
        assert await bench.steps.run() is True
        assert "there is no action.yml" in bench.log(1)


async def test_outputs_of_an_action_that_cannot_be_evaluated(tmp_path: Path) -> None:
    bad = action("- run: echo in\n  shell: sh\n", head='outputs:\n  o: {value: "${{ fromJSON(github.ref) }}"}\n')
    async with StepsBench(tmp_path, job("steps:\n  - uses: ./a\n"), {"a/action.yml": bad}) as bench:
        assert await bench.steps.run() is True
        assert bench.outcomes["1"] is FAILED
        assert bench.log(1002).startswith("buildsys: error: the action's outputs: ")


async def test_the_action_is_what_it_was_when_it_began(tmp_path: Path) -> None:
    """A step of the action that removes its file changes nothing; nor does a new life of the runner."""
    body = "- run: rm -r a; echo one\n  shell: sh\n- run: echo two\n  shell: sh\n"
    async with StepsBench(tmp_path, job("steps:\n  - uses: ./a\n"), {"a/action.yml": action(body)}) as bench:
        assert await bench.steps.run() is False
        assert bench.log(1002) == "two\n"


CHECKOUTS = [
    ("{}", None),
    ("{ref: main}", None),
    ("{ref: refs/heads/main}", None),
    ("{ref: '${{ github.sha }}', repository: OCTO/hello}", None),
    ("{token: '${{ secrets.TOKEN }}', persist-credentials: false, clean: true}", None),
    ("{submodules: false, lfs: false}", None),
    ("{ref: other}", "there is no repository here to fetch it from"),
    ("{ref: '-x'}", "there is no repository here"),
    ("{repository: octo/other}", "another repository is not built in: 'octo/other'"),
    ("{submodules: recursive}", "submodules of actions/checkout is not built in"),
    ("{lfs: true}", "lfs of actions/checkout is not built in"),
    ("{persist-credentials: true}", "persist-credentials of actions/checkout is not built in: no credential is left"),
    ("{ssh-key: x}", "ssh-key of actions/checkout is not built in"),
    ("{fetch-depth: many}", "fetch-depth of actions/checkout is a number of commits, 0 for all: 'many'"),
    ("{ref: other, clean: maybe}", "clean of actions/checkout is true or false: 'maybe'"),
    ("{path: ../out}", "outside the workspace"),
    ("{path: /tmp}", "outside the workspace"),
]


@pytest.mark.parametrize(("given", "message"), CHECKOUTS)
async def test_checkout(tmp_path: Path, given: str, message: str | None) -> None:
    planned = job(
        f"steps:\n  - uses: actions/checkout@v4\n    id: c\n    with: {given}\n"
        "  - run: echo ${{ steps.c.outputs.commit }}\n"
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is (message is not None)
        if message is None:
            assert bench.log(1).splitlines()[0] == f"The commit {'f' * 40} is in the workspace already"
            assert bench.log(2) == f"{'f' * 40}\n"
        else:
            assert message in bench.log(1)


async def test_checkout_says_what_has_no_effect(tmp_path: Path) -> None:
    planned = job("steps:\n  - uses: actions/checkout@v4\n    with: {token: x, sparse-checkout: src, filter: ''}\n")
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is False
        assert bench.log(1).splitlines()[1:] == [
            "token has no effect: the project's own credential fetches the repository",
            "sparse-checkout has no effect: all files are there",
        ]


async def test_checkout_into_a_path_of_the_repository(tmp_path: Path) -> None:
    """Nothing else is there then, and nothing of the commit is missing."""
    planned = job("steps: [{uses: actions/checkout@v4, with: {path: sub}}, {run: find sub -type f | sort}]")
    async with StepsBench(tmp_path, planned, {"README": "read\n", "sub/deep": "deep\n"}) as bench:
        assert await bench.steps.run() is False, bench.log(1)
        assert bench.log(2) == "sub/README\nsub/sub/deep\n"


async def test_checkout_into_a_path(tmp_path: Path) -> None:
    """`path` is where the repository is put, relative to the workspace."""
    planned = job(
        """\
steps:
  - uses: actions/checkout@v4
    with: {path: "my code/x'y"}
  - run: cat README .hidden sub/deep; ls -A .. | sort | tr '\\n' ' '
    working-directory: my code/x'y
"""
    )
    files = {"README": "read\n", ".hidden": "hidden\n", "sub/deep": "deep\n"}
    async with StepsBench(tmp_path, planned, files) as bench:
        assert await bench.steps.run() is False, bench.log(1)
        assert bench.log(2) == "read\nhidden\ndeep\nx'y "
