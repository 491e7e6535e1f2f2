"""What may be shown to a person, and how.

What builds print and what commits say comes from strangers. On a terminal such text may set colours and nothing else:
every other control sequence could move the cursor, retitle the window or answer in the user's name, and is left out. So
is what shows the rest of a line in another order than it has.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

COLORS = {
    "success": "green",
    "failed": "red",
    "errored": "magenta",
    "timed_out": "yellow",
    "canceled": "yellow",
    "skipped": "bright_black",
    "running": "cyan",
    "starting": "cyan",
}
MARKS = {"success": "✓", "skipped": "-", "failed": "✗", "errored": "!", "timed_out": "✗", "canceled": "✗"}

# Embeddings, overrides and isolates. Source: Unicode Standard Annex #9, §2; their harm: CVE-2021-42574.
_BIDIRECTIONAL = "\u202a-\u202e\u2066-\u2069"

# Source of the grammar: ECMA-48, 5th edition, §5.3 to §5.6 and §8.3.117 (SGR). An unended string loses its start only.
_COLOR = r"\x1b\[[0-9;:]*m"
_CONTROL = re.compile(
    rf"(?P<color>{_COLOR})"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    rf"|[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f-\x9f{_BIDIRECTIONAL}]"
)
_UNESCAPED = re.compile(rf"[\x7f-\x9f{_BIDIRECTIONAL}]")


def harmless(line: str, *, color: bool) -> str:
    """A line of a log without control sequences but colours (none with `color=False`), tabs and carriage returns.

    Colours end with the line.
    """
    cleaned = _CONTROL.sub(lambda found: found["color"] or "" if color else "", line)
    return f"{cleaned}\x1b[0m" if "\x1b" in cleaned else cleaned


def plain(text: object) -> str:
    """A value within a line of ours: no control character is left, what was several lines is one."""
    return " ".join(_CONTROL.sub(" ", str(text)).split())


class Terminal:
    """Where a command's answer goes: stdout for what was asked for, stderr for what is said about it.

    Colours appear on a terminal only, and not where NO_COLOR is set (https://no-color.org).
    """

    def __init__(self, *, json: bool, environ: Mapping[str, str]) -> None:
        wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self.json = json
        self.interactive = sys.stdout.isatty()
        self.color = wanted and self.interactive
        self._note_color = wanted and sys.stderr.isatty()

    def answer(self, value: Any) -> None:
        """Print a value as one line of JSON, without a control character: JSON itself lets DEL, C1 and more through."""
        text = json.dumps(value, ensure_ascii=False)
        click.echo(_UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def say(self, text: str = "") -> None:
        click.echo(text, color=self.color)

    def note(self, text: str, *, color: str | None = None) -> None:
        """Say something about the answer, beside it."""
        click.echo(click.style(text, fg=color), err=True, color=self._note_color)

    def log(self, lines: Sequence[str], *, end: str = "\n") -> None:
        """Print lines of a build's log: as they are into a pipe, without what could drive a terminal onto one."""
        shown = [harmless(line, color=self.color) for line in lines] if self.interactive else lines
        click.echo("\n".join(shown) + end, nl=False, color=True)

    def word(self, state: str) -> str:
        """A state or an outcome in its colour."""
        return click.style(state, fg=COLORS.get(state))

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as their widest cell; cells may be coloured."""
        lines = [[click.style(title, dim=True) for title in titles], *map(list, rows)]
        widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*lines, strict=True)]
        for line in lines:
            padded = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(line, widths, strict=True))
            self.say("  ".join(padded).rstrip())
