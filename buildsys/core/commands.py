"""Workflow commands in a step's output that say something about the log: groups and annotations.

    ::group::TITLE                     the following lines belong together ...
    ::endgroup::                       ... up to here
    ::error file=F,line=N::MESSAGE     also warning, notice and debug; more properties: endLine, col, endColumn, title

In values `%25`, `%0D`, `%0A` stand for `%`, CR, LF, and in properties `%3A`, `%2C` for `:`, `,` as well. Which lines
are commands is told in `buildsys.runner.commands`; what is none of these stays a line like any other.

Source of the rules: GitHub's documentation, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec

MAX_ANNOTATIONS = 50
"""Of one level, and of one step; GitHub shows 10."""

MAX_GROUPS = 1000
"""Of one step."""

MAX_TEXT = 4096
"""Characters of a message; what is longer is cut, and stands whole in the log."""

MAX_NAME = 512
"""Characters of a title, and of a property."""

MAX_COMMANDS = 2 * MAX_GROUPS + 4 * MAX_ANNOTATIONS
"""Of one step."""

Level = Literal["error", "warning", "notice", "debug"]

_LEVELS: dict[bytes, Level] = {b"error": "error", b"warning": "warning", b"notice": "notice", b"debug": "debug"}
_NUMBERS = {"line": "file_line", "endline": "end_line", "col": "column", "endcolumn": "end_column"}

_ESCAPED = re.compile(rb"%[0-9A-F]{2}")
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


def log_command(
    name: bytes, properties: bytes, value: bytes, *, line: int, mask: Callable[[str], str] = str
) -> LogCommand | None:
    """What a command says about the log, if anything. The name is in small letters, the rest as it was printed.

    `mask` takes out of each text what must not be said, before it is cut.
    """
    if name == b"group":
        return LogCommand(line=line, kind="group_started", title=_cut(mask(text_of(value)), MAX_NAME))
    if name == b"endgroup":
        return LogCommand(line=line, kind="group_ended")
    level = _LEVELS.get(name)
    if level is None:
        return None
    known = parameters(properties, mask)
    numbers = {_NUMBERS[key]: number for key in _NUMBERS if (number := _number(known.get(key))) is not None}
    return LogCommand(
        line=line,
        kind="annotation",
        level=level,
        message=_cut(mask(text_of(value)), MAX_TEXT),
        title=known.get("title"),
        file=known.get("file"),
        **numbers,
    )


def unescape(value: bytes, escaped: Mapping[bytes, bytes] = _IN_VALUES) -> bytes:
    """What an escaped value stands for."""
    return _ESCAPED.sub(lambda found: escaped.get(found[0], found[0]), value)


def parameters(text: bytes, mask: Callable[[str], str] = str) -> dict[str, str]:
    """The parameters of a command by their names in small letters, masked and then cut where they are too long."""
    found: dict[str, str] = {}
    for part in text.split(b","):
        key, equals, value = part.partition(b"=")
        if equals:
            found[key.decode("utf-8", "replace").strip().lower()] = _cut(mask(text_of(value, _IN_PROPERTIES)), MAX_NAME)
    return found


def text_of(data: bytes, escaped: Mapping[bytes, bytes] = _IN_VALUES) -> str:
    """The text that an escaped value stands for; NULs, which no database takes, replaced."""
    return unescape(data, escaped).decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "\N{HORIZONTAL ELLIPSIS}"


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text)
