"""What a start refuses, by name and before anything else runs; and what it sets right."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from buildsys.app import AddressUnusable, App
from buildsys.cli.client import Client
from buildsys.config import Config
from buildsys.data_folder import SecretKeyLost
from buildsys.errors import Unauthorized
from buildsys.private_files import write_private
from buildsys.store.secrets import SecretKeyMismatch

SERVING = frozenset({"api", "orchestrator"})


@pytest.fixture
def configure(tmp_path: Path, postgres_dsn: str) -> Any:
    """Makes configurations on one database, each on a data folder of its own, with a key in common."""
    write_private(tmp_path / "key", b"k" * 32)

    def configure(folder: str = "data", **settings: Any) -> Config:
        given = {"database_url": postgres_dsn, "listen": "127.0.0.1:0", "secret_key_file": tmp_path / "key"}
        return Config(data_dir=tmp_path / folder, roles=SERVING, **(given | settings))

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
