"""Nodes with an actor that does what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from probe import Probe, Setup, cluster, setup

from actors import Database


@pytest.fixture
async def alone(database: Database) -> AsyncIterator[Setup]:
    """One node, and its namespace of probes."""
    async with setup(database, "one") as one:
        yield one


@pytest.fixture
def start(database: Database) -> Callable[..., AbstractAsyncContextManager[Setup]]:
    """Starts nodes on the test's database."""
    return lambda id="one", **settings: setup(database, id, **settings)


__all__ = ["Probe", "cluster"]
