"""`buildsys doctor`: this machine, examined."""

from __future__ import annotations

import asyncio
import os

import click
import msgspec

from buildsys.cli.configured import config_command
from buildsys.cli.terminal import Terminal, plain
from buildsys.config import Config

EXAMINED = frozenset(
    {"data_dir", "secret_key_file", "database_url", "listen", "roles", "driver", "docker_host", "blobs"}
    | {"server_url", "token_file"}
)
SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command()
@config_command(EXAMINED, spelling={"server_url": "--server"})
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")
def doctor(config: Config, as_json: bool) -> int:
    """Examine this machine and say what is missing. The exit code is 1 where something must be mended before a start.

    \b
    Examples:
      buildsys doctor
      buildsys doctor --driver process --json
      buildsys doctor --roles runner --server https://ci.example.org --token-file runner.token
    """
    from buildsys.doctor import examine

    terminal = Terminal(json=as_json, environ=os.environ)
    checks = asyncio.run(examine(config))
    if as_json:
        terminal.answer(msgspec.to_builtins(checks))
    for check in checks if not as_json else ():
        sign, color = SIGNS[check.status]
        terminal.say(f"{click.style(sign, fg=color)} {check.name}: {plain(check.detail)}")
        if check.way_out:
            terminal.say(f"    {plain(check.way_out)}")
    return int(any(check.status == "fail" for check in checks))
