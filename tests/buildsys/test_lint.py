"""`buildsys lint` as people run it, in a repository's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from buildsys.cli import main
from buildsys.lint import lint, workflows

GOOD = "on: push\njobs: {a: {runs-on: x, steps: [run: make]}}\n"
WARNED = "on: push\njobs: {a: {runs-on: x, steps: [run: 'echo ${{ github.reff }}']}}\n"
WRONG = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - rn: make\n"
GREET = (
    "name: Greet\ninputs: {who: {required: true}, how: {default: x}}\n"
    "runs:\n  using: composite\n  steps: [{run: 'echo ${{ inputs.who }}', shell: sh}]\n"
)
NODE = "name: Node\nruns: {using: node20, main: index.js}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner(env={"NO_COLOR": None}).invoke(main, ["lint", *arguments], input=given)


def using(with_: str, uses: str = "./actions/greet") -> str:
    return f"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: {uses}\n        with: {with_}\n"


def found(folder: Path) -> list[tuple[str, str]]:
    """What is found in the folder's workflows and what they use: places and messages."""
    return [
        (f"{finding.file}:{finding.line}:{finding.column}", finding.message)
        for finding in lint(workflows(folder)).findings
    ]


def test_an_error_is_shown_with_its_line_and_a_caret(repository: Path) -> None:
    write(repository, {".github/workflows/ci.yml": WRONG})
    result = run()
    assert result.exit_code == 1
    assert result.stdout == (
        ".github/workflows/ci.yml:6:9: error: jobs.a.steps[0]: missing 'run' or 'uses' [syntax]\n"
        "     6 |       - rn: make\n"
        "       |         ^\n"
        ".github/workflows/ci.yml:6:9: error: jobs.a.steps[0].rn: unknown key; did you mean 'run'? [syntax]\n"
        "     6 |       - rn: make\n"
        "       |         ^\n"
    )
    assert result.stderr == "1 file: 2 errors, no warnings\n"


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [(GOOD, [], 0), (GOOD, ["--strict"], 0), (WARNED, [], 0), (WARNED, ["--strict"], 1), (WRONG, [], 1)],
    ids=["good", "good strictly", "warned", "warned strictly", "wrong"],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_the_exit_code(repository: Path, text: str, arguments: list[str], code: int, form: list[str]) -> None:
    write(repository, {".github/workflows/ci.yml": text})
    assert run(*arguments, *form).exit_code == code


def test_json_is_one_line_with_all_of_it(repository: Path) -> None:
    write(repository, {".github/workflows/a.yml": GOOD, ".github/workflows/b.yaml": WARNED})
    (line,) = run("--json").stdout.splitlines()
    assert json.loads(line) == {
        "files": [".github/workflows/a.yml", ".github/workflows/b.yaml"],
        "findings": [
            {
                "file": ".github/workflows/b.yaml",
                "line": 2,
                "column": 54,
                "path": "jobs.a.steps[0].run",
                "message": "'github' has no property 'reff'; did you mean 'ref'?",
                "rule": "type",
                "severity": "warning",
            }
        ],
    }


@pytest.mark.parametrize("arguments", [["missing.yml"], ["."], [".github/workflows"], ["--nothing"], []])
def test_a_wrong_use(repository: Path, arguments: list[str]) -> None:
    (repository / ".github/workflows").mkdir(parents=True)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


def test_the_files_of_a_repository(repository: Path) -> None:
    names = [".buildsys.yml", ".buildsys/b.yml", ".github/workflows/c.yml", ".github/workflows/d.yaml"]
    write(repository, dict.fromkeys((*names, "e.yml", ".github/f.yml", ".github/workflows/g.json"), GOOD))
    assert json.loads(run("--json").stdout)["files"] == names


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("deep", [".buildsys.yml", ".github/workflows/c.yml"]),
        ("deep/.github/workflows", [".github/workflows/c.yml"]),
        ("deep/../deep/.github/workflows/", [".github/workflows/c.yml"]),
    ],
)
def test_the_files_of_a_folder(repository: Path, folder: str, names: list[str]) -> None:
    write(repository, dict.fromkeys(("a.yml", "deep/.buildsys.yml", "deep/.github/workflows/c.yml"), GOOD))
    shown = json.loads(run(folder, "--json").stdout)["files"]
    assert [os.path.relpath(name, "deep") for name in shown] == names


def test_a_workflow_on_stdin(repository: Path) -> None:
    write(repository, {"actions/greet/action.yml": GREET})
    shown = run("-", given=WRONG)
    assert (shown.exit_code, shown.stdout.partition(" ")[0]) == (1, "<stdin>:6:9:")
    answer = json.loads(run("-", "--json", given=using("{how: y}")).stdout)
    assert answer["files"] == ["<stdin>", "actions/greet/action.yml"]
    assert ["who" in finding["message"] for finding in answer["findings"]] == [True]


def test_only_the_files_that_are_named(repository: Path) -> None:
    write(repository, {".github/workflows/a.yml": WRONG, "other.yml": GOOD})
    assert json.loads(run("other.yml", "other.yml", "--json").stdout) == {"files": ["other.yml"], "findings": []}


def test_an_action_of_a_kind_that_is_not_built_in_is_warned_of(repository: Path) -> None:
    write(repository, {".github/workflows/ci.yml": using("{}"), "actions/greet/action.yml": NODE})
    (finding,) = lint(workflows(Path())).findings
    assert (finding.severity, finding.rule, finding.line) == ("warning", "not-built-in", 2)
    assert "actions of the kind 'node20' are not built in" in finding.message
    assert run().exit_code == 0


def test_an_action_is_examined_as_one(repository: Path) -> None:
    write(repository, {"action.yml": GREET})
    assert run("action.yml").exit_code == 0


def test_local_actions_are_examined_with_what_uses_them(repository: Path) -> None:
    write(
        repository,
        {
            ".github/workflows/ci.yml": using("{who: me}"),
            "actions/greet/action.yaml": GREET.replace("inputs.who }", "inputs.woh }").replace("echo", "./x"),
            "actions/unused/action.yml": WRONG,
        },
    )
    (finding,) = lint(workflows(Path())).findings
    assert str(finding) == (
        "actions/greet/action.yaml:5:33: runs.steps[0].run: 'inputs' has no property 'woh'; did you mean 'who'?"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (using("{WHO: x, how: y}"), []),
        (
            using("{whom: x}"),
            [(6, 15, "the input 'who' is required"), (7, 16, "takes no such input; did you mean 'who'?")],
        ),
        (using("{}"), [(6, 15, "the input 'who' is required and not given")]),
        (using("{}", "./actions/nothing"), [(6, 15, "there is no action.yml or action.yaml in this folder")]),
    ],
)
def test_an_action_is_given_what_it_takes(repository: Path, text: str, expected: list[tuple[int, int, str]]) -> None:
    write(repository, {".github/workflows/ci.yml": text, "actions/greet/action.yml": GREET})
    findings = lint(workflows(Path())).findings
    assert [(finding.line, finding.column) for finding in findings] == [(line, column) for line, column, _ in expected]
    for finding, (_, _, said) in zip(findings, expected, strict=True):
        assert said in finding.message
        assert finding.severity == "warning"


@pytest.mark.parametrize(
    ("called", "said", "severity"),
    [
        (None, "there is no such workflow in this repository", "error"),
        ("on: push\nsteps: [run: x]\n", "cannot be called: its 'on' has no 'workflow_call'", "error"),
        ("on: {workflow_call: {inputs: {level: {type: string}}}}\nsteps: [run: x]\n", "takes no such input", "warning"),
        (
            "on: {workflow_call: {inputs: {a: {type: string}, b: {type: string, required: true}}}}\nsteps: [run: x]\n",
            "the input 'b' is required",
            "warning",
        ),
    ],
)
def test_a_called_workflow(repository: Path, called: str | None, said: str, severity: str) -> None:
    text = "on: push\njobs: {c: {uses: ./.github/workflows/called.yml, with: {a: b}}}\n"
    write(repository, {".github/workflows/ci.yml": text})
    if called:
        write(repository, {".github/workflows/called.yml": called})
    (finding,) = lint([Path(".github/workflows/ci.yml")]).findings
    assert said in finding.message
    assert finding.severity == severity
    assert finding.path.startswith("jobs.c.")


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ("inherit", []),
        ("{TOKEN: x}", []),
        ("{token: x, other: y}", []),
        ("{tokn: x}", ["the secret 'token' is required and not given", "takes no such secret; did you mean 'token'?"]),
        ("{}", ["the secret 'token' is required and not given"]),
    ],
)
def test_a_called_workflow_is_given_its_secrets(repository: Path, secrets: str, expected: list[str]) -> None:
    called = "on: {workflow_call: {secrets: {token: {required: true}, other: {}}}}\nsteps: [run: x]\n"
    text = f"on: push\njobs: {{c: {{uses: ./.github/workflows/called.yml, secrets: {secrets}}}}}\n"
    write(repository, {".github/workflows/ci.yml": text, ".github/workflows/called.yml": called})
    messages = [finding.message for finding in lint([Path(".github/workflows/ci.yml")]).findings]
    assert [message.removeprefix("./.github/workflows/called.yml ") for message in messages] == expected


def test_actions_that_use_each_other_are_examined_once_and_told(repository: Path) -> None:
    step = "runs:\n  using: composite\n  steps: [{uses: ./%s}]\n"
    write(repository, {"a/action.yml": step % "b", "b/action.yml": step % "a"})
    write(repository, {".github/workflows/ci.yml": using("{}", "./a")})
    assert found(Path()) == [
        ("b/action.yml:3:18", "actions use each other without end: a/action.yml uses b/action.yml uses a/action.yml")
    ]
    assert run().exit_code == 0


def test_an_action_that_uses_itself_is_told(repository: Path) -> None:
    write(repository, {"loop/action.yml": "runs:\n  using: composite\n  steps: [{uses: ./loop}]\n"})
    write(repository, {"once/action.yml": "runs:\n  using: composite\n  steps: [{uses: ./greet}, {uses: ./greet}]\n"})
    write(repository, {"greet/action.yml": GREET.replace("required: true", "default: x")})
    write(
        repository, {".github/workflows/a.yml": using("{}", "./loop"), ".github/workflows/b.yml": using("{}", "./once")}
    )
    assert found(Path()) == [
        ("loop/action.yml:3:18", "actions use each other without end: loop/action.yml uses loop/action.yml")
    ]


def test_workflows_that_call_each_other_are_refused(repository: Path) -> None:
    call = "on: [push, workflow_call]\njobs: {c: {uses: ./.github/workflows/%s.yml}}\n"
    write(repository, {".github/workflows/a.yml": call % "b", ".github/workflows/b.yml": call % "a"})
    (finding,) = lint(workflows(Path())).findings
    assert (finding.file, finding.severity) == (".github/workflows/b.yml", "error")
    circle = ".github/workflows/a.yml uses .github/workflows/b.yml uses .github/workflows/a.yml"
    assert finding.message == f"workflows use each other: {circle}"


def test_a_file_is_read_in_its_own_repository(repository: Path) -> None:
    write(repository, {"deep/.github/workflows/ci.yml": using("{who: x}"), "deep/actions/greet/action.yml": GREET})
    assert found(Path("deep")) == []
    os.chdir(repository / "deep/.github/workflows")
    assert run("ci.yml").exit_code == 0
    assert json.loads(run("ci.yml", "--json").stdout)["files"] == ["ci.yml", "../../actions/greet/action.yml"]


@pytest.mark.parametrize(
    ("line", "caret"),
    [
        ("env: {A: 日本, B: '${{ nope.x }}'}", " " * 23),
        ("env: {A: e\u0301, B: '${{ nope.x }}'}", " " * 20),
        ("env: {\tA:\t'${{ nope.x }}'}", "      \t  \t     "),
    ],
)
def test_the_caret_is_under_the_place_on_a_terminal(repository: Path, line: str, caret: str) -> None:
    write(repository, {"ci.yml": f"{GOOD}{line}\n"})
    shown = run("ci.yml").stdout.splitlines()
    assert shown[2] == f"       | {caret}^"


def test_a_long_line_is_shown_around_the_place(repository: Path) -> None:
    write(repository, {"ci.yml": f"{GOOD}env: {{A: '{'x' * 5000} ${{{{ nope.x }}}} {'y' * 5000}'}}\n"})
    _, line, caret = run("ci.yml").stdout.splitlines()
    assert len(line) < 140
    assert line[caret.index("^") :].startswith("nope.x }} yyy")


@pytest.mark.parametrize(
    "text",
    [
        'on: push\n"\\e]0;x\\a\\e[2J": y\n' + GOOD.partition("\n")[2],
        "on: push\nname: \x9b2J\n" + GOOD.partition("\n")[2] + "x\u202e: y\n",
        'on: push\n"\\u202Eabc\\u2066": y\n' + GOOD.partition("\n")[2],
        b"on: \xff\x1b[2J\n",
        "on: pu\x1b[31msh\n",
        "",
    ],
)
def test_nothing_in_a_file_drives_the_terminal(repository: Path, text: str | bytes) -> None:
    write(repository, {"ci.yml": text})
    result = run("ci.yml")
    assert result.exit_code == 1
    driving = {*map(chr, range(32)), "\x9b", "\u202e", "\u2066"} - {"\n", "\t"}
    assert not driving & {*result.output, *run("ci.yml", "--json").output}


def test_colours_are_for_terminals_only(repository: Path) -> None:
    write(repository, {"ci.yml": WRONG})
    assert "\x1b" not in run("ci.yml").output


def test_a_file_too_large_is_said_to_be(repository: Path) -> None:
    write(repository, {"ci.yml": "#" * (600 << 10)})
    assert "the file is larger than 512 KiB" in run("ci.yml").stdout
