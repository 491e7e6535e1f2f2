"""`buildsys variable`: set, list and remove the variables of builds."""

from __future__ import annotations

import click

from buildsys.cli.named_value import found, of_project, put, remove
from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain

SHOWN = 60
"""Characters of a value in a table."""


@click.group()
def variable() -> None:
    """Set, list and remove the variables of builds.

    A workflow names a variable with ${{ vars.NAME }}. A project's own stands before that of all projects. What is
    secret is a secret: buildsys secret --help.

    \b
    Example:
      buildsys variable set REGION eu-central --project hello
    """


@variable.command(name="set")
@click.argument("name")
@click.argument("value")
@of_project
@api_command
async def set_(session: Session, name: str, value: str, project: str | None) -> None:
    """Set or replace a variable.

    \b
    Examples:
      buildsys variable set REGION eu-central
      buildsys variable set REGION eu-west --project hello
    """
    await put(session, "variable", name, value, project)


@variable.command(name="list")
@of_project
@api_command
async def list_(session: Session, project: str | None) -> None:
    """List the variables: those of all projects, or those that hold for one.

    \b
    Examples:
      buildsys variable list
      buildsys variable list --project hello --json
    """
    if entries := await found(session, "variable", project, how="buildsys variable set NAME VALUE"):
        rows = [[each["name"], _short(each["value"]), each["scope"], plain(each["set_by"])] for each in entries]
        session.terminal.table(["name", "value", "of", "by token"], rows)


@variable.command()
@click.argument("name")
@of_project
@api_command
async def rm(session: Session, name: str, project: str | None) -> None:
    """Remove a variable; in expressions it is empty from then on.

    \b
    Example:
      buildsys variable rm REGION --project hello
    """
    await remove(session, "variable", name, project)


def _short(value: str) -> str:
    shown = plain(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
