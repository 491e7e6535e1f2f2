"""Which lines of a step's output are commands, however they arrive."""

from __future__ import annotations

import tracemalloc

import pytest

from buildsys.core.commands import unescape
from buildsys.runner.commands import ADD_MASK, LONGEST_HEAD, LONGEST_VALUE, Command, CommandReader


def read(*pieces: bytes) -> list[Command]:
    reader = CommandReader()
    found = [command for piece in pieces for command in reader.read(piece)] + reader.end()
    return [command for command in found if command.name == ADD_MASK]


def values(*pieces: bytes) -> list[bytes | None]:
    return [unescape(mask.value) if mask.is_whole else None for mask in read(*pieces)]


MASKS: dict[str, list[tuple[bytes, list[bytes]]]] = {
    "Masking a value in a log: ::add-mask::{value} masks the value": [
        (b"::add-mask::secret\n", [b"secret"]),
        (b"::add-mask::secret", [b"secret"]),
        (b"::add-mask::one\n::add-mask::two\r\n::add-mask::three", [b"one", b"two", b"three"]),
        (b"::add-mask:: with spaces \n", [b" with spaces "]),
        (b"::add-mask::a::b\n", [b"a::b"]),
        (b"::add-mask::\n", [b""]),
    ],
    "About workflow commands: a command has a name, parameters and a value, ::name a=b,c=d::value": [
        (b"::add-mask name=a:b,c=d::secret\n", [b"secret"]),
        (b"::add-mask:secret\n", []),
        (b"::add-mask\n::secret\n", []),
        (b"::add-masks::secret\n", []),
        (b"::debug::secret\n", []),
        (b"::debug::x\n::add-mask::secret\r::unknown::\n", [b"secret"]),
    ],
    "About workflow commands: the name of a command has no case": [
        (b"::ADD-Mask::secret\n", [b"secret"]),
    ],
    "Runner: a command begins its line, white space aside": [
        (b"before\n \t::add-mask::secret\nbehind\n", [b"secret"]),
        (b"text ::add-mask::secret\n", []),
        (b":::add-mask::secret\n", []),
    ],
    "Ours: what a lone CR parts are lines, since a terminal shows them so": [
        (b"progress 10%\r::add-mask::secret\rprogress 20%", [b"secret"]),
    ],
    "Runner: %25, %0A and %0D stand for a percent sign and the ends of lines": [
        (b"::add-mask::100%25%0Anext%0D%250A%0a\n", [b"100%\nnext\r%0A%0a"]),
    ],
    "Stopping and starting workflow commands: no command counts until ::{token}:: is printed": [
        (b"::stop-commands::t0k\n::add-mask::shown\n::t0k::\n::add-mask::secret\n", [b"secret"]),
        (b"::stop-commands::t0k\n::add-mask::shown\n ::T0K x=1::\r\n::add-mask::secret\n", [b"secret"]),
        (b"::stop-commands::t0k\n::other::\n::t0k\n::stop-commands::u\n::u::\nt ::t0k::\n::add-mask::shown\n", []),
        (b"::stop-commands::t0k\n::t0k::\n::stop-commands::t0k\n::add-mask::shown\n", []),
        (b"::STOP-commands::t%250k\n::add-mask::shown\n::t%0k::\n::add-mask::secret\n", [b"secret"]),
        (b"::stop-commands::t0k", []),
        (
            b"::stop-commands::(.*\n::add-mask::shown\n::x::\n::add-mask::shown\n::(.*::\n::add-mask::secret\n",
            [b"secret"],
        ),
    ],
    "Runner: a token that is empty, or a command itself, stops nothing": [
        (b"::stop-commands::\n::add-mask::secret\n", [b"secret"]),
        (b"::stop-commands::add-mask\n::add-mask::secret\n", [b"secret"]),
        (b"::stop-commands::Stop-Commands\n::add-mask::secret\n", [b"secret"]),
        (b"::stop-commands::two words\n::add-mask::secret\n", [b"secret"]),
    ],
}
CASES = [pytest.param(*row, id=f"{sentence} | {row[0]!r}") for sentence, rows in MASKS.items() for row in rows]


@pytest.mark.parametrize(("output", "masked"), CASES)
def test_commands(output: bytes, masked: list[bytes]) -> None:
    assert values(output) == masked
    assert values(*(bytes([byte]) for byte in output)) == masked


@pytest.mark.parametrize(("output", "masked"), CASES)
def test_however_it_is_cut(output: bytes, masked: list[bytes]) -> None:
    for first in range(len(output) + 1):
        for second in range(first, len(output) + 1):
            assert values(output[:first], output[first:second], output[second:]) == masked


def mask(value: bytes, start: int, end: int) -> Command:
    return Command(name=ADD_MASK, properties=b"", value=value, start=start, end=end)


def test_where_the_value_is() -> None:
    assert read(b"one\n ::add-mask::secret\r\n") == [mask(b"secret", 17, 23)]


def test_a_value_that_is_open() -> None:
    reader = CommandReader()
    assert reader.read(b"one\n::add-mask::se") == []
    assert reader.open is not None
    assert reader.open.start == 16
    assert reader.read(b"cret") == []
    assert reader.read(b"\n") == [mask(b"secret", 16, 22)]
    assert reader.open is None


@pytest.mark.parametrize("size", [LONGEST_VALUE, LONGEST_VALUE + 1, 3 * LONGEST_VALUE])
def test_a_value_that_is_too_long_is_not_remembered(size: int) -> None:
    output = b"::add-mask::" + b"x" * size + b"\n::add-mask::next\n"
    long = None if size > LONGEST_VALUE else b"x" * size
    for piece in (1 << 30, 100_000, 7777):
        pieces = [output[start : start + piece] for start in range(0, len(output), piece)]
        masks = read(*pieces)
        assert values(*pieces) == [long, b"next"]
        assert (masks[0].start, masks[0].end) == (12, 12 + size)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (b" " * (LONGEST_HEAD - 12) + b"::add-mask::secret\n", [b"secret"]),
        (b" " * (LONGEST_HEAD - 11) + b"::add-mask::secret\n", []),
        (b"::add-mask " + b"x" * (LONGEST_HEAD - 13) + b"::secret\n", [b"secret"]),
        (b"::add-mask " + b"x" * (LONGEST_HEAD - 12) + b"::secret\n", []),
        (b"::stop-commands::" + b"x" * (LONGEST_HEAD - 4) + b"\n::add-mask::shown\n", []),
        (b"::stop-commands::" + b"x" * (LONGEST_HEAD - 3) + b"\n::add-mask::secret\n", [b"secret"]),
        (b"x" * LONGEST_HEAD + b"::add-mask::shown\n", []),
    ],
)
def test_a_line_says_early_what_it_is(output: bytes, found: list[bytes]) -> None:
    """Not one byte makes a difference, wherever the output is cut."""
    for prefix in (b"", b"\n", b"x" * 6000 + b"\r\n"):
        whole = prefix + output
        assert values(whole) == found
        for cut in (*range(1, 40), *range(len(prefix) + LONGEST_HEAD - 5, len(prefix) + LONGEST_HEAD + 5)):
            assert values(whole[:cut], whole[cut:]) == found
        assert values(*(whole[at : at + 1] for at in range(len(whole)))) == found


@pytest.mark.parametrize("line", [b"x::add-mask", b"::add-mask::x"])
def test_a_line_without_end_takes_no_memory(line: bytes) -> None:
    reader = CommandReader()
    piece = line * 1000
    tracemalloc.start()
    try:
        for _ in range(300):
            assert reader.read(piece) == []
        assert tracemalloc.get_traced_memory()[0] < 30 * len(piece)
    finally:
        tracemalloc.stop()
    assert reader.read(b"\n::add-mask::secret\n")[-1].value == b"secret"
