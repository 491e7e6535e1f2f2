"""What a step says to those after it in files: GITHUB_ENV, GITHUB_OUTPUT, GITHUB_STATE, GITHUB_PATH, the summary.

    NAME=VALUE          a variable or an output; VALUE may hold any `=`
    NAME<<DELIMITER     every line up to one that is DELIMITER and nothing else
    DIRECTORY           in GITHUB_PATH, one a line

Lines end at LF, as on GitHub's Linux runners: a CR before it belongs to the value, or to the delimiter. Of what is said
twice the last counts. A file that is not there says nothing; one that cannot be read fails its step.

GitHub's older commands in the output are read in `buildsys.runner.older_commands`.

Source of the rules: GitHub's documentation, "Workflow commands", "Environment files"; where that is silent, what
GitHub's published runner does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

FILES = {
    "GITHUB_ENV": "env",
    "GITHUB_OUTPUT": "output",
    "GITHUB_PATH": "path",
    "GITHUB_STATE": "state",
    "GITHUB_STEP_SUMMARY": "summary",
}
"""The variables that name the files, and what these are called in a step's folder."""

MAX_FILE = 1 << 20
"""Bytes of a file. Of a summary it is GitHub's limit; of the others, more would not fit into a process anyway."""

MAX_ENTRIES = 10_000
"""Names in a file."""

MAX_NAME = 255
"""Characters of a name."""

MAX_VARIABLE = 128 << 10
"""Bytes of `NAME=VALUE` and a NUL that Linux gives to a process: MAX_ARG_STRLEN, execve(2)."""

MAX_SHOWN = 80

REFUSED = frozenset({"NODE_OPTIONS"})
"""Variables that GITHUB_ENV cannot set, as GitHub's documentation says: they would run code in other steps."""


class FileError(Exception):
    """A file that says nothing that can be understood; the message is one line, for the step's log."""


def read_assignments(data: bytes) -> dict[str, str]:
    """The names and values of a file. Raises `FileError`."""
    found: dict[str, str] = {}
    for name, value in _assignments(_text(data)):
        if len(name) > MAX_NAME:
            raise FileError(f"a name is longer than {MAX_NAME} characters: {_shown(name)}")
        found.pop(name, None)
        found[name] = value
        if len(found) > MAX_ENTRIES:
            raise FileError(f"there are more than {MAX_ENTRIES:,} names in it")
    return found


def read_environment(data: bytes, *, fixed: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables of GITHUB_ENV, and those among `fixed` that it cannot change: they are left out.

    Raises `FileError`; for a variable of `REFUSED`, too.
    """
    found = read_assignments(data)
    for name, value in found.items():
        if name.upper() in REFUSED:
            raise FileError(f"{name} cannot be set by GITHUB_ENV; use the `env` of a step")
        if len(name.encode()) + len(value.encode()) + 2 > MAX_VARIABLE:
            raise FileError(f"{_shown(name)} is larger than the {MAX_VARIABLE >> 10} KiB that fit into a process")
    kept = sorted(name for name in found if name in fixed)
    return {name: value for name, value in found.items() if name not in fixed}, kept


def read_paths(data: bytes) -> tuple[str, ...]:
    """The folders of GITHUB_PATH, in the order in which they are written. Raises `FileError`."""
    lines = [line for line in _text(data).split("\n") if line.strip()]
    if len(lines) > MAX_ENTRIES:
        raise FileError(f"there are more than {MAX_ENTRIES:,} folders in it")
    return tuple(lines)


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, sign, rest = _parted(line)
        if not name:
            raise FileError(f"a line has no name before {sign}: {_shown(line)}")
        if sign == "=":
            yield name, rest
        elif not rest:
            raise FileError(f"a line has no delimiter behind <<: {_shown(line)}")
        else:
            yield name, _value(lines, name, rest)


def _parted(line: str) -> tuple[str, str, str]:
    """Name, sign and rest at the first of the two signs."""
    equals, heredoc = line.find("="), line.find("<<")
    if equals < 0 and heredoc < 0:
        raise FileError(f"a line is neither NAME=VALUE nor NAME<<DELIMITER: {_shown(line)}")
    sign = "=" if heredoc < 0 or 0 <= equals < heredoc else "<<"
    return line.partition(sign)


def _value(lines: Iterator[str], name: str, delimiter: str) -> str:
    value: list[str] = []
    for line in lines:
        if line == delimiter:
            return "\n".join(value)
        value.append(line)
    hint = "; it must stand in a line of its own" if any(line.endswith(delimiter) for line in value) else ""
    raise FileError(f"the value of {_shown(name)} does not end: no line is {_shown(delimiter)}{hint}")


def _text(data: bytes) -> str:
    text = data.decode("utf-8-sig", "replace")
    if "\0" in text:
        raise FileError("it holds a NUL; write it in UTF-8")
    return text


def _shown(text: str) -> str:
    """A text as part of a line; the value that it may hold is masked with the log."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "\N{HORIZONTAL ELLIPSIS}")
