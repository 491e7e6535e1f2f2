"""A node with an actor that does what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from probe import Setup, cluster

from actors import Database


@pytest.fixture
async def alone(database: Database) -> AsyncIterator[Setup]:
    """One node, and its namespace of probes."""
    async with cluster(database, 1) as nodes:
        yield nodes.declared[0]
