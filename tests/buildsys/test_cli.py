"""The command line without a server: help, usage, errors, and what may reach a terminal."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from buildsys.cli import main
from buildsys.cli.events import Event, EventParser
from buildsys.cli.terminal import Terminal, harmless, plain
from buildsys.config import Config


def invoke(*arguments: str, **environ: str) -> Result:
    return CliRunner(env={"BUILDSYS_SERVER": None, "BUILDSYS_TOKEN": None, **environ}).invoke(main, arguments)


def commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert " ".join(["buildsys", *path]) in result.output.partition("Options:")[0].partition("\n")[2]


def test_help_does_not_load_what_only_other_commands_need() -> None:
    program = (
        "import sys; sys.argv = ['buildsys', '--help']\n"
        "from buildsys.cli import main\n"
        "try: main()\n"
        "finally: assert not {'aiohttp', 'asyncpg', 'msgspec', 'structlog'} & set(sys.modules), sorted(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_up_has_an_option_for_every_setting_that_is_no_secret_and_names_its_variable() -> None:
    output = " ".join(invoke("up", "--help").output.split())
    for field in Config.fields():
        if field.name not in ("server_url", "token", "token_file"):
            assert field.option is not None
            assert f"{field.option} " in output
            assert f"[{field.env}" in output
    assert "BUILDSYS_TOKEN]" not in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prject"], "Did you mean 'project'?"),
        (["project", "ad"], "Did you mean 'add'?"),
        (["build", "start", "hello", "--folow"], "Did you mean"),
        (["build", "start"], "Missing argument 'PROJECT'"),
        (["build", "list", "--state", "lost"], "'lost' is not one of"),
        (["logs", "hello#1", "--after", "x"], "not a valid integer"),
        (["up", "--slots", "none"], "--slots: expected a whole number from 1, not 'none'"),
        (["token", "revoke", "x"], "not a valid UUID"),
        (["runner"], "needs --server"),
        (["demo", "--driver", "cloud"], "'cloud' is not one of"),
    ],
)
def test_a_wrong_use_is_refused_with_what_was_expected(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_wrong_variable_is_named() -> None:
    result = invoke("up", BUILDSYS_TIME_LIMIT="soon")
    assert result.exit_code == 2
    assert "BUILDSYS_TIME_LIMIT: expected a time above zero" in result.stderr


def test_without_a_server_it_says_how_to_start_or_name_one(tmp_path: Path) -> None:
    result = invoke("project", "list", "--json", BUILDSYS_DATA_DIR=str(tmp_path))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "buildsys up" in result.stderr
    assert "--server" in result.stderr


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("bst_x")
    result = invoke("project", "list", "--server", "http://127.0.0.1:9", "--token-file", str(token))
    assert result.exit_code == 5
    assert "No server answers at http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_local_token_is_not_sent_to_another_server(tmp_path: Path) -> None:
    for name, content in (("server.url", "http://127.0.0.1:8080\n"), ("admin.token", "bst_local\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    result = invoke("project", "list", "--server", "http://127.0.0.1:9", BUILDSYS_DATA_DIR=str(tmp_path))
    assert result.exit_code == 2
    assert "There is no token for http://127.0.0.1:9" in result.stderr


def test_doctor_answers_in_json_and_says_by_its_exit_code_whether_a_start_would_work(tmp_path: Path) -> None:
    well = invoke(
        "doctor", "--driver", "process", "--listen", "127.0.0.1:0", "--json", "--data-dir", str(tmp_path / "x")
    )
    assert well.exit_code == 0
    assert {"python", "data folder", "git"} <= {check["name"] for check in json.loads(well.stdout)}
    (tmp_path / "file").touch()
    ill = invoke("doctor", "--driver", "process", "--data-dir", str(tmp_path / "file" / "data"))
    assert ill.exit_code == 1
    assert "✗ data folder" in ill.stdout


def test_doctor_examines_the_machine_of_a_runner_apart(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("bst_x\n")
    options = ("--roles", "runner", "--server", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token"))
    result = invoke("doctor", *options, "--driver", "process", "--json", "--data-dir", str(tmp_path / "x"))
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert checks["server"]["status"] == "fail"
    assert not checks.keys() & {"database", "postgres", "port"}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain ✓ \t text\r", "plain ✓ \t text\r"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m\x1b[0m"),
        ("\x1b[38:2::1:2:3mtrue\x1b[m", "\x1b[38:2::1:2:3mtrue\x1b[m\x1b[0m"),
        ("a\x1b[2Jb\x1b[10;10Hc\x1b[?1049hd", "abcd"),
        ("\x1b]0;title\x07x\x1b]52;c;cHduZWQ=\x1b\\y", "xy"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x1b]8;;http://evil\x07link", "link"),
        ("\x1b]0;never closed", "0;never closed"),
        ("\x1b\x1b[2J[2Jx", "[2Jx"),
        ("\x1b[\x1b[31m6n", "\x1b[31m6n\x1b[0m"),
        ("\x9b2Jx\x9d0;t\x9cy", "xy"),
        ("\x1bcreset\x1b(0\x1b7", "reset"),
        ("bell\x07 back\x08\x7f null\x00", "bell back null"),
        ("\x1b[6", "6"),
    ],
)
def test_a_log_may_color_a_terminal_and_nothing_else(line: str, shown: str) -> None:
    assert harmless(line, color=True) == shown
    assert "\x1b" not in harmless(line, color=False)


def test_json_on_a_terminal_holds_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(map(chr, range(0xA1))) + "é✓"
    Terminal(json=True, environ={}).answer({text: [text]})
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert line.replace("\N{NO-BREAK SPACE}", "").isprintable()
    assert json.loads(line) == {text: [text]}


def test_no_mixture_of_control_characters_survives() -> None:
    chance = random.Random(7)
    for _ in range(20_000):
        line = "".join(chance.choices("\x1b\x1b\x9b[]P?;01mJHhc\\\x07\x9c\r\t ~\x00é", k=chance.randrange(14)))
        left = click.unstyle(harmless(line, color=True)).replace("\r", "").replace("\t", "")
        assert all(character.isprintable() for character in left), (line, left)
        assert plain(line).isprintable()


def test_events_are_the_same_however_the_stream_is_cut() -> None:
    stream = (
        b'retry: 1000\n\n:\n\nid: 2\nevent: lines\ndata: {"lines":["a","\\u00fc"],"job":"j","step":1}\n\n'
        b': heartbeat\n\nid: 3\nevent: end\ndata: {"outcome":"success"}\n\nid: 4\nevent: never ended'
    )
    expected = [
        Event(cursor=2, kind="lines", data={"lines": ["a", "ü"], "job": "j", "step": 1}),
        Event(cursor=3, kind="end", data={"outcome": "success"}),
    ]
    chance = random.Random(3)
    for size in (1, 2, 3, 7, 1000):
        parser, found, rest = EventParser(), list[Event](), stream
        while rest:
            length = chance.randint(1, size)
            found += parser.feed(rest[:length])
            rest = rest[length:]
        assert found == expected
