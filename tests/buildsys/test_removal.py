"""No tree that a build can make stands against its removal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from buildsys.runner.removal import remove_tree

NOBODY = 65534


@pytest.fixture(params=["root", "ordinary"])
def tree(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder of the user who is to remove it: of root, where the tests have it, and of another one."""
    folder = Path("/var/tmp") / f"buildsys-test-{uuid4().hex}" / "tree"
    folder.parent.mkdir()
    if os.geteuid() != 0:
        if request.param == "root":
            pytest.skip("needs root")
        folder.mkdir()
        yield folder
    elif request.param == "root":
        folder.mkdir()
        yield folder
    else:
        os.chown(folder.parent, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        folder.mkdir()
        yield folder
        os.seteuid(0)
    subprocess.run(["rm", "-rf", str(folder.parent)], check=True)


def grow(tree: Path, *, name: str, levels: int) -> None:
    folder = os.open(tree, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        outer, folder = folder, os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(outer)
    os.close(os.open("file", os.O_CREAT, dir_fd=folder))
    os.close(folder)


@pytest.mark.parametrize(("name", "levels"), [("d", 5000), ("d" * 200, 100), ("1", 300)])
def test_any_depth(tree: Path, name: str, levels: int) -> None:
    grow(tree, name=name, levels=levels)
    remove_tree(tree)
    assert not tree.exists()


def test_any_mode(tree: Path) -> None:
    (tree / "a" / "b" / "c").mkdir(parents=True)
    (tree / "a" / "b" / "c" / "file").write_text("x")
    (tree / "a" / "b" / "c" / "file").chmod(0)
    for mode, name in ((0o000, "a/b/c"), (0o300, "a/b"), (0o500, "a"), (0o000, ".")):
        (tree / name).chmod(mode)
    remove_tree(tree)
    assert not tree.exists()


def test_names_in_the_way(tree: Path) -> None:
    for name in ("1", "2/1", "2/2/1", "3/4/5/1", "4"):
        (tree / name).mkdir(parents=True)
        (tree / name / "2").touch()
    remove_tree(tree)
    assert not tree.exists()


def test_what_links_lead_to_stays(tree: Path) -> None:
    outside = tree.parent / "outside"
    outside.mkdir(mode=0o500)
    (tree / "folder").symlink_to(outside)
    (tree / "loop").symlink_to("loop")
    (tree / "nowhere").symlink_to("nothing")
    remove_tree(tree)
    assert not tree.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_what_is_gone_is_removed(tree: Path) -> None:
    remove_tree(tree / "nothing")


def test_what_cannot_be_removed_is_told(tree: Path) -> None:
    (tree.parent / "link").symlink_to(tree)
    with pytest.raises(OSError, match="link"):
        remove_tree(tree.parent / "link")
    assert tree.exists()
