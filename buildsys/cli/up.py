"""`buildsys up`, `runner` and `migrate`: the commands that are the system, not ask it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator

import click

from buildsys.cli.configured import INSTALLATION, config_command
from buildsys.cli.running import run_until_stopped
from buildsys.cli.session import TOKEN_FILE
from buildsys.cli.terminal import Terminal
from buildsys.config import Config
from buildsys.errors import SetupError
from buildsys.logging import configure

DRIVING = frozenset({"driver", "docker_host", "allow_local_repositories"})
RUNNER = frozenset({"data_dir", "server_url", "token_file", "slots", "labels", "log_format", "log_level"}) | DRIVING
DATABASE = frozenset({"data_dir", "database_url"})
PATIENCE = 10.0
"""Seconds that `migrate` waits for a database that is just starting."""


@click.command()
@config_command(INSTALLATION)
@click.option("--json", "as_json", is_flag=True, help="Say where it runs as JSON on stdout.")
def up(config: Config, as_json: bool) -> None:
    """Run an installation until Ctrl-C or SIGTERM: API, orchestrator and runner, with a Postgres of its own.

    Every option has a variable, shown in brackets; the option wins. Builds that run when it stops go on, and the next
    start takes them up again.

    \b
    Examples:
      buildsys up
      buildsys up --listen 0.0.0.0:8080 --public-url https://ci.example.org
      BUILDSYS_DATABASE_URL=postgresql://ci@db/ci buildsys up --roles api,orchestrator
    """
    configure(config.log_format, config.log_level, sys.stderr)
    with _named_errors():
        run_until_stopped(_up(config, Terminal(json=as_json, environ=os.environ)))


@click.command()
@config_command(RUNNER, fixed={"roles": "runner"}, spelling={"server_url": "--server"})
@click.option("--json", "as_json", is_flag=True, help="Say whom it works for as JSON on stdout.")
def runner(config: Config, as_json: bool) -> None:
    """Run builds for an installation elsewhere until Ctrl-C or SIGTERM. It dials out and listens nowhere.

    Make its token with “buildsys token create NAME --role runner”.

    \b
    Example:
      buildsys runner --server https://ci.example.org --token-file runner.token --slots 4
    """
    configure(config.log_format, config.log_level, sys.stderr)
    with _named_errors():
        run_until_stopped(_runner(config, Terminal(json=as_json, environ=os.environ)))


@click.command()
@config_command(DATABASE)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")
def migrate(config: Config, as_json: bool) -> None:
    """Bring the database to what this release needs. “buildsys up” does so too; this does nothing else.

    \b
    Example:
      BUILDSYS_DATABASE_URL=postgresql://ci@db/ci buildsys migrate
    """
    with _named_errors():
        applied = asyncio.run(_migrate(config))
    terminal = Terminal(json=as_json, environ=os.environ)
    if as_json:
        terminal.answer({"applied": applied})
        return
    for name in applied:
        terminal.say(f"applied {name}")
    terminal.say("The database is what this release needs.")


async def _up(config: Config, terminal: Terminal) -> None:
    from buildsys.app import App

    async with App(config) as app:
        if terminal.json:
            terminal.answer({"url": app.url, "pid": os.getpid()})
        else:
            terminal.say(f"buildsys runs at {app.url}. Stop it with Ctrl-C.")
            if app.has_new_admin_token and terminal.interactive:  # what is no terminal may be a log
                terminal.say(f"The administrator's token, said this once: {app.admin_token}")
            terminal.say(
                f"The administrator's token is in {config.data_dir / TOKEN_FILE}; commands here find it there."
            )
        sys.stdout.flush()
        await app.wait()


async def _runner(config: Config, terminal: Terminal) -> None:
    from buildsys.app import App

    async with App(config) as app:
        if terminal.json:
            terminal.answer({"server": config.server_url, "pid": os.getpid()})
        else:
            terminal.say(f"This runner works for {config.server_url}. Stop it with Ctrl-C.")
        sys.stdout.flush()
        await app.wait()


async def _migrate(config: Config) -> list[str]:
    from actors import Database, migrate
    from buildsys.data_folder import DataFolder
    from buildsys.postgres import EmbeddedPostgres
    from buildsys.store.queries import PACKAGES

    async with contextlib.AsyncExitStack() as stack:
        url = config.database_url
        if url is None:
            folder = stack.enter_context(DataFolder(config.data_dir, secret_key_file=config.secret_key_file))
            url = (await stack.enter_async_context(EmbeddedPostgres(folder.part("postgres")))).dsn
        return await migrate(await stack.enter_async_context(Database(url, size=1, patience=PATIENCE)), PACKAGES)


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """What the durable objects say of a database that is away, or newer than we are, is an error of the set-up."""
    from actors import ActorsError

    try:
        yield
    except ActorsError as error:
        raise SetupError(f"{error}. See “buildsys doctor”.") from error
