"""Named queries, the pool and migrations, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import asyncpg
import pytest

from actors import Database, load_queries, migrate
from actors.errors import DatabaseUnavailable, MigrationChanged, MigrationError, QueryError, SchemaTooNew
from actors.migrations import load_migrations
from actors.queries import Query, parse


def query(text: str, kind: str = "one") -> Query:
    [found] = parse(f"-- name: a_query :{kind}\n-- For a test.\n{text}", source="test.sql")
    return found


def test_parameters_are_numbered_in_order_and_once() -> None:
    found = query("SELECT :b::int, :a::text, :b::int;")
    assert found.text == "SELECT $1::int, $2::text, $1::int"
    assert found.params == ("b", "a")


def test_casts_quoted_text_and_comments_hold_no_parameters() -> None:
    found = query("SELECT ':a', \":b\", $$:c$$, $x$ :d $$ $x$, '{}'::jsonb -- :e\n /* :f */, 'it''s :g', :h::int")
    assert found.params == ("h",)


@pytest.mark.parametrize("text", ["SELECT 1", "-- name: a :one\nSELECT 1", "-- name: a :one\n-- Only a sentence."])
def test_a_malformed_file_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        list(parse(text, source="test.sql"))


def test_parameters_must_fit() -> None:
    with pytest.raises(QueryError, match=r"missing \['a'\], unknown \['b'\]"):
        query("SELECT :a::int").arguments({"b": 1})
    with pytest.raises(QueryError, match="no query 'nothing'"):
        load_queries("actors")["nothing"]


@pytest.mark.parametrize("package", ["actors", "buildsys"])
async def test_every_query_prepares_on_the_migrated_schema(database: Database, package: str) -> None:
    async with database.pool.acquire() as connection:
        for found in load_queries(package).values():
            for text in filter(None, (found.text, found.counted)):
                statement = await connection.prepare(text)
                assert len(statement.get_parameters()) == len(found.params), found.name


async def test_queries_and_transactions(database: Database) -> None:
    assert await database.execute(query("CREATE TABLE t (n int, v jsonb)", "exec")) == 0
    add = query("INSERT INTO t SELECT n, :v FROM generate_series(1, :size::int) n", "exec")
    assert await database.execute(add, v={"a": [1, None]}, size=3) == 3
    row = await database.one(query("SELECT v FROM t WHERE n = :n"), n=2)
    assert row is not None
    assert row["v"] == {"a": [1, None]}
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            assert await tx.execute(query("DELETE FROM t", "exec")) == 3
            raise ZeroDivisionError
    assert len(await database.many(query("SELECT FROM t", "many"))) == 3


async def test_a_killed_backend_is_replaced(database: Database) -> None:
    mine = query("SELECT pg_backend_pid() AS pid")
    before = await database.one(mine)
    assert before is not None
    killer = await asyncpg.connect(database.dsn)
    await killer.execute("SELECT pg_terminate_backend($1, 5000)", before["pid"])
    await killer.close()
    after = await database.one(mine)
    assert after is not None
    assert after["pid"] != before["pid"]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("SELECT 1", True),
        ("WITH a AS (SELECT 'UPDATE') SELECT * FROM a", True),
        ("SELECT 1 FOR UPDATE", False),
        ("WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a", False),
        ("SELECT pg_notify('a', 'b')", False),
        ("UPDATE t SET a = 1 RETURNING a", False),
    ],
)
def test_which_queries_only_read(text: str, reads: bool) -> None:
    assert query(text).reads == reads


async def cut(database: Database, text: str) -> asyncpg.Record | None:
    """Run a query whose connection is cut while it waits for a lock."""
    await database.execute(query("CREATE TABLE t (n int)", "exec"))
    await database.execute(query("INSERT INTO t VALUES (1)", "exec"))
    observer, blocker = await database.connect(), await database.connect()
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK t")
            running = asyncio.ensure_future(database.one(query(text)))
            pid = None
            async with asyncio.timeout(10):
                while pid is None:
                    pid = await observer.fetchval(
                        "SELECT pid FROM pg_stat_activity "
                        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                    )
            await observer.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        return await running
    finally:
        await observer.close()
        await blocker.close()


async def test_a_read_whose_connection_is_cut_runs_again(database: Database) -> None:
    row = await cut(database, "SELECT n FROM t")
    assert row is not None
    assert row["n"] == 1


async def test_a_write_whose_connection_is_cut_does_not_run_again(database: Database) -> None:
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)):
        await cut(database, "UPDATE t SET n = n + 1 RETURNING n")
    assert await database.pool.fetchval("SELECT n FROM t") == 1


async def test_an_absent_server_is_waited_for_and_then_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="no connection"):
        async with Database(f"postgresql://tests@/nothing?host={tmp_path}", patience=0.2):
            pass


async def test_migrations_are_applied_once(database: Database) -> None:
    assert await migrate(database) == []
    names = [row["name"] for row in await database.pool.fetch("SELECT name FROM schema_migrations")]
    assert len(names) == len(load_migrations("actors")) + len(load_migrations("buildsys"))


async def test_a_changed_migration_is_named(database: Database) -> None:
    await database.pool.execute("UPDATE schema_migrations SET sha256 = 'x' WHERE package = 'actors' AND number = 1")
    with pytest.raises(MigrationChanged, match="actors/0001_initial"):
        await migrate(database)


async def test_a_schema_of_a_later_version_is_named(database: Database) -> None:
    await database.pool.execute("INSERT INTO schema_migrations VALUES ('actors', 9999, 'later', 'x')")
    with pytest.raises(SchemaTooNew, match="actors/9999_later"):
        await migrate(database)


def test_a_hole_in_the_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "holed"
    (package / "_sql" / "migrations").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_sql" / "migrations" / "0002_second.sql").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MigrationError, match="expected 0001_name"):
        load_migrations("holed")
