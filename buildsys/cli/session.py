"""What each command of a running installation shares: which server, which token, text or JSON.

An option wins over its variable, and that over what `buildsys up` left in the local data folder. The local
administrator's token is sent to the local server only, never to one that was named.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildsys.cli.terminal import Terminal
from buildsys.errors import NotFound, Unauthorized

if TYPE_CHECKING:
    from buildsys.cli.client import Client

SERVER_FILE = "server.url"
TOKEN_FILE = "admin.token"  # noqa: S105 - a file's name


class Session:
    """The open connection of a command, and where its answer goes."""

    def __init__(self, *, client: Client, terminal: Terminal) -> None:
        self.client = client
        self.terminal = terminal

    @property
    def json(self) -> bool:
        return self.terminal.json


def api_command(function: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., int | None]:
    """Make a command of an async function that gets a `Session` first; what it returns is the exit code."""

    @click.option(
        "--server", envvar="BUILDSYS_SERVER", metavar="URL", help="The API; else BUILDSYS_SERVER, else local."
    )
    @click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file with the API token; else BUILDSYS_TOKEN.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")
    @functools.wraps(function)
    def command(
        *arguments: Any, server: str | None, token_file: Path | None, as_json: bool, **options: Any
    ) -> int | None:
        async def run() -> int | None:
            from buildsys.cli.client import Client

            url, token = connection(server, token_file, os.environ)
            async with Client(url, token) as client:
                session = Session(client=client, terminal=Terminal(json=as_json, environ=os.environ))
                return await function(session, *arguments, **options)

        return asyncio.run(run())

    return command


def connection(server: str | None, token_file: Path | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """The server's URL and the token to show it. Raises `NotFound` and `Unauthorized` where one is not to be had."""
    from buildsys.private_files import read_private
    from buildsys.settings import data_home

    data = Path(environ.get("BUILDSYS_DATA_DIR") or data_home(environ) / "buildsys")
    local = (data / SERVER_FILE).read_text().strip() if (data / SERVER_FILE).is_file() else None
    url = server or local
    if url is None:
        raise NotFound(
            f"There is no running server in {data}. Start one with “buildsys up”, or name one with --server URL."
        )
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"--server: expected an http:// or https:// URL, not {url!r}.")
    if token_file is not None:
        token = token_file.read_text().strip()
    elif not (token := environ.get("BUILDSYS_TOKEN", "").strip()) and url == local:
        token = read_private(data / TOKEN_FILE).decode().strip()
    if not token:
        raise Unauthorized(f"There is no token for {url}. Give --token-file FILE, or set BUILDSYS_TOKEN.")
    return url.rstrip("/"), token
