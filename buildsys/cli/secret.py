"""`buildsys secret`: set, list and remove the secrets of builds."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from buildsys.cli.named_value import found, of_project, put, remove
from buildsys.cli.session import Session, api_command
from buildsys.cli.terminal import plain


@click.group()
def secret() -> None:
    """Set, list and remove the secrets of builds.

    A workflow names a secret with ${{ secrets.NAME }}. A project's own stands before that of all projects. Values are
    encrypted in the database and never shown again.

    \b
    Example:
      buildsys secret set DEPLOY_KEY --project hello --from-file deploy.key
    """


@secret.command(name="set", context_settings={"allow_extra_args": True})
@click.argument("name")
@of_project
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the value, taken as it is.",
)
@api_command
async def set_(session: Session, name: str, project: str | None, from_file: Path | None) -> None:
    """Set or replace a secret; the value is asked for, or read from stdin.

    Of stdin the last line's end is left out, of a file nothing. A value has at most 48 KiB of text; of other bytes
    store what base64 makes of them. NAME has letters, digits and _, and means the same in upper and lower case.

    \b
    Examples:
      buildsys secret set REGISTRY_TOKEN
      buildsys secret set REGISTRY_TOKEN < token.txt
      buildsys secret set DEPLOY_KEY --project hello --from-file deploy.key
    """
    from buildsys.core.secret_names import check_value, stored_name

    if click.get_current_context().args or "=" in name:
        raise click.UsageError(
            "A value among the arguments can be read by everyone on this machine, and stays in the shell's history: "
            "give NAME only, and the value on stdin or with --from-file. If what you typed was secret, replace it."
        )
    name = stored_name(name, "secret")
    value = _value(name, from_file)
    check_value(value, name)
    await put(session, "secret", name, value, project)


@secret.command(name="list")
@of_project
@api_command
async def list_(session: Session, project: str | None) -> None:
    """List the secrets, never their values: those of all projects, or those that hold for one.

    \b
    Examples:
      buildsys secret list
      buildsys secret list --project hello
    """
    if entries := await found(session, "secret", project, how="buildsys secret set NAME"):
        rows = [
            [each["name"], each["scope"], each["set_at"][:16].replace("T", " "), plain(each["set_by"])]
            for each in entries
        ]
        session.terminal.table(["name", "of", "set (UTC)", "by token"], rows)


@secret.command()
@click.argument("name")
@of_project
@api_command
async def rm(session: Session, name: str, project: str | None) -> None:
    """Remove a secret. Builds that name it end at their start, and say so.

    \b
    Example:
      buildsys secret rm REGISTRY_TOKEN --project hello
    """
    await remove(session, "secret", name, project)


def _value(name: str, from_file: Path | None) -> str:
    """The value, from where it was offered. One that is too large is not read to its end."""
    from buildsys.core.secret_names import LARGEST_VALUE

    if from_file is None and sys.stdin.isatty():
        value: str = click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return value
    limit = LARGEST_VALUE + len(b"\r\n") + 1  # one more than may be
    if from_file is not None:
        with from_file.open("rb") as file:
            content = file.read(limit)
    else:
        content = sys.stdin.buffer.read(limit).removesuffix(b"\n").removesuffix(b"\r")
    if len(content) > LARGEST_VALUE:
        raise click.UsageError(f"The value has more than {LARGEST_VALUE} bytes (48 KiB).")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise click.UsageError("The value is not UTF-8 text: store what base64 makes of it.") from None
