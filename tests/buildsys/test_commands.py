"""Workflow commands: what is one, what it says, and that nothing else becomes one."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from objects_bench import Hand, begun, bench_on, ended, output

from actors import Database
from buildsys.core.commands import MAX_ANNOTATIONS, MAX_GROUPS, MAX_NAME, MAX_TEXT, LogCommand
from buildsys.runner.commands import LONGEST_HEAD, LogCommands


def scan(*batches: bytes) -> list[dict[str, Any]]:
    """What is said, and the last batch ends the log."""
    commands = LogCommands()
    said = [command for batch in batches for command in commands.read(batch)]
    return [msgspec.to_builtins(command) for command in (*said, *commands.read(b"", complete=True))]


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"line": 0, "kind": "annotation", "level": "error", "message": message, **more}


SAID: dict[str, list[tuple[bytes, dict[str, Any]]]] = {
    "Grouping log lines: ::group::{title} begins a group, ::endgroup:: ends it": [
        (b"::group::Build it", {"line": 0, "kind": "group_started", "title": "Build it"}),
        (b"::group::", {"line": 0, "kind": "group_started", "title": ""}),
        (b"::endgroup::", {"line": 0, "kind": "group_ended"}),
    ],
    "Runner: a command begins its line, white space aside, and has no case": [
        (b"  \t::endgroup::", {"line": 0, "kind": "group_ended"}),
        (b"::ENDGROUP::", {"line": 0, "kind": "group_ended"}),
        (b"10%\r::endgroup::", {"line": 0, "kind": "group_ended"}),
        (b"::endgroup::\r", {"line": 0, "kind": "group_ended"}),
    ],
    "Setting an error message: ::error file={name},line={line},endLine={endLine},title={title}::{message}": [
        (b"::error::it broke", error("it broke")),
        (b"::error ::it broke", error("it broke")),
        (b"::error file=a.py::m", error("m", file="a.py")),
        (
            b"::error file=a.py,line=3,endLine=4,col=5,endColumn=6,title=No::m",
            error("m", file="a.py", file_line=3, end_line=4, column=5, end_column=6, title="No"),
        ),
        (b"::error::a::b::c", error("a::b::c")),
    ],
    "Runner: what a parameter cannot be is left out": [
        (b"::error line=x,col=-1,endLine=99999999999::m", error("m")),
        (b"::error what=else,,=,file=::m", error("m", file="")),
    ],
    "Runner: %25, %0A and %0D, and in parameters %3A and %2C, stand for what would end them": [
        (b"::error file=a%3Ab%2Cc%25.py::m", error("m", file="a:b,c%.py")),
        (b"::error file=%253A::m", error("m", file="%3A")),
        (b"::error::100%25 of%0Atwo%0D%0Alines %3A%0a", error("100% of\ntwo\r\nlines %3A%0a")),
    ],
    "Ours: what no text can hold is replaced": [
        (b"::error::\xff\x00", error("\ufffd\ufffd")),
    ],
    "Setting a debug, notice and warning message: the same with another name": [
        (b"::warning::w", error("w") | {"level": "warning"}),
        (b"::notice::n", error("n") | {"level": "notice"}),
        (b"::debug::d", error("d") | {"level": "debug"}),
    ],
}
SILENT: dict[str, list[bytes]] = {
    "About workflow commands: a command is ::name parameters::value": [
        *(b"error::x", b"::error:x", b":error::x", b"::errors::x", b"::", b"::::", b"std::vector::x", b"::group"),
        b"::err\ror::x",
    ],
    "Runner: a command begins its line": [b"x ::error::x"],
    "Environment files: outputs are set by GITHUB_OUTPUT, set-output was deprecated": [b"::set-output name=a::b"],
    "Masking a value in a log: a mask says nothing of the log itself": [b"::add-mask::x"],
    "Ours: the older form in brackets is none": [b"##[error]x"],
}


@pytest.mark.parametrize(
    ("line", "said"),
    [pytest.param(*row, id=f"{sentence} | {row[0]!r}") for sentence, rows in SAID.items() for row in rows],
)
def test_what_a_command_says(line: bytes, said: dict[str, Any]) -> None:
    assert scan(line + b"\n") == [said]


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=f"{sentence} | {line!r}") for sentence, lines in SILENT.items() for line in lines]
)
def test_what_is_no_command(line: bytes) -> None:
    assert scan(line + b"\n") == []


def test_the_line_of_a_command() -> None:
    found = scan(b"one\n::group::a\n\n::endgroup::\n::error::e\nlast")
    assert [(each["kind"], each["line"]) for each in found] == [
        ("group_started", 1),
        ("group_ended", 3),
        ("annotation", 4),
    ]


def test_stopped_commands_are_lines() -> None:
    text = b"::stop-commands::Tok%65n\n::error::1\n::group::2\n::tok%65::\n::TOK%65N a=b::x\n::error::3\n"
    assert scan(text) == [error("3", line=5)]
    assert scan(*(line + b"\n" for line in text.splitlines())) == [error("3")]


@pytest.mark.parametrize("token", [b"a:b", b":a", b"$1", b"**", b"x" * (LONGEST_HEAD - 4)])
def test_a_token_ends_what_it_began(token: bytes) -> None:
    stopped = b"::stop-commands::%s\n::error::1\n::%s::\n::error::2\n" % (token, token)
    assert scan(stopped) == [error("2", line=3)]


@pytest.mark.parametrize("token", [b"", b"  ", b"error", b"a::b", b"a:", b"x" * (LONGEST_HEAD - 3)])
def test_a_token_that_could_not_end_it_stops_nothing(token: bytes) -> None:
    assert scan(b"::stop-commands::%s\n::error::1\n" % token) == [error("1", line=1)]


@pytest.mark.parametrize("cut", range(len(b"::error a=b::it broke\n") + 1))
def test_a_parted_line_is_a_command_where_it_ends(cut: int) -> None:
    line = b"::error a=b::it broke\n"
    ended = cut == len(line)
    assert scan(b"1\n" + line[:cut], line[cut:] + b"::endgroup::\n") == [
        error("it broke", line=int(ended)),
        {"line": int(not ended), "kind": "group_ended"},
    ]


def test_the_end_of_a_line_may_come_alone() -> None:
    assert scan(b"::error::1", b"", b"\r", b"\n::error::2", b"\n") == [error("1"), error("2")]


def test_a_last_line_needs_no_end() -> None:
    assert scan(b"\n::error::1") == [error("1")]
    assert [command.line for command in LogCommands().read(b"one\n::error::2", complete=True)] == [1]


def test_there_are_so_many_and_no_more() -> None:
    flood = b"::error::e\n" * (MAX_ANNOTATIONS + 10) + b"::warning::w\n" + b"::group::g\n" * (MAX_GROUPS + 10)
    found = scan(flood, flood)
    assert [sum(each.get("level") == level for each in found) for level in ("error", "warning")] == [MAX_ANNOTATIONS, 2]
    assert sum(each["kind"] == "group_started" for each in found) == MAX_GROUPS


def test_a_long_message_is_cut() -> None:
    [found] = scan(b"::error title=%s::%s\n" % (b"t" * 3000, b"m" * 100_000))
    assert (len(found["message"]), len(found["title"])) == (MAX_TEXT + 1, MAX_NAME + 1)
    assert found["message"].endswith("\N{HORIZONTAL ELLIPSIS}")


def test_any_bytes_give_commands_that_can_be_sent() -> None:
    """Whatever is found passes the checks of what a runner reports, and stands at a line that is there."""
    chance = random.Random(1)
    words = b"error group endgroup stop-commands".split()
    pieces = [*words, b"::", b":", b"\n", b"\r", b" file=", b",", b"%0A", b"%"]
    for _ in range(3000):
        text = b"".join(
            chance.choice([*pieces, chance.randbytes(chance.randrange(4))]) for _ in range(chance.randrange(40))
        )
        found = LogCommands().read(text, complete=True)
        for command in found:
            assert msgspec.convert(msgspec.to_builtins(command), LogCommand) == command
            assert b"::" in text.split(b"\n")[command.line]
        commands, cut = LogCommands(), chance.randrange(len(text) + 1)
        parted = commands.read(text[:cut]) + commands.read(text[cut:], complete=True)
        assert [replace(command, line=0) for command in parted] == [replace(command, line=0) for command in found]


async def test_commands_become_events_behind_their_lines(database: Database) -> None:
    async with bench_on(database) as bench, bench.nodes() as nodes:
        one = nodes.declared[0]
        build = await bench.queue(await bench.project())
        await one.buddy(build).start_build()
        hand = Hand(one)
        await hand.take()
        await hand.report(*begun(), output(0, b"hello\n"))
        text = b"::group::a\nx\n::error::e\n"
        batch = replace(output(6, text), commands=LogCommands().read(text))
        await hand.report(batch)
        await hand.report(batch)
        await hand.report(output(6 + len(text), b"more\n"))
        *_, lines, group, annotation, more = await bench.logs.read(build, after=0, size=100)
        assert (lines.kind, lines.last - lines.first, more.kind) == ("lines", 2, "lines")
        assert (group.kind, group.data) == ("group_started", {"line": lines.first, "title": "a"})
        assert (annotation.kind, annotation.data) == (
            "annotation",
            {"line": lines.last, "level": "error", "message": "e"},
        )
        assert (annotation.job, annotation.step, more.first) == ("a", 1, annotation.last + 1)
        await hand.report(*ended())
        verdict = await bench.verification().verify(build)
        assert verdict.state == "complete"
