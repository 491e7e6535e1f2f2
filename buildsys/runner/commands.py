"""The workflow commands that concern the log: `::add-mask::VALUE`, and those that stop and resume all commands.

The rules are those of GitHub's runner: a command is a line that begins, white space aside, with `::NAME::`; a space in
NAME begins properties; names are the same in any case; `%0D`, `%0A` and `%25` in a value are CR, LF and `%`. After
`::stop-commands::TOKEN` no line of the step is one until `::TOKEN::`; a TOKEN that could not end that is not heard.
"""

from __future__ import annotations

import re
from itertools import product

import msgspec
from ahocorasick_rs import BytesAhoCorasick, MatchKind

LONGEST_NAME = 1024
"""Bytes at the beginning of a line that must say which command it is, so that little of an open line is remembered."""

LONGEST_VALUE = 16 << 10
"""Bytes of the longest value. A key or a configuration file has some thousand."""

_COMMANDS = frozenset(
    b"add-mask add-matcher add-path debug echo endgroup error group internal-set-repo-path notice pause-logging "
    b"remove-matcher resume-logging save-state set-env set-output stop-commands warning".split()
)
_PROPERTIES = rb"(?: (?:(?!::)[^\r\n]){0,%d})?::" % LONGEST_NAME
_COMMAND = re.compile(rb"::(?:(?P<mask>add-mask)|stop-commands)" + _PROPERTIES, re.IGNORECASE)
_HEADS = BytesAhoCorasick(
    (b"::" + bytes(head) for name in (b"ad", b"st") for head in product(*zip(name.lower(), name.upper(), strict=True))),
    matchkind=MatchKind.LeftmostFirst,
)
_TOKEN = re.compile(rb"[^\s:]+")
_LINE_END = re.compile(rb"[\r\n]")


class AddMask(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is to be masked from `end` on, and was printed at [start, end); None if it was too long."""

    value: bytes | None
    start: int
    end: int


class CommandReader:
    """Reads a step's output, piece by piece. However it is cut into pieces, the commands are the same.

    `position` is how far it has read; `open` where a value began whose line has not ended yet.
    """

    def __init__(self, *, position: int = 0) -> None:
        self.position = position
        self.open: int | None = None
        self._value = bytearray()
        self._line: bytes | None = b""
        self._resume: re.Pattern[bytes] | None = None

    def read(self, data: bytes) -> list[AddMask]:
        """Read on, and return the masks that are complete with that."""
        self.position += len(data)
        masks: list[AddMask] = []
        if self.open is not None:
            data = data[self._read_value(data, 0, masks) :]
        elif self._line is None:
            ended = _LINE_END.search(data)
            data = data[ended.start() :] if ended is not None else b""
        else:
            data = self._line + data
        self._read_lines(data, masks)
        if data:
            line = data[max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 :]
            self._line = line if len(line) <= LONGEST_NAME else None
        return masks

    def end(self) -> list[AddMask]:
        """The step has ended, and with it its last line."""
        return [self._close_value(self.position)] if self.open is not None else []

    def _read_lines(self, text: bytes, masks: list[AddMask]) -> None:
        at = 0
        for _, start, _ in _HEADS.find_matches_as_indexes(text):
            if start >= at and self._resume is not None:
                at = self._find_resume(text, at)
            command = _COMMAND.match(text, start) if start >= at else None
            if command is None or (line := _line_start(text, command)) is None:
                continue
            if command["mask"]:
                self.open = self.position - len(text) + command.end()
                at = self._read_value(text, command.end(), masks)
            elif (ended := _LINE_END.search(text, command.end(), line + LONGEST_NAME + 1)) is not None:
                self._stop(_unescape(text[command.end() : ended.start()]))
                at = ended.end()
        if self._resume is not None:
            self._find_resume(text, at)

    def _read_value(self, text: bytes, at: int, masks: list[AddMask]) -> int:
        """Read a value on, and return where it ends."""
        ended = _LINE_END.search(text, at)
        end = ended.start() if ended is not None else len(text)
        self._value += text[at : min(end, at + LONGEST_VALUE + 1 - len(self._value))]
        if ended is not None:
            masks.append(self._close_value(self.position - len(text) + end))
        return end

    def _close_value(self, end: int) -> AddMask:
        assert self.open is not None
        value = _unescape(bytes(self._value)) if len(self._value) <= LONGEST_VALUE else None
        mask = AddMask(value=value, start=self.open, end=end)
        self.open = None
        self._value.clear()
        return mask

    def _stop(self, token: bytes) -> None:
        if _TOKEN.fullmatch(token) and token.lower() not in _COMMANDS:
            self._resume = re.compile(b"::" + re.escape(token) + _PROPERTIES, re.IGNORECASE)

    def _find_resume(self, text: bytes, at: int) -> int:
        """Where commands count again: the end of the text, if they do not."""
        assert self._resume is not None
        for command in self._resume.finditer(text, at):
            if _line_start(text, command) is not None:
                self._resume = None
                return command.end()
        return len(text)


def _line_start(text: bytes, command: re.Match[bytes]) -> int | None:
    """Where the line of a command begins; None if something is before it, or too much."""
    least = max(command.end() - LONGEST_NAME - 1, 0)
    start = max(text.rfind(end, least, command.start()) for end in (b"\n", b"\r")) + 1
    if command.end() - start > LONGEST_NAME or text[start : command.start()].strip():
        return None
    return start


def _unescape(value: bytes) -> bytes:
    return value.replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%")
