"""A test's own database: there with its tables, and gone afterwards."""

from __future__ import annotations

import asyncpg
import pytest
from counter import Counter

from actors import Database, Namespace, Node
from actors.testing import Cluster, fresh_database


async def test_actors_live_in_it_and_it_goes_with_the_test(postgres_dsn: str) -> None:
    def declare(node: Node) -> Namespace[Counter]:
        return node.namespace("counter", Counter)

    for _ in range(2):
        async with fresh_database(postgres_dsn) as database:
            async with Cluster(database, 1, declare=declare) as cluster:
                assert await cluster.declared[0].get("visits").increment(3) == 3
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(database.dsn)


async def test_it_goes_when_the_test_fails(postgres_dsn: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with fresh_database(postgres_dsn) as database:
            raise ZeroDivisionError
    async with Database(postgres_dsn) as server:
        names = [row["datname"] for row in await server.pool.fetch("SELECT datname FROM pg_database")]
    assert [name for name in names if f"/{name}" in database.dsn] == []


async def test_what_is_no_url_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="postgresql://") as refused:
        async with fresh_database("host=db password=secret"):
            raise AssertionError
    assert "secret" not in str(refused.value)
