"""A node with an actor that does what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from probe import Setup, cluster

from actors import Database

AGAIN = {"test_alarms", "test_calls", "test_commits", "test_groups", "test_schedules", "test_storage", "test_turns"}
"""Modules whose tests of a node `alone` run again with every actor out of memory after each call."""

ABOUT_MEMORY = {
    "test_100_first_calls_activate_once",
    "test_calls_start_unawaited_and_in_order",
    "test_a_raising_turn_writes_nothing_and_the_actor_is_loaded_anew",
    "test_a_turn_that_raises_without_writing_keeps_the_activation",
    "test_the_reply_leaves_after_the_commit",
}
"""Tests that count activations, or need an actor that stays while it commits."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kept = any(mark.args[0] == "alone" for mark in metafunc.definition.iter_markers("parametrize"))
    again = metafunc.module.__name__ in AGAIN and metafunc.function.__name__ not in ABOUT_MEMORY
    if again and not kept and "alone" in metafunc.fixturenames:
        metafunc.parametrize("paranoid", [False, True], ids=["kept", "paranoid"])


@pytest.fixture
def paranoid() -> bool:
    """Whether each activation ends after each call."""
    return False


@pytest.fixture
async def alone(database: Database, paranoid: bool) -> AsyncIterator[Setup]:
    """One node, and its namespace of probes."""
    async with cluster(database, 1, paranoid=paranoid) as nodes:
        yield nodes.declared[0]
