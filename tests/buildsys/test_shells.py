"""The commands of shells, held against the table in GitHub's workflow syntax reference."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from buildsys.errors import Invalid
from buildsys.runner.script import program
from buildsys.runner.shells import launch

SCRIPT = PurePosixPath("/buildsys/steps/1/script")


def commands(shell: str | None) -> list[str]:
    """The commands that are tried, in their order."""
    found = []
    for line in launch(shell, SCRIPT):
        if " then exec " in line:
            found.append(line.partition(" then exec ")[2].removesuffix("; fi"))
    return found


@pytest.mark.parametrize(
    ("sentence", "shell", "expected"),
    [
        ("no shell is said: bash -e", None, ["bash -e {0}", "sh -e {0}"]),
        (
            "bash: fails on errors, and in pipes, and reads no files of its own",
            "bash",
            ["bash --noprofile --norc -eo pipefail {0}"],
        ),
        ("sh: fails on errors", "sh", ["sh -e {0}"]),
        ("python: runs the python command", "python", ["python {0}", "python3 {0}"]),
        ("node", "node", ["node {0}"]),
        ("any command with a place for the script", "perl {0}", ["perl {0}"]),
        ("more options may stand behind the script", "bash {0} --last", ["bash {0} --last"]),
        ("the script may be a part of a word", "sh -c 'exec sh {0}'", ["sh -c 'exec sh {0}'"]),
    ],
)
def test_a_shell_is_a_command(sentence: str, shell: str | None, expected: list[str]) -> None:
    assert commands(shell) == [command.replace("{0}", str(SCRIPT)) for command in expected]


def test_words_are_never_read_by_a_shell() -> None:
    hostile = "tool '$(touch owned)' `id` ; rm -rf {0} '>' x"
    assert commands(hostile) == [f"tool '$(touch owned)' '`id`' ';' rm -rf {SCRIPT} '>' x"]


@pytest.mark.parametrize(
    ("shell", "message"),
    [
        ("fish", "unknown shell 'fish': use one of bash, sh, python, node, zx, or a command with {0}"),
        ("pwsh", "the shell 'pwsh' is not built in; use bash, sh, python, node or zx"),
        ("powershell", "not built in"),
        ("cmd", "not built in"),
        ("sh '{0}", "cannot be split into words"),
        ("sh \0{0}", "NUL"),
    ],
)
def test_a_shell_that_there_is_not(shell: str, message: str) -> None:
    with pytest.raises(Invalid) as error:
        launch(shell, SCRIPT)
    assert message in str(error.value)


def run(shell: str | None, script: str, folder: Path, *, path: str | None = None) -> subprocess.CompletedProcess[str]:
    (folder / "script").write_text(script)
    text = "\n".join(launch(shell, PurePosixPath(folder / "script")))
    environment = {"PATH": path or "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("sentence", "shell", "script", "status", "printed"),
    [
        ("bash ends at the first failure", "bash", "echo 1; false; echo 2", 1, "1\n"),
        ("bash ends at a failure within a pipe", "bash", "false | true; echo 2", 1, ""),
        ("without a shell a failure within a pipe is none", None, "false | true; echo 2", 0, "2\n"),
        ("sh ends at the first failure", "sh", "echo 1; false; echo 2", 1, "1\n"),
        ("the status is that of the script", "sh", "exit 7", 7, ""),
        ("python", "python", "import sys; print(6 * 7); sys.exit(3)", 3, "42\n"),
        ("a command of one's own", "cat {0}", "as $HOME it is", 0, "as $HOME it is"),
        ("fail-fast can be opted out of with a template", "sh {0}", "false; echo 2", 0, "2\n"),
    ],
)
def test_scripts(tmp_path: Path, sentence: str, shell: str | None, script: str, status: int, printed: str) -> None:
    ended = run(shell, script, tmp_path)
    assert (ended.returncode, ended.stdout) == (status, printed)


def test_without_bash_it_is_sh(tmp_path: Path) -> None:
    """If bash is not found in the path, this is treated as sh."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    ended = run(None, 'echo "[$BASH_VERSION]"; false; echo no', tmp_path, path=str(tools))
    assert (ended.returncode, ended.stdout) == (1, "[]\n")
    ended = run("bash", "echo no", tmp_path, path=str(tools))
    assert (ended.returncode, ended.stdout) == (127, "buildsys: error: there is no bash here to run the step\n")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
@pytest.mark.parametrize(
    ("sentence", "script", "status", "printed"),
    [
        ("a command's output", "const who = await $`echo a  b`; console.log(who)", 0, "a b\n"),
        (
            "a value is one word, a list several",
            'console.log(`${await $`echo ${"a  \';id"} ${[1, 2]}`}`)',
            0,
            "a  ';id 1 2\n",
        ),
        ("a command that fails fails the script", "await $`exit 7`; console.log('no')", 1, ""),
        ("unless that is caught", "try { await $`exit 7` } catch (p) { console.log(p.exitCode) }", 0, "7\n"),
        ("it is a module", "import { sep } from 'node:path'; console.log(sep)", 0, "/\n"),
    ],
)
def test_node_reads_scripts_of_zx(tmp_path: Path, sentence: str, script: str, status: int, printed: str) -> None:
    """As zx documents its `$`; where zx itself is, it is taken."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("node", "bash"):
        (tools / name).symlink_to(str(shutil.which(name)))
    ended = run("zx", script, tmp_path, path=str(tools))
    assert (ended.returncode, ended.stdout) == (status, printed)


def test_without_zx_it_is_node_and_without_that_an_error(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    missing = run("zx", "console.log(1)", tmp_path, path=str(tools))
    expected = "buildsys: error: there is no zx and no node here to run the step\n"
    assert (missing.returncode, missing.stdout) == (127, expected)
    for name in ("zx", "node"):
        (tools / name).write_text(f"#!/bin/sh\necho this is {name}\n")
        (tools / name).chmod(0o755)
    assert run("zx", "console.log(1)", tmp_path, path=str(tools)).stdout == "this is zx\n"
    (tools / "zx").unlink()
    assert run("zx", "console.log(1)", tmp_path, path=str(tools)).stdout == "this is node\n"


def test_a_program_sets_what_it_is_told(tmp_path: Path) -> None:
    """Values with anything in them but a NUL arrive as they are; folders go before PATH."""
    hostile = "'; touch owned; $(touch owned) `touch owned`\n\\ \"x\" ' -n *"
    made = program(
        'printf "%s|%s" "$A" "$PATH"\r\n',
        shell="sh",
        variables={"A": hostile, "PATH": "/usr/bin:/bin"},
        paths=("/o'ne", "/two"),
        directory=tmp_path,
        place=tmp_path,
    )
    assert made.script == b'printf "%s|%s" "$A" "$PATH"\n'
    (tmp_path / "script").write_bytes(made.script)
    ended = subprocess.run(["/bin/sh"], input=made.run, env={}, capture_output=True, check=True)
    assert ended.stdout.decode() == f"{hostile}|/o'ne:/two:/usr/bin:/bin"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("variables", "paths", "directory", "message"),
    [
        ({"A B": "x"}, (), "/", "not the name"),
        ({"A": "\0"}, (), "/", "the environment variable A contains a NUL"),
        ({}, ("\0",), "/", "GITHUB_PATH contains a NUL"),
        ({}, (), "/\0", "the working directory contains a NUL"),
    ],
)
def test_what_no_program_can_have(
    variables: dict[str, str], paths: tuple[str, ...], directory: str, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        program("", shell=None, variables=variables, paths=paths, directory=PurePosixPath(directory), place=SCRIPT)
