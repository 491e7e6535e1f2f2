"""Migrations: numbered SQL files of a package, applied forward, once, and never changed afterwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.database import Database
from actors.errors import MigrationChanged, MigrationError, SchemaTooNew
from actors.queries import migration_folder

_LOCK = 0x6163746F7273
"""The advisory lock under which one process migrates; the bytes of "actors"."""

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    package    text NOT NULL,
    number     integer NOT NULL,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (package, number)
)"""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One file: `0001_initial.sql` has the number 1 and the name `initial`."""

    package: str
    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


async def migrate(database: Database, packages: Sequence[str] = ("actors",)) -> list[str]:
    """Apply what is missing of the packages' files, each in a transaction of its own; the names of what was applied.

    Safe to run from many processes at once. Raises `MigrationChanged` and `SchemaTooNew` before anything is applied.
    """
    known = {package: load_migrations(package) for package in packages}
    async with database.pool.acquire() as connection:
        await connection.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=600)
        try:
            await connection.execute(_TABLE)
            rows = await connection.fetch("SELECT package, number, name, sha256 FROM schema_migrations")
            applied = {(row["package"], row["number"]): row for row in rows}
            missing = _missing(known, applied)
            for migration in missing:
                await _apply(connection, migration)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
            await connection.execute("RESET lock_timeout; RESET statement_timeout")
    return [f"{migration.package}/{migration.number:04}_{migration.name}" for migration in missing]


def load_migrations(package: str) -> list[Migration]:
    """A package's migrations in order. Raises `MigrationError` for a hole in the numbers or a strange file name."""
    found: list[Migration] = []
    for path in sorted(migration_folder(package).glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise MigrationError(f"{package}: expected {len(found) + 1:04}_name.sql and found {path.name}")
        found.append(
            Migration(package=package, number=int(match[1]), name=match[2], text=path.read_text(encoding="utf-8"))
        )
    return found


def _missing(known: Mapping[str, list[Migration]], applied: Mapping[tuple[str, int], Any]) -> list[Migration]:
    for (package, number), row in applied.items():
        if package not in known:
            continue
        if number > len(known[package]):
            raise SchemaTooNew(
                f"the database has migration {package}/{number:04}_{row['name']}, which this version does not know; "
                "run the version that applied it, or a later one"
            )
        if known[package][number - 1].sha256 != row["sha256"]:
            raise MigrationChanged(
                f"migration {package}/{number:04}_{row['name']} was applied with another text; restore its file and "
                "write the change as a new migration"
            )
    return [one for migrations in known.values() for one in migrations if (one.package, one.number) not in applied]


async def _apply(connection: Any, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.text, timeout=3600)
        await connection.execute(
            "INSERT INTO schema_migrations (package, number, name, sha256) VALUES ($1, $2, $3, $4)",
            migration.package,
            migration.number,
            migration.name,
            migration.sha256,
        )
