"""The README as tests read it: its blocks and its tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"^```(?P<info>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language, each with the word behind it, which says in which state its commands run."""
    found = ((block["info"].split(), block["text"]) for block in _BLOCK.finditer(TEXT))
    return [(" ".join(words[1:]), text) for words, text in found if words[0] == language]


def block(language: str, *, containing: str) -> str:
    """The one block of a language that contains a text."""
    (found,) = [text for _, text in blocks(language) if containing in text]
    return found


def table(header: str) -> list[str]:
    """The rows of the table with this header, as they are written."""
    lines = TEXT.splitlines()
    rest = lines[lines.index(header) + 2 :]
    end = next(number for number, line in enumerate(rest) if not line.startswith("|"))
    return rest[:end]
