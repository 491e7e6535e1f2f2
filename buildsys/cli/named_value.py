"""What `buildsys secret` and `buildsys variable` have in common: whose a value is, and how it goes through the API."""

from __future__ import annotations

from typing import Any

import click

from buildsys.cli.naming import value_path
from buildsys.cli.session import Session

of_project = click.option("--project", metavar="PROJECT", help="One project's own; else for all projects.")


async def put(session: Session, kind: str, name: str, value: str, project: str | None) -> None:
    entry = await session.client.put(value_path(kind, name, project), {"value": value})
    _answer(session, entry, f"{kind.capitalize()} {entry['name']} is set for {_scope(project)}.")


async def found(session: Session, kind: str, project: str | None, *, how: str) -> list[dict[str, Any]]:
    """All there are, to be shown as a table; none where that has been answered already. `how` sets the first."""
    entries: list[dict[str, Any]] = (await session.client.get(value_path(kind, None, project)))[f"{kind}s"]
    if session.json:
        session.terminal.answer(entries)
        return []
    if not entries:
        session.terminal.say(f"There are none yet. Set one: {how}")
    return entries


async def remove(session: Session, kind: str, name: str, project: str | None) -> None:
    await session.client.delete(value_path(kind, name, project))
    _answer(
        session,
        {"removed": name.upper()},
        f"{kind.capitalize()} {name.upper()} is removed from {_scope(project)}.",
    )


def _answer(session: Session, entry: Any, sentence: str) -> None:
    if session.json:
        session.terminal.answer(entry)
    else:
        session.terminal.say(sentence)


def _scope(project: str | None) -> str:
    return f"project {project}" if project else "all projects"
