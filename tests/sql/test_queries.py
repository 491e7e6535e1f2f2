"""Every named query is a statement that the migrated schema takes, and the hot ones use the index made for them."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from actors import Database, load_queries

QUERIES = {
    f"{package}.{name}": query for package in ("actors", "buildsys") for name, query in load_queries(package).items()
}


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_the_schema_takes_it(database: Database, name: str) -> None:
    async with database.pool.acquire() as connection:
        statement = await connection.prepare(QUERIES[name].text)
        assert len(statement.get_parameters()) == len(QUERIES[name].params)


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("buildsys.log_read", {"build": uuid4(), "after": 10, "size": 64, "bytes": 1000}, "log_records_pkey"),
        ("buildsys.delivery_pending", {"size": 6, "busy": []}, "deliveries_pending"),
        (
            "buildsys.assignment_claim",
            {"runner": uuid4(), "incarnation": 1, "labels": ["linux"], "size": 2},
            "assignments_offered",
        ),
        (
            "buildsys.build_list",
            {"project": uuid4(), "state": None, "before_at": None, "before_id": None, "size": 50},
            "builds_by_project",
        ),
        ("buildsys.token_find", {"digest": b"x"}, "tokens_digest_key"),
    ],
)
async def test_the_hot_ones_use_their_index(
    database: Database, name: str, arguments: dict[str, object], index: str
) -> None:
    query = QUERIES[name]
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query.text}", *query.arguments(arguments))
    text = plan if isinstance(plan, str) else json.dumps(plan)
    assert index in text
