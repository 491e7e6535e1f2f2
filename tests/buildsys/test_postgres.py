"""The embedded Postgres lives through what happens to it: kills, orphanhood, odd paths, every kind of user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pids import is_alive

from buildsys import postgres_supervisor
from buildsys.postgres import EmbeddedPostgres, PostgresInUse, running_server
from buildsys.private_files import FileLock

OWNER = """
import asyncio, sys
from pathlib import Path
from buildsys import postgres_supervisor
from buildsys.postgres import EmbeddedPostgres

async def own() -> None:
    async with EmbeddedPostgres(Path(sys.argv[1]), orphan_limit=float(sys.argv[2]), durable=False) as postgres:
        print(postgres.dsn, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(own())
"""


@contextlib.contextmanager
def owner(
    folder: Path, *, orphan_limit: float = 900.0, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the server of `folder` until its stdin ends, or it is killed."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", OWNER, str(folder), str(orphan_limit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate(timeout=30)


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    dsn = process.stdout.readline().strip()
    assert dsn, "the owner did not get its server up"
    return dsn


async def until(condition: Callable[[], Awaitable[Any]], limit: float = 10.0) -> Any:
    """What the condition gives once it is true; errors of a server that is down are not yet true."""
    deadline = time.monotonic() + limit
    while True:
        try:
            if found := await condition():
                return found
        except (OSError, asyncpg.PostgresError):
            pass
        assert time.monotonic() < deadline, f"not so within {limit:g} s"
        await asyncio.sleep(0.02)


async def query(dsn: str, text: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(text)
    finally:
        await connection.close()


def server_pid(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def supervisor_pid(folder: Path) -> int | None:
    return FileLock(folder / "supervisor.lock").holder()


async def test_data_outlives_a_stop_in_a_path_that_needs_quoting(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a "folder", with everything %s' / "postgres"
    async with EmbeddedPostgres(folder, durable=False) as postgres:
        await query(postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        pid, supervisor = server_pid(folder), supervisor_pid(folder)
    assert not is_alive(pid)
    assert supervisor is not None
    assert not is_alive(supervisor)
    assert running_server(folder) is None
    async with EmbeddedPostgres(folder, durable=False) as postgres:
        assert await query(postgres.dsn, "SELECT answer FROM kept") == 42


async def test_only_its_owner_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDSYS_TOKEN", "not-for-postgres")
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as postgres:
        sockets = Path(await query(postgres.dsn, "SHOW unix_socket_directories"))
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "postgres").stat().st_mode & 0o777 == 0o700
        assert await query(postgres.dsn, "SHOW listen_addresses") == ""
        for pid in (server_pid(tmp_path / "postgres"), supervisor_pid(tmp_path / "postgres")):
            assert b"not-for-postgres" not in Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_killed_server_is_back_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    async with EmbeddedPostgres(folder) as postgres:
        await query(postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        killed = server_pid(folder)
        os.kill(killed, signal.SIGKILL)
        assert await until(lambda: query(postgres.dsn, "SELECT answer FROM kept"), limit=5.0) == 42
        assert server_pid(folder) != killed


async def test_a_killed_supervisor_is_replaced_and_leaves_no_stray_server(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    async with EmbeddedPostgres(folder, durable=False) as postgres:
        server, supervisor = server_pid(folder), supervisor_pid(folder)
        assert supervisor is not None
        os.kill(supervisor, signal.SIGKILL)

        async def replaced() -> bool:
            return supervisor_pid(folder) not in (None, 0, supervisor) and await query(postgres.dsn, "SELECT true")

        assert await until(replaced)
        assert server_pid(folder) != server
        await until(lambda: asyncio.to_thread(lambda: not is_alive(server)))


async def test_an_orphan_is_adopted_as_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with owner(folder) as process:
        dsn = await asyncio.to_thread(ready, process)
        guest = await asyncpg.connect(dsn)
        server, supervisor = server_pid(folder), supervisor_pid(folder)
        process.kill()
    async with EmbeddedPostgres(folder, durable=False) as postgres:
        assert postgres.dsn == dsn
        assert (server_pid(folder), supervisor_pid(folder)) == (server, supervisor)
        assert await guest.fetchval("SELECT 1") == 1
        await guest.close()
    assert not is_alive(server)


async def test_an_orphan_nobody_adopts_shuts_down(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with owner(folder, orphan_limit=0.5) as process:
        await asyncio.to_thread(ready, process)
        server, supervisor = server_pid(folder), supervisor_pid(folder)
        assert supervisor is not None
        process.kill()
    await until(lambda: asyncio.to_thread(lambda: not is_alive(server) and not is_alive(supervisor)))
    assert "database system is shut down" in (folder / "postgres.log").read_text()


async def test_an_owned_server_does_not_count_as_an_orphan(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False, orphan_limit=0.1) as postgres:
        started = await query(postgres.dsn, "SELECT pg_postmaster_start_time()")
        lived = "SELECT clock_timestamp() - pg_postmaster_start_time() > interval '2.5 seconds'"
        assert await until(lambda: query(postgres.dsn, lived))
        assert await query(postgres.dsn, "SELECT pg_postmaster_start_time()") == started


async def test_of_two_racing_starts_one_is_refused_by_the_pid_of_the_other(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        starts = [stack.enter_async_context(EmbeddedPostgres(tmp_path / "postgres", durable=False)) for _ in range(2)]
        won, lost = sorted(
            await asyncio.gather(*starts, return_exceptions=True), key=lambda it: isinstance(it, Exception)
        )
        assert isinstance(won, EmbeddedPostgres)
        assert isinstance(lost, PostgresInUse)
        assert lost.pid == os.getpid()
        assert await query(won.dsn, "SELECT 1") == 1


async def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data.new" / "base").mkdir(parents=True)
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as postgres:
        assert await query(postgres.dsn, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="root only")
async def test_root_without_user_namespaces_runs_it_through_setpriv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "closed to nobody" / "postgres"
    async with EmbeddedPostgres(folder, durable=False) as postgres:
        await query(postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "setpriv").symlink_to("/usr/bin/setpriv")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "bin"))
        async with EmbeddedPostgres(folder, durable=False) as postgres:
            assert await query(postgres.dsn, "SELECT answer FROM kept") == 42
            assert Path(f"/proc/{server_pid(folder)}").stat().st_uid == 65534
            supervisor, server = supervisor_pid(folder), server_pid(folder)
            assert supervisor is not None
            os.kill(supervisor, signal.SIGKILL)
            await until(lambda: asyncio.to_thread(lambda: not is_alive(server)))
            assert await until(lambda: query(postgres.dsn, "SELECT answer FROM kept")) == 42
    async with EmbeddedPostgres(folder, durable=False) as postgres:
        assert await query(postgres.dsn, "SELECT answer FROM kept") == 42
        assert (folder / "data" / "base").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root only: as anyone else every test here shows it")
async def test_an_ordinary_user_runs_it_plainly(tmp_path: Path) -> None:
    """The capability lets that user pass to our interpreter, wherever it is installed."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    become = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override"
    with owner(home / "postgres", prefix=tuple(become.split())) as process:
        dsn = await asyncio.to_thread(ready, process)
        assert await query(dsn, "SELECT 1") == 1
        pid = server_pid(home / "postgres")
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
    assert not is_alive(pid)


async def test_the_supervisor_keeps_the_log_small(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    flood = "head -c 11000000 /dev/zero | tr '\\0' x >&2; exec sleep 60"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", postgres_supervisor.__file__, str(tmp_path), "60", "sh", "-c", flood],
            stderr=stream,
        )
        older = tmp_path / "postgres.log.1"
        await until(lambda: asyncio.to_thread(lambda: older.exists() and log.stat().st_size == 0))
        assert older.stat().st_size == 11_000_000
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0
