"""GitHub's commands from before there were environment files."""

from __future__ import annotations

import pytest

from buildsys.runner.commands import LONGEST_VALUE
from buildsys.runner.older_commands import OlderCommands, read_older_commands

OUTPUT = "the command ::set-output:: is deprecated; write to the file GITHUB_OUTPUT"
STATE = "the command ::save-state:: is deprecated; write to the file GITHUB_STATE"

CASES = [
    ("a line of the log", b"text ::set-output name=a::1\n", OlderCommands()),
    ("an output", b"::set-output name=a::1 = 2\n", OlderCommands(outputs={"a": "1 = 2"}, warnings=(OUTPUT,))),
    (
        "of what is said twice the last counts",
        b"::set-output name=a::1\n::set-output name=a::2",
        OlderCommands(outputs={"a": "2"}, warnings=(OUTPUT,)),
    ),
    (
        "escapes in the name, and in the value",
        b"::set-output name=a%3Ab::1%0A2%25\n",
        OlderCommands(outputs={"a:b": "1\n2%"}, warnings=(OUTPUT,)),
    ),
    ("a state, which nobody reads", b"::save-state name=a::1\n", OlderCommands(warnings=(STATE,))),
    (
        "one without a name",
        b"::set-output::1\n",
        OlderCommands(warnings=(OUTPUT,), problems=("the command ::set-output:: has no parameter 'name'",)),
    ),
    (
        "a name that is too long",
        b"::set-output name=%b::1\n" % (b"n" * 256),
        OlderCommands(
            warnings=(OUTPUT,), problems=("the command ::set-output:: has a name longer than 255 characters",)
        ),
    ),
    (
        "a value that is too long",
        b"::set-output name=a::%b\n" % (b"v" * (LONGEST_VALUE + 1)),
        OlderCommands(warnings=(OUTPUT,), problems=("the command ::set-output:: has a value longer than 16 KiB",)),
    ),
    (
        "disabled ones",
        b"::set-env name=A::1\n::add-path::/x\n::add-path::/y\n",
        OlderCommands(
            problems=(
                "the command ::set-env:: is disabled; write to the file GITHUB_ENV",
                "the command ::add-path:: is disabled; write to the file GITHUB_PATH",
            )
        ),
    ),
]


@pytest.mark.parametrize(("printed", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_step_says(printed: bytes, expected: OlderCommands) -> None:
    assert read_older_commands([printed]) == expected
    assert read_older_commands(bytes([byte]) for byte in printed) == expected


def test_all_outputs_together_are_bounded() -> None:
    line = b"::set-output name=%d::%b\n"
    said = read_older_commands(line % (number, b"v" * LONGEST_VALUE) for number in range(100))
    assert said.problems == ("the command ::set-output:: says more than 1 MiB in all",)
    assert len(said.outputs) == 63
