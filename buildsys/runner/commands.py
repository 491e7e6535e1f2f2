"""Workflow commands in a step's output: which of its lines are commands. Nothing else decides that.

The rules are those of GitHub's runner. A line ends with LF or CR. It is a command if it begins, white space aside, with
`::NAME::`; a space in NAME begins properties, and names are the same in any case. After `::stop-commands::TOKEN` no
line of the step is one until `::TOKEN::`; a TOKEN that could not end that is not heard. The last line of a step is one
without an end, too.

Masks are read from the output as it was printed, and what is told of groups and annotations from the output as it is
shown: no secret can be in that but one that has other escapes than a form of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
from ahocorasick_rs import BytesAhoCorasick

from buildsys.core.commands import MAX_ANNOTATIONS, MAX_GROUPS, LogCommand, log_command, unescape

ADD_MASK = b"add-mask"
STOP_COMMANDS = b"stop-commands"

LONGEST_HEAD = 4096
"""Bytes at the beginning of a line that must say which command it is, so that little of an open line is remembered."""

LONGEST_VALUE = 16 << 10
"""Bytes that are remembered of a value. A key or a configuration file has some thousand."""

STRIDE = 64 << 10
"""Bytes that are searched at a time: all that is found in them takes memory."""

_HEARD = frozenset({ADD_MASK, STOP_COMMANDS, *b"group endgroup error warning notice debug".split()})
_GROUPS = frozenset({b"group", b"endgroup"})
_COMMANDS = _HEARD.union(
    b"add-matcher add-path echo internal-set-repo-path pause-logging remove-matcher resume-logging save-state set-env "
    b"set-output".split()
)
_HEAD = re.compile(
    rb"[\r\n][ \t\v\f]*::"
    rb"(?P<name>[^\s:]*(?::(?!:)[^\s:]*)*)"
    rb"(?: (?P<properties>[^\r\n:]*(?::(?!:)[^\r\n:]*)*))?::"
)
"""The end of the line before, and all of a command but its value. What it goes back to fails at once: it is linear."""
_STARTS = BytesAhoCorasick(space + b"::" for space in (b"\r", b"\n", b" ", b"\t", b"\v", b"\f"))
"""Few places of an output are like that, and they are found at the memory's speed."""

_TOKEN = re.compile(rb"[^\s:]*(?::[^\s:]+)*")
_LINE_END = re.compile(rb"[\r\n]")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command as it was printed, but for a name in small letters. The value was at [start, end) of the output.

    No more than `LONGEST_VALUE` bytes of it are here.
    """

    name: bytes
    properties: bytes
    value: bytes
    start: int
    end: int

    @property
    def is_whole(self) -> bool:
        return self.end - self.start == len(self.value)


class OpenCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose line has not ended yet. `start` is where its value began."""

    name: bytes
    properties: bytes
    start: int
    value: bytearray

    def close(self, end: int) -> Command:
        return Command(name=self.name, properties=self.properties, value=bytes(self.value), start=self.start, end=end)


class CommandReader:
    """Reads a step's output, piece by piece. However it is cut into pieces, the commands are the same.

    `position` is how far it has read, `heard` are the commands that it reads.
    """

    def __init__(self, *, position: int = 0, heard: frozenset[bytes] = _HEARD) -> None:
        self._heard = heard
        self.position = position
        self.open: OpenCommand | None = None
        self._line = b"\n"
        self._token: bytes | None = None

    def read(self, data: bytes) -> list[Command]:
        """Read on, and return the commands whose lines have ended with that."""
        self.position += len(data)
        text, found = self._line + data, list[Command]()
        for head in _heads(text, self._read_value(text, 0, found)):
            if self._is_heard(head):
                start = self.position - len(text) + head.end()
                self.open = OpenCommand(
                    name=head["name"].lower(), properties=head["properties"] or b"", start=start, value=bytearray()
                )
                self._read_value(text, head.end(), found)
        line = max(text.rfind(b"\n"), text.rfind(b"\r"))
        is_short = line >= 0 and len(text) - line - 1 <= LONGEST_HEAD
        self._line = text[line:] if is_short and self.open is None else b""
        return found

    def end(self) -> list[Command]:
        """The step has ended, and with it its last line."""
        found = list[Command]()
        if self.open is not None:
            self._close(self.position, found)
        return found

    def _is_heard(self, head: re.Match[bytes]) -> bool:
        name = head["name"].lower()
        if self._token is not None:
            self._token = None if name == self._token else self._token
            return False
        return name in self._heard

    def _read_value(self, text: bytes, at: int, found: list[Command]) -> int:
        """Read the open command's value on, if there is one, and return where it ends."""
        if self.open is None:
            return at
        ended = _LINE_END.search(text, at)
        end = ended.start() if ended is not None else len(text)
        self.open.value.extend(text[at : min(end, at + LONGEST_VALUE - len(self.open.value))])
        if ended is not None:
            self._close(self.position - len(text) + end, found)
        return end

    def _close(self, end: int, found: list[Command]) -> None:
        assert self.open is not None
        command, self.open = self.open.close(end), None
        if command.name != STOP_COMMANDS:
            found.append(command)
        elif command.is_whole:
            self._stop(unescape(command.value).lower())

    def _stop(self, token: bytes) -> None:
        if token and len(b"::%b::" % token) <= LONGEST_HEAD and _TOKEN.fullmatch(token) and token not in _COMMANDS:
            self._token = token


def _heads(text: bytes, at: int) -> Iterator[re.Match[bytes]]:
    """What may be commands in the lines whose ends before them are in `text`, from `at` on."""
    view = memoryview(text)
    for stride in range(at, len(text), STRIDE):
        for _, first, _ in _STARTS.find_matches_as_indexes(view[stride : stride + STRIDE + 2]):
            if (start := stride + first) < at:
                continue
            least = max(at, start - LONGEST_HEAD)
            line = max(text.rfind(b"\n", least, start + 1), text.rfind(b"\r", least, start + 1))
            head = _HEAD.match(text, line) if line >= 0 else None
            if head is not None and len(head[0]) - 1 <= LONGEST_HEAD:
                yield head
            ended = _LINE_END.search(text, start + 1)
            at = ended.start() if ended is not None else len(text)


class LogCommands:
    """What the commands of one step say about its log. It is given the log as it is shown, batch by batch.

    What stands there escaped may be a secret only once it is unescaped: so `mask` is asked about each text again.
    """

    def __init__(self, *, mask: Callable[[str], str] = str) -> None:
        self._mask = mask
        self._reader = CommandReader()
        self._found: Counter[bytes] = Counter()

    def read(self, text: bytes, *, complete: bool = False) -> tuple[LogCommand, ...]:
        """What is said in the next batch. Of a line that was parted, its last part counts as the command's line.

        With a `complete` log the last line ends.
        """
        begin = self._reader.position
        commands = self._reader.read(text) + (self._reader.end() if complete else [])
        said = list[LogCommand]()
        at = line = 0
        for command in commands:
            line, at = line + text.count(b"\n", at, command.end - begin), command.end - begin
            if not self._has_room(command.name):
                continue
            saying = log_command(command.name, command.properties, command.value, line=line, mask=self._mask)
            if saying is not None:
                said.append(saying)
        return tuple(said)

    def _has_room(self, name: bytes) -> bool:
        self._found[name] += 1
        return self._found[name] <= (MAX_GROUPS if name in _GROUPS else MAX_ANNOTATIONS)
