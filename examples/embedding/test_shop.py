"""A repository's workflow under test: the whole build system runs inside of pytest, and goes with it.

Run it with `pip install buildsys pytest pytest-asyncio` and: pytest test_shop.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from buildsys.testing import BuildSystem

pytestmark = pytest.mark.asyncio

WORKFLOW = """\
on:
  push:
    branches: [main]
jobs:
  test:
    runs-on: linux
    steps:
      - name: Tests
        run: sh test.sh
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository with a workflow and a test."""
    repository = tmp_path / "shop"
    (repository / ".github/workflows").mkdir(parents=True)
    (repository / ".github/workflows/ci.yml").write_text(WORKFLOW)
    (repository / "test.sh").write_text('echo "testing $BUILDSYS_PROJECT on $BUILDSYS_BRANCH"\n')
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=Open the shop")
    return repository


async def test_a_push_to_main_is_tested(shop: Path) -> None:
    async with BuildSystem() as system:
        await system.add_project("shop", repository=shop)
        delivery = await system.push("shop", branch="main")
        build = await system.wait(delivery.builds[0])
        assert build.outcome == "success"
        assert await system.log(build.id, job="test", step=1) == "testing shop on main\n"


async def test_other_branches_are_left_alone(shop: Path) -> None:
    git(shop, "branch", "draft")
    async with BuildSystem() as system:
        await system.add_project("shop", repository=shop)
        delivery = await system.push("shop", branch="draft")
        assert delivery.outcome == "skipped"
        assert "branch 'draft' matches none of: main" in (delivery.reason or "")


def git(repository: Path, *arguments: str) -> None:
    author = {
        f"GIT_{role}_{part}": "shop@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    }
    subprocess.run(["git", "-C", str(repository), *arguments], env={**os.environ, **author}, check=True)
