"""The composition root: roles, one process or several, and how it starts, fails and stops."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from git_server import Repository
from objects_bench import until

from actors import Database
from actors.errors import NodeReplaced
from buildsys import app
from buildsys.adapters.process_users import jobs_folder
from buildsys.addresses import AddressUnusable
from buildsys.app import App
from buildsys.cli.client import Client
from buildsys.config import Config
from buildsys.core.build import Outcome, State
from buildsys.data_folder import DataFolderInUse
from buildsys.errors import SetupError
from buildsys.store.tokens import Tokens
from buildsys.testing import BuildSystem

WORKFLOW = "on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: echo hello\n"
SERVING = frozenset({"api", "orchestrator"})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "shop")
    repository.commit({".github/workflows/ci.yml": WORKFLOW})
    return repository


@pytest.fixture
def configure(tmp_path: Path, postgres_dsn: str) -> Any:
    """Makes configurations, each on a data folder of its own."""

    def configure(folder: str = "data", **settings: Any) -> Config:
        given = {"database_url": postgres_dsn, "listen": "127.0.0.1:0", "driver": "process", "roles": SERVING}
        return Config(data_dir=tmp_path / folder, allow_local_repositories=True, **(given | settings))

    return configure


async def answers(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_it_says_where_it_answers_and_is_gone_afterwards(configure: Any) -> None:
    config = configure()
    async with App(config) as app:
        assert (config.data_dir / "server.url").read_text() == f"{app.url}\n"
        async with Client(app.url, app.admin_token) as client:
            assert (await client.get("/projects"))["projects"] == []
    assert not await answers(app.url)
    async with App(config) as again:
        assert again.admin_token == app.admin_token


async def test_a_taken_address_is_named_with_the_way_out(configure: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnusable, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*--listen"):
            async with App(configure(listen=f"127.0.0.1:{port}")):
                pass


async def test_a_data_folder_in_use_is_refused_and_stays_untouched(configure: Any) -> None:
    config = configure()
    async with App(config) as app:
        with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"):
            async with App(config):
                pass
        assert await answers(app.url)


async def test_a_start_that_fails_gives_everything_back(configure: Any) -> None:
    config = configure(database_url="postgresql://nobody@127.0.0.1:1/nothing")
    task = asyncio.create_task(_enter(App(config)))
    await asyncio.sleep(0)
    await until(lambda: (config.data_dir / "lock").exists())
    task.cancel()
    await asyncio.wait([task])
    async with App(configure()) as app:
        assert await answers(app.url)


async def test_stop_lets_wait_return(configure: Any) -> None:
    async with App(configure()) as app:
        waiting = asyncio.create_task(app.wait())
        app.stop()
        await waiting


async def test_a_part_that_fails_ends_the_app_with_its_error(configure: Any, database: Database) -> None:
    """Another process that starts under this node's id replaces it, at the latest when it renews its lease."""

    async def run() -> None:
        async with App(configure()) as app:
            await database.pool.execute("UPDATE actors.nodes SET incarnation = incarnation + 1, lease_until = now()")
            async with asyncio.timeout(20):
                await app.wait()

    with pytest.raises(NodeReplaced, match="another process has started as node"):
        await run()


async def test_a_part_that_ends_by_itself_ends_the_app(configure: Any) -> None:
    async with App(configure()) as app:
        app._watch(app._stack, asyncio.sleep(0), name="sleeper")
        with pytest.raises(SetupError, match="the sleeper ended by itself"):
            await app.wait()


async def test_a_runner_apart_runs_what_the_others_queue(
    configure: Any, repository: Repository, database: Database
) -> None:
    async with BuildSystem(database_url=configure().database_url, roles=SERVING) as system:
        await system.add_project("shop", repository=repository.path)
        (build,) = await system.start("shop")
        await until(lambda: _waits_for_a_runner(system, build))
        _, token = await Tokens(database=database).create("runner", role="runner")
        config = configure("runner", roles=frozenset({"runner"}), server_url=system.url, token=token)
        async with App(config) as runner:
            assert (await system.wait(build)).outcome == Outcome.SUCCESS
            assert await system.log(build, step=1) == "hello\n"
            installation = runner.folder.installation
        jobs_folder(config.data_dir / "jobs", installation=installation).rmdir()


async def test_a_runner_with_a_refused_token_ends_and_says_so(configure: Any) -> None:
    async with App(configure()) as app:
        config = configure("runner", roles=frozenset({"runner"}), server_url=app.url, token="bst_wrong" * 5)
        async with App(config) as runner:
            with pytest.raises(Exception, match="401"):
                async with asyncio.timeout(20):
                    await runner.wait()
            installation = runner.folder.installation
        jobs_folder(config.data_dir / "jobs", installation=installation).rmdir()


async def test_an_api_alone_queues_and_schedules_nothing(configure: Any, database: Database) -> None:
    async with BuildSystem(database_url=configure().database_url, roles=frozenset({"api"})) as system:
        build = await system.create_build()
        assert (await system.get(build.id)).state == State.QUEUED
        rows = await database.pool.fetch("SELECT namespace FROM actors.schedules")
        assert {row["namespace"] for row in rows} <= {"schedules"}, "but what the new project's workflows say"


async def test_two_orchestrators_share_a_database(configure: Any, repository: Repository) -> None:
    first = configure("one")
    async with App(first) as one:
        async with App(configure("two", secret_key_file=first.data_dir / "secret.key")) as two:
            async with Client(two.url, two.admin_token) as client, Client(one.url, one.admin_token) as other:
                await client.post("/projects", {"name": "shop", "repository": str(repository.path)})
                (made,) = (await client.post("/projects/shop/builds"))["builds"]
                await until(lambda: _state_is(other, made["id"], "starting"))
                await client.post(f"/builds/{made['id']}/cancel")
                await other.post(f"/builds/{made['id']}/cancel")
                await until(lambda: _state_is(client, made["id"], "stopped"))


async def test_who_starts_is_reached_by_others_before_it_is_through(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that start at once may each need what is placed on the other, and must not wait for its end."""
    ensured, other_started = asyncio.Event(), asyncio.Event()
    ensure = app.ensure_singletons

    async def hold(*namespaces: Any, **wanted: Any) -> None:
        await ensure(*namespaces, **wanted)
        if not ensured.is_set():
            ensured.set()
            await other_started.wait()

    monkeypatch.setattr(app, "ensure_singletons", hold)
    one = configure("one")
    first = App(one)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(_enter(first))
        await ensured.wait()
        async with App(configure("two", secret_key_file=one.data_dir / "secret.key")):
            other_started.set()
            first.stop()


async def _enter(app: App) -> None:
    async with app:
        await app.wait()


async def _waits_for_a_runner(system: BuildSystem, build: Any) -> bool:
    return "waits for a runner" in ((await system.get(build)).waiting or "")


async def _state_is(client: Client, build: str, state: str) -> bool:
    return bool((await client.get(f"/builds/{build}"))["state"] == state)
