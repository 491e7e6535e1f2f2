"""Systems and repositories for the acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from system import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A new git repository."""
    return Repository(tmp_path / "repository")
