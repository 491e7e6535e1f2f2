"""`buildsys token`: create, list and revoke API tokens."""

from __future__ import annotations

from typing import Any

import click

from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain


@click.group()
def token() -> None:
    """Create, list and revoke API tokens.

    \b
    Example:
      buildsys token create laptop --expires-in-days 90
    """


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["admin", "runner"]), default="admin", show_default=True, help="What it may.")
@click.option("--expires-in-days", type=click.IntRange(min=1), help="When it ends; else when it is revoked.")
@api_command
async def create(session: Session, name: str, role: str, expires_in_days: int | None) -> None:
    """Create a token and print it, once: it cannot be shown again.

    \b
    Examples:
      buildsys token create laptop --expires-in-days 90
      buildsys token create build-host --role runner > runner.token
    """
    body: dict[str, Any] = {"name": name, "role": role}
    if expires_in_days is not None:
        body["expires_in_days"] = expires_in_days
    made = await session.client.post("/tokens", body)
    if session.json:
        session.terminal.answer(made)
        return
    session.terminal.say(made["token"])
    session.terminal.note(f"Keep it well: it is not shown again. To end it: buildsys token revoke {made['id']}")


@token.command(name="list")
@api_command
async def list_(session: Session) -> None:
    """List the tokens, without themselves.

    \b
    Example:
      buildsys token list
    """
    answer = await session.client.get("/tokens")
    found: list[dict[str, Any]] = answer["tokens"]
    if session.json:
        session.terminal.answer(found)
        return
    rows = [[each["id"], plain(each["name"]), each["role"], _when(each["last_used_at"]), _end(each)] for each in found]
    session.terminal.table(["id", "name", "role", "last used", "ends"], rows)


@token.command()
@click.argument("id", type=click.UUID)
@api_command
async def revoke(session: Session, id: object) -> None:
    """End a token's validity, at once.

    \b
    Example:
      buildsys token revoke 0b9c1d7e-5a57-4d0c-9c1f-6f3a8a2f4f11
    """
    await session.client.delete(f"/tokens/{id}")
    if session.json:
        session.terminal.answer({"revoked": str(id)})
    else:
        session.terminal.say(f"Token {id} is revoked.")


def _when(at: str | None) -> str:
    return at[:16].replace("T", " ") if at else "never"


def _end(token: dict[str, Any]) -> str:
    return f"revoked {_when(token['revoked_at'])}" if token["revoked_at"] else _when(token["expires_at"])
