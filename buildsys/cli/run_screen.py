"""The lower end of a terminal, redrawn in place: what runs now, below what stays.

Where nothing is redrawn (a pipe, a dumb terminal, `--verbose`) there is only what stays.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import NoReturn

from buildsys.cli.terminal import Terminal, harmless

EVERY = 0.1
"""Seconds between two drawings."""

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

Now = Callable[[str, int], Sequence[str]]
"""What runs now, given a sign that turns and how many lines there may be."""


class Screen:
    """Prints what stays, and with `now` what runs below it, until `close`."""

    def __init__(self, terminal: Terminal, now: Now | None) -> None:
        self._terminal = terminal
        self._now = now
        self._drawn = 0

    def say(self, text: str) -> None:
        """Print what stays."""
        self._clear()
        self._terminal.say(text)

    def note(self, text: str) -> None:
        """The same, of what is only said about the answer."""
        self._clear()
        sys.stdout.flush()
        self._terminal.note(text, color="yellow")

    async def keep_drawing(self) -> NoReturn:
        while True:
            self._draw()
            await asyncio.sleep(EVERY)

    def close(self) -> None:
        self._now = None
        self._clear()
        sys.stdout.flush()

    def _draw(self) -> None:
        if self._now is None:
            return
        width, height = shutil.get_terminal_size()
        sign = SPINNER[int(time.monotonic() / EVERY) % len(SPINNER)]
        lines = [cut(line, width - 1) for line in self._now(sign, max(1, height // 2))][: height - 1]
        self._clear()
        self._drawn = len(lines)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()

    def _clear(self) -> None:
        """Take away what is drawn (ECMA-48: CPL, ED)."""
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}F\x1b[0J")
            self._drawn = 0


def cut(text: str, width: int) -> str:
    """As much of a text as a terminal shows in so many columns, without what could move its cursor."""
    columns = 0
    kept = []
    for character in harmless(text.expandtabs(), color=False).replace("\r", " "):
        columns += _columns(character)
        if columns > width:
            break
        kept.append(character)
    return "".join(kept)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
