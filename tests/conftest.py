"""A real Postgres for all tests: one server a session, one database a test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
from postgres_server import PostgresServer

from actors import Database
from actors.migrations import migrate


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The folder of the socket of a server that lives as long as the session and dies with it."""
    with PostgresServer() as server:
        yield str(server.home)


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


async def _run(server: str, statement: str) -> None:
    connection = await asyncpg.connect(f"postgresql://tests@/postgres?host={server}")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
