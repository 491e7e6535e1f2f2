"""A database for one test."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from actors.database import Database
from actors.migrations import migrate

_DSN = re.compile(r"(?P<server>\w+://[^/?]*)(?:/[^?]*)?(?P<options>\?.*)?")


@asynccontextmanager
async def fresh_database(dsn: str, packages: Sequence[str] = ("actors",)) -> AsyncIterator[Database]:
    """A new database on the server of `dsn`, migrated, which is dropped at the end.

    The user of `dsn`, a URL, must be allowed to create databases.
    """
    parts = _DSN.fullmatch(dsn)
    if parts is None:
        raise ValueError("the DSN is no URL as postgresql://user@host/database")
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(dsn)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        try:
            async with Database(f"{parts['server']}/{name}{parts['options'] or ''}") as database:
                await migrate(database, packages)
                yield database
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()
