"""The bench of the durable objects, and a node on it, for those who do not have their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from objects_bench import Bench, Objects, bench_on

from actors import Database


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with bench_on(database) as bench:
        yield bench


@pytest.fixture(params=[False, True], ids=["in memory", "evicted after every call"])
async def one(bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[Objects]:
    async with bench.nodes(paranoid=request.param) as nodes:
        yield nodes.declared[0]
