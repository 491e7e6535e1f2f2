"""What goes wrong between the command line and a server: whose fault it is said to be, and with which code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cli_command import Command
from click.testing import CliRunner
from web_site import Site, serve

from actors import Database
from buildsys.cli import main
from buildsys.cli.client import Client
from buildsys.errors import Unavailable


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


@pytest.fixture
def buildsys(site: Site) -> Command:
    return Command(BUILDSYS_SERVER=site.url, BUILDSYS_TOKEN=site.admin_token)


async def test_what_the_server_refuses_is_one_line_and_exit_code_2(buildsys: Command, site: Site) -> None:
    missing = await buildsys("project", "show", "nothing", "--json")
    assert (missing.code, missing.output, len(missing.errors.splitlines())) == (2, b"", 1)
    assert "nothing" in missing.errors
    stranger = await Command(BUILDSYS_SERVER=site.url, BUILDSYS_TOKEN="bst_wrong")("project", "list")
    assert (stranger.code, "--token-file" in stranger.errors) == (2, True)
    assert "bst_wrong" not in stranger.errors
    elsewhere = await Command(BUILDSYS_SERVER=f"{site.url}/ui", BUILDSYS_TOKEN=site.admin_token)("project", "list")
    assert elsewhere.code != 0
    assert "Traceback" not in elsewhere.errors


async def test_a_name_that_was_typed_never_leads_to_another_path(buildsys: Command, site: Site) -> None:
    await site.project()
    for name in ("shop/webhook", "shop?x=", "shop#1", "../tokens", "..", "", "shop%2fwebhook"):
        for command in (("project", "show", name), ("project", "rm", name, "--yes"), ("build", "start", name)):
            refused = await buildsys(*command)
            assert (refused.code, refused.output) == (2, b""), command
    assert (await buildsys("project", "show", "shop")).code == 0
    assert (await buildsys("build", "list", "--json")).json == []


async def test_an_error_cannot_drive_a_terminal(buildsys: Command, site: Site) -> None:
    await site.project()
    refused = await buildsys("build", "start", "shop", "--branch", "hostile")
    assert refused.code == 5
    assert refused.errors.startswith("buildsys: fatal: remote says hello and bye (request ")
    assert len(refused.errors.splitlines()) == 1


async def test_a_branch_that_is_not_there_is_the_users_mistake(buildsys: Command, site: Site) -> None:
    await site.project()
    refused = await buildsys("build", "start", "shop", "--branch", "nowhere")
    assert (refused.code, refused.errors) == (2, "buildsys: there is no branch 'nowhere'\n")


@asynccontextmanager
async def listener(*, answers: bytes | None) -> AsyncIterator[str]:
    """A server that takes every request and says nothing (None), or this, and then hangs up."""
    done = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answers is None:
            await done.wait()
        else:
            writer.write(answers)
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        done.set()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (None, "has taken the request, but not answered in time"),
        (b"", "broke before there was an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "broke before there was an answer"),
    ],
)
async def test_a_server_that_is_silent_is_not_called_absent(
    answers: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildsys.cli.client.PATIENCE", 0.2)
    async with listener(answers=answers) as url, Client(url, "bst_x") as client:
        with pytest.raises(Unavailable, match=said):
            await client.get("/projects")


async def test_a_start_waits_for_as_long_as_the_server_may_read_the_repository(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.project()
    monkeypatch.setattr("buildsys.cli.client.PATIENCE", 0.2)
    monkeypatch.setenv("BUILDSYS_SERVER", site.url)
    monkeypatch.setenv("BUILDSYS_TOKEN", site.admin_token)
    arguments = ["build", "start", "shop", "--branch", "slow"]
    started = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert (started.exit_code, "is queued" in started.stdout) == (0, True), started.stderr


async def test_what_bursts_inside_the_server_is_not_the_users_fault(buildsys: Command, site: Site) -> None:
    await site.project()
    result = await buildsys("build", "start", "shop", "--branch", "burst")
    assert result.code == 5
    assert "request" in result.errors
