"""The product under measurement: `buildsys up` in a process of its own, on a Postgres that we can look into."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from actors import Database
from buildsys.postgres import EmbeddedPostgres
from tests.acceptance.system import System


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A running system, its database, and a folder for whatever else is needed."""

    system: System
    database: Database
    folder: Path


@asynccontextmanager
async def site(*, driver: str, sandbox: bool = True, **settings: str) -> AsyncIterator[Site]:
    """A fresh installation with a Postgres as durable as any. Without `sandbox`, the bubblewrap on its path fails."""
    with tempfile.TemporaryDirectory(prefix="buildsys-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if not sandbox:
            settings["PATH"] = f"{_no_bubblewrap(folder)}:/usr/local/bin:/usr/bin:/bin"
        async with EmbeddedPostgres(folder / "postgres") as postgres:
            system = System(folder / "data", driver=driver, BUILDSYS_DATABASE_URL=postgres.dsn, **settings)
            async with system, Database(postgres.dsn, size=4) as database:
                yield Site(system=system, database=database, folder=folder)


def _no_bubblewrap(folder: Path) -> Path:
    programs = folder / "programs"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    return programs
