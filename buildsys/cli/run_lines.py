"""A step's output, as it comes in batches, made into lines to be shown: groups indented, annotations in words."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec
import zstandard

from buildsys.cli.terminal import plain
from buildsys.core.assignment import FRAME_LIMIT
from buildsys.core.commands import LogCommand

LEVELS = {"error": "red", "warning": "yellow", "notice": "cyan", "debug": "bright_black"}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is what the step printed, unless `command` says what that meant; `depth` counts the groups around it."""

    text: str
    depth: int = 0
    command: LogCommand | None = None


class StepLines:
    """Cuts the batches of one step into lines; one that is not ended yet waits for its rest."""

    def __init__(self) -> None:
        self._open = ""
        self._depth = 0

    def feed(self, frame: bytes, commands: tuple[LogCommand, ...]) -> Iterator[Line]:
        """The lines that end in this batch, but for those that only end a group."""
        known = {command.line: command for command in commands}
        *ended, rest = unfolded(frame).split("\n")
        for number, part in enumerate(ended):
            line, self._open = self._open + part, ""
            if (made := self._line(line.removesuffix("\r"), known.get(number))) is not None:
                yield made
        self._open += rest

    def end(self) -> Iterator[Line]:
        """The line that was never ended, if there is one."""
        if self._open:
            yield Line(text=self._open, depth=self._depth)
            self._open = ""

    def _line(self, text: str, command: LogCommand | None) -> Line | None:
        line = Line(text=text, depth=self._depth, command=command)
        if command is None:
            return line
        if command.kind == "group_started":
            line = msgspec.structs.replace(line, depth=0)
            self._depth = 1
        elif command.kind == "group_ended":
            self._depth = 0
            return None
        return line


def unfolded(frame: bytes) -> str:
    """What a batch of the log holds."""
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=FRAME_LIMIT).decode(errors="replace")


def shown(line: Line) -> str:
    """The line for a person; control characters of its text are still in it."""
    command = line.command
    if command is None:
        return "  " * line.depth + line.text
    if command.kind == "group_started":
        return click.style(f"▸ {plain(command.title or '')}", bold=True)
    return "  " * line.depth + annotation(command)


def annotation(command: LogCommand) -> str:
    """`error: MESSAGE (FILE:LINE)`."""
    level = command.level or "notice"
    place = ":".join(str(part) for part in (command.file, command.file_line, command.column) if part is not None)
    words = ": ".join(plain(text) for text in (command.title, command.message) if text)
    return f"{click.style(f'{level}:', fg=LEVELS[level])} {words}{f' ({plain(place)})' if place else ''}"
