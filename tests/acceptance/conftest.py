"""Systems and repositories for the acceptance tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from system import Repository, System


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A new git repository."""
    return Repository(tmp_path / "repository")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A server of its own, with jobs as processes."""
    async with System(tmp_path / "data") as system:
        yield system
