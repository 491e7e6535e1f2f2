"""GitHub's commands from before there were environment files, as far as a step's output still has them.

    ::set-output name=NAME::VALUE    an output, as in GITHUB_OUTPUT; deprecated: a warning
    ::save-state name=NAME::VALUE    as in GITHUB_STATE, which nothing here reads; deprecated: a warning
    ::set-env name=NAME::VALUE       disabled: an error, which fails the step
    ::add-path::DIRECTORY            disabled, too

Source of the rules: GitHub's changelog, "Deprecating save-state and set-output commands" and its postponement,
"Deprecating set-env and add-path commands"; where these are silent, what GitHub's published runner does.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import msgspec

from buildsys.core.commands import parameters, text_of
from buildsys.runner.commands import LONGEST_VALUE, STOP_COMMANDS, Command, CommandReader
from buildsys.runner.environment_files import MAX_FILE, MAX_NAME

_FILES = {
    b"set-output": "GITHUB_OUTPUT",
    b"save-state": "GITHUB_STATE",
    b"set-env": "GITHUB_ENV",
    b"add-path": "GITHUB_PATH",
}
_DISABLED = frozenset({b"set-env", b"add-path"})


class OlderCommands(msgspec.Struct, frozen=True, kw_only=True):
    """What they did; `problems` fail the step, `warnings` do not. Both are without values."""

    outputs: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_older_commands(printed: Iterable[bytes]) -> OlderCommands:
    """What the output of a step that has ended says with them; each message is told once."""
    reader = CommandReader(heard=frozenset({STOP_COMMANDS, *_FILES}))
    outputs: dict[str, str] = {}
    warnings: dict[str, None] = {}
    problems: dict[str, None] = {}
    left = MAX_FILE
    for commands in chain(map(reader.read, printed), iter(reader.end, [])):
        for command in commands:
            name, file = command.name.decode(), _FILES[command.name]
            if command.name in _DISABLED:
                problems[f"the command ::{name}:: is disabled; write to the file {file}"] = None
                continue
            warnings[f"the command ::{name}:: is deprecated; write to the file {file}"] = None
            try:
                key, value = _assignment(command, left)
            except ValueError as error:
                problems[f"the command ::{name}:: {error}"] = None
                continue
            left -= _size(command)
            if command.name == b"set-output":
                outputs[key] = value
    return OlderCommands(outputs=outputs, warnings=tuple(warnings), problems=tuple(problems))


def _assignment(command: Command, left: int) -> tuple[str, str]:
    """The name and the value. Raises `ValueError`, which says neither, also for more than the bytes that are `left`."""
    name = parameters(command.properties).get("name", "")
    if not name:
        raise ValueError("has no parameter 'name'")
    if len(name) > MAX_NAME:
        raise ValueError(f"has a name longer than {MAX_NAME} characters")
    if not command.is_whole:
        raise ValueError(f"has a value longer than {LONGEST_VALUE >> 10} KiB")
    if _size(command) > left:
        raise ValueError(f"says more than {MAX_FILE >> 20} MiB in all")
    return name, text_of(command.value)


def _size(command: Command) -> int:
    return len(command.properties) + len(command.value)
