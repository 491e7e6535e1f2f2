"""Lines of a log that match, as they are found."""

from __future__ import annotations

from typing import Any

import click

from buildsys.cli.session import Session
from buildsys.cli.terminal import harmless

PAGE = 1000


async def print_hits(session: Session, path: str, **query: Any) -> bool:
    """Print all hits, each with its cursor; False where there are none."""
    found = False
    while True:
        page = await session.client.get(path, limit=PAGE, **query)
        found |= bool(page["hits"])
        for hit in page["hits"]:
            if session.json:
                session.terminal.answer(hit)
            elif session.terminal.interactive:
                session.terminal.say(f"{click.style(hit['cursor'], fg='green')}: {_highlighted(hit)}")
            else:
                click.echo(f"{hit['cursor']}: {_clipped(hit, hit['text'])}", color=True)
        if page["stopped"] is None:
            return found
        query |= {"after": page["next"], "tail": None}


def _highlighted(hit: dict[str, Any]) -> str:
    """The text without its own colours, and with ours where it matches."""
    text, shown, position = hit["text"], "", 0
    for begin, end in hit["matches"]:
        shown += harmless(text[position:begin], color=False)
        shown += click.style(harmless(text[begin:end], color=False), fg="red", bold=True)
        position = end
    return _clipped(hit, shown + harmless(text[position:], color=False))


def _clipped(hit: dict[str, Any], text: str) -> str:
    return "…" * ("before" in hit) + text + "…" * ("behind" in hit)
