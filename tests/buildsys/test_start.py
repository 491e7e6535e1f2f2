"""What a start refuses, by name and before anything else runs; and what it sets right."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from objects_bench import until
from structlog.testing import capture_logs

from actors import Database
from buildsys.addresses import AddressUnusable, local_url, why_unreachable
from buildsys.app import App
from buildsys.cli.client import Client
from buildsys.config import Config
from buildsys.core.build import State
from buildsys.data_folder import SecretKeyLost
from buildsys.errors import Unauthorized
from buildsys.private_files import write_private
from buildsys.store.cipher import SecretKeyMismatch
from buildsys.testing import BuildSystem

SERVING = frozenset({"api", "orchestrator"})


@pytest.fixture
def configure(tmp_path: Path, postgres_dsn: str) -> Any:
    """Makes configurations on one database, each on a data folder of its own, with a key in common."""
    write_private(tmp_path / "key", b"k" * 32)

    def configure(folder: str = "data", **settings: Any) -> Config:
        given = {"database_url": postgres_dsn, "listen": "127.0.0.1:0", "roles": SERVING}
        return Config(data_dir=tmp_path / folder, **(given | {"secret_key_file": tmp_path / "key"} | settings))

    return configure


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def opens(app: App, token: str) -> bool:
    try:
        async with Client(app.url, token) as client:
            await client.get("/projects")
    except Unauthorized:
        return False
    return True


async def start_and_stop(config: Config) -> App:
    async with App(config) as app:
        return app


async def test_an_address_in_use_is_refused_before_anything_else_starts(configure: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(AddressUnusable, match=f"cannot listen on {address}: .*--listen"):
            await start_and_stop(configure(listen=address, database_url=None))
    assert not (tmp_path / "data" / "postgres").exists()


async def test_of_two_that_start_at_once_on_one_address_one_runs(configure: Any) -> None:
    address = f"127.0.0.1:{free_port()}"
    first, second = App(configure("one", listen=address)), App(configure("two", listen=address))
    started = await asyncio.gather(first.__aenter__(), second.__aenter__(), return_exceptions=True)
    (app,) = (one for one in started if isinstance(one, App))
    try:
        assert [type(one) for one in started if one is not app] == [AddressUnusable]
        assert await opens(app, app.admin_token)
    finally:
        await app.__aexit__(None, None, None)


async def test_a_removed_administrators_token_is_replaced_and_revoked(configure: Any) -> None:
    config = configure()
    leaked = (await start_and_stop(config)).admin_token
    (config.data_dir / "admin.token").unlink()
    async with App(config) as app:
        assert app.has_new_admin_token
        assert await opens(app, app.admin_token)
        assert not await opens(app, leaked)
        async with Client(app.url, app.admin_token) as client:
            tokens = (await client.get("/tokens"))["tokens"]
    assert [token["revoked_at"] is None for token in tokens] == [False, True]


async def test_a_revoked_administrators_token_stays_so_until_its_file_is_removed(configure: Any) -> None:
    config = configure()
    async with App(config) as app:
        async with Client(app.url, app.admin_token) as client:
            (token,) = (await client.get("/tokens"))["tokens"]
            await client.delete(f"/tokens/{token['id']}")
    async with App(config) as app:
        assert not app.has_new_admin_token
        assert not await opens(app, app.admin_token)
    (config.data_dir / "admin.token").unlink()
    async with App(config) as app:
        assert await opens(app, app.admin_token)


async def test_two_installations_on_one_database_leave_each_others_administrators_alone(configure: Any) -> None:
    one, two = configure("one"), configure("two")
    async with App(one) as first:
        await start_and_stop(two)
        (two.data_dir / "admin.token").unlink()
        async with App(two) as second:
            assert await opens(first, first.admin_token)
            assert await opens(first, second.admin_token)


async def test_a_key_that_is_not_the_databases_is_refused(configure: Any, tmp_path: Path) -> None:
    await start_and_stop(configure())
    write_private(tmp_path / "other", b"o" * 32)
    with pytest.raises(SecretKeyMismatch, match=r"put back the one that belongs.*--secret-key-file"):
        await start_and_stop(configure(secret_key_file=tmp_path / "other"))
    await start_and_stop(configure())


async def test_a_lost_key_is_not_replaced(configure: Any, tmp_path: Path) -> None:
    config = configure(secret_key_file=None)
    await start_and_stop(config)
    (tmp_path / "data" / "secret.key").unlink()
    with pytest.raises(SecretKeyLost):
        await start_and_stop(config)
    assert not (tmp_path / "data" / "secret.key").exists()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "{url}"),
        ({"public_url": "https://ci.example.org"}, "https://ci.example.org"),
        ({"public_url": "https://ci.example.org", "node_address": "http://10.0.0.1:8080"}, "http://10.0.0.1:8080"),
    ],
)
async def test_other_nodes_are_told_the_public_url_unless_there_is_an_address_for_them(
    configure: Any, database: Database, given: dict[str, str], address: str
) -> None:
    async with App(configure(**given)) as app:
        assert await database.pool.fetchval("SELECT address FROM actors.nodes") == address.format(url=app.url)


async def test_a_node_that_others_may_not_reach_is_warned_of(configure: Any) -> None:
    with capture_logs() as said:
        api = {"roles": frozenset({"api"})}  # which calls nobody by itself
        async with App(configure("one", node_address="http://one.example:8080", **api)):
            async with App(configure("two", node_address="http://two.example:8080", **api)):
                assert not [line for line in said if "way_out" in line]
                async with App(configure("three", **api)) as third:
                    (warning,) = (line for line in said if "way_out" in line)
    assert f"{third.url} is each machine's own" in warning["why"]
    assert "--node-address" in warning["way_out"]


@pytest.mark.parametrize(
    ("address", "others", "why"),
    [
        ("http://127.0.0.1:1", [], None),
        ("http://a:1", ["http://b:1"], None),
        ("http://a:1", ["http://b:1", "http://a:1"], "same address"),
        ("http://a:1", ["http://localhost:1"], "localhost"),
        ("http://[::1]:1", ["http://a:1"], "::1"),
    ],
)
def test_which_nodes_may_not_reach_each_other(address: str, others: list[str], why: str | None) -> None:
    found = why_unreachable(address, others)
    assert found is None if why is None else why in (found or "")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("ci", "http://ci:80"),
    ],
)
def test_how_this_host_reaches_what_it_listens_on(host: str, url: str) -> None:
    assert local_url(host, 80) == url


async def test_the_accounts_limit_is_what_the_last_start_said(configure: Any, database: Database) -> None:
    for limit in (3, 2, None):
        await start_and_stop(configure(account_max_running=limit))
        assert await database.pool.fetchval("SELECT max_running FROM accounts") == limit


async def test_the_accounts_limit_holds_across_projects(postgres_dsn: str) -> None:
    async with BuildSystem(database_url=postgres_dsn, roles=SERVING, account_max_running=1) as system:
        first, second = await system.create_build("one"), await system.create_build("two")
        await until(lambda: _is(system, first.id, State.STARTING))
        await until(lambda: _waits_for(system, second.id, "the account's limit"))
        await system.api.post(f"/builds/{first.id}/cancel")
        await until(lambda: _is(system, second.id, State.STARTING))


async def _is(system: BuildSystem, build: UUID, state: State) -> bool:
    return (await system.get(build)).state == state


async def _waits_for(system: BuildSystem, build: UUID, what: str) -> bool:
    return what in ((await system.get(build)).waiting or "")
