"""Workflow commands in a step's output that say something about the log: groups and annotations.

    ::group::TITLE                     the following lines belong together ...
    ::endgroup::                       ... up to here
    ::error file=F,line=N::MESSAGE     also warning, notice and debug; more properties: endLine, col, endColumn, title
    ::stop-commands::TOKEN             from here on nothing is a command ...
    ::TOKEN::                          ... up to here

A command is a whole line, white space before it aside. In values `%25`, `%0D`, `%0A` stand for `%`, CR, LF, and in
properties `%3A`, `%2C` for `:`, `,` as well. What is no command of these stays a line like any other; so does a command
whose line was parted between two batches, as one is that stays open for a second.

Source of the rules: GitHub's documentation, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec

MAX_ANNOTATIONS = 50
"""Of one level, and of one step; GitHub shows 10."""

MAX_GROUPS = 1000
"""Of one step."""

MAX_TEXT = 4096
"""Characters of a message; what is longer is cut, and stands whole in the log."""

MAX_NAME = 512
"""Characters of a title, of a property, and of a token."""

MAX_COMMANDS = 2 * MAX_GROUPS + 4 * MAX_ANNOTATIONS
"""Of one step."""

Level = Literal["error", "warning", "notice", "debug"]

_LINE = re.compile(
    rb"\n[ \t]*::(?P<name>[^\s:]{1,%d})(?: (?P<properties>[^\r\n]*?))?::(?P<value>[^\r\n]*)\r?(?=\n)" % MAX_NAME
)
"""A command, and the end of the line before it: what begins with one byte is found fast."""

_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "notice": "notice", "debug": "debug"}
_NUMBERS = {"line": "file_line", "endline": "end_line", "col": "column", "endcolumn": "end_column"}
_KNOWN = frozenset({*_LEVELS, "group", "endgroup", "stop-commands"})

_ESCAPED = re.compile(rb"%[0-9A-Fa-f]{2}")
_IN_VALUES = {b"%25": b"%", b"%0D": b"\r", b"%0A": b"\n"}
_IN_PROPERTIES = _IN_VALUES | {b"%3A": b":", b"%2C": b","}

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT + 1, pattern=r"\A[^\x00]*\Z")]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class LogCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command found at a line of a batch, counted from 0, and what it says."""

    line: Number
    kind: Literal["group_started", "group_ended", "annotation"]
    title: Text | None = None
    level: Level | None = None
    message: Text | None = None
    file: Text | None = None
    file_line: Number | None = None
    end_line: Number | None = None
    column: Number | None = None
    end_column: Number | None = None


class CommandScanner:
    """Finds the commands of one step in its output, batch by batch."""

    def __init__(self) -> None:
        self._token: str | None = None
        self._parted = False
        self._found: Counter[str] = Counter()

    def scan(self, text: bytes) -> tuple[LogCommand, ...]:
        """The commands in the next batch of output."""
        found = tuple(self._commands(text)) if b"::" in text else ()
        self._parted = not text.endswith(b"\n") if text else self._parted
        return found

    def _commands(self, text: bytes) -> Iterator[LogCommand]:
        if not self._parted:
            text = b"\n" + text
        counted, line = 0, int(self._parted)
        for match in _LINE.finditer(text):
            line, counted = line + text.count(b"\n", counted, match.start()), match.start()
            name = match["name"].decode("utf-8", "replace").lower()
            if self._token is not None:
                if name == self._token and not match["value"]:
                    self._token = None
                continue
            command = self._command(name, match, line)
            if command is not None and self._has_room(command):
                yield command

    def _command(self, name: str, match: re.Match[bytes], line: int) -> LogCommand | None:
        value = _text(match["value"], _IN_VALUES)
        if name == "stop-commands":
            token = value.strip().lower()
            self._token = token if token and token not in _KNOWN and len(token) <= MAX_NAME else None
            return None
        if name == "group":
            return LogCommand(line=line, kind="group_started", title=_cut(value, MAX_NAME))
        if name == "endgroup":
            return LogCommand(line=line, kind="group_ended")
        level = _LEVELS.get(name)
        if level is None:
            return None
        properties = _properties(match["properties"] or b"")
        numbers = {_NUMBERS[key]: number for key in _NUMBERS if (number := _number(properties.get(key))) is not None}
        return LogCommand(
            line=line,
            kind="annotation",
            level=level,
            message=_cut(value, MAX_TEXT),
            title=properties.get("title"),
            file=properties.get("file"),
            **numbers,
        )

    def _has_room(self, command: LogCommand) -> bool:
        of = command.level or command.kind
        self._found[of] += 1
        return self._found[of] <= (MAX_ANNOTATIONS if command.level else MAX_GROUPS)


def _properties(text: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(b","):
        key, equals, value = part.partition(b"=")
        if equals:
            found[key.decode("utf-8", "replace").strip().lower()] = _cut(_text(value, _IN_PROPERTIES))
    return found


def _text(data: bytes, escaped: Mapping[bytes, bytes]) -> str:
    """The text that an escaped value stands for; NULs, which no database takes, replaced."""
    text = _ESCAPED.sub(lambda found: escaped.get(found[0].upper(), found[0]), data)
    return text.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _cut(text: str, length: int = MAX_NAME) -> str:
    return text if len(text) <= length else text[:length] + "\N{HORIZONTAL ELLIPSIS}"


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text)
