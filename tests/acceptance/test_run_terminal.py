"""`buildsys run` on a terminal: what stays on the screen, and what is seen only while it runs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from pathlib import Path

import pytest
from run_place import Place

WORKFLOW = """
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {name: Good, run: 'echo seen while it runs; sleep 1'}
      - {name: Bad, run: 'printf "\\033[31mred\\033[0m \\033[2Jstays\\n"; exit 1'}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write({".buildsys.yml": WORKFLOW})
    return place


async def test_output_stays_where_a_step_failed(place: Place) -> None:
    printed = await on_a_terminal(place)
    stayed = screen(printed)
    assert "seen while it runs" in printed
    assert not any("seen while it runs" in line for line in stayed)
    good, bad = (next(number for number, line in enumerate(stayed) if name in line) for name in ("✓ Good", "✗ Bad"))
    assert (bad, stayed[bad + 1].strip()) == (good + 1, "red stays")
    assert "\x1b[31mred\x1b[0m stays" in printed
    assert "\x1b[2J" not in printed


async def test_verbose_lets_all_of_it_stay(place: Place) -> None:
    assert "  seen while it runs" in screen(await on_a_terminal(place, "--verbose"))


async def test_no_colors_where_they_are_not_wanted(tmp_path: Path) -> None:
    place = Place(tmp_path, NO_COLOR="1")
    place.write({".buildsys.yml": WORKFLOW})
    assert re.findall(r"\x1b\[[0-9;]*m", await on_a_terminal(place)) == []


async def test_a_pipe_gets_all_output_and_no_control_sequences_of_ours(place: Place) -> None:
    ended = await place.run()
    assert "  seen while it runs\n" in ended.text
    assert "\x1b" not in ended.text.replace("\x1b[2J", "")


async def on_a_terminal(place: Place, *arguments: str) -> str:
    """Everything that is sent to a terminal of 24 lines and 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await place.start(*arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    printed = b""
    try:
        async with asyncio.timeout(60):
            while chunk := await asyncio.to_thread(_read, ours):
                printed += chunk
            await process.wait()
    finally:
        os.close(ours)
    return printed.decode().replace("\r\n", "\n")


def screen(printed: str) -> list[str]:
    """The lines that are on the terminal at the end."""
    lines = [""]
    for part in re.split(r"(\n|\x1b\[\d+F\x1b\[0J)", printed):
        if part == "\n":
            lines.append("")
        elif up := re.fullmatch(r"\x1b\[(\d+)F\x1b\[0J", part):
            lines = [*lines[: -int(up[1]) - 1], ""]
        else:
            lines[-1] += re.sub(r"\x1b\[[0-9;]*m", "", part)
    return lines


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to tell that nobody is at the other end any more
        return b""
