"""A tree of folders, removed whatever a build made of it: any depth, any length of path, any mode.

A walk that goes down as deep as the tree does would be at its mercy: a thousand levels are too many for Python's stack,
and a few more for its open files. So the tree is made flat first: a folder is emptied by moving the folders in it up,
next to itself, where their turn comes. No path has more than one name.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(folder: Path) -> None:
    """Remove the folder and all that is in it; one that is not there is removed already.

    Follows no link, and opens the folders that are closed to their owner. Nobody else may move anything in the tree
    meanwhile. Raises `OSError` for what cannot be removed; the call may then be repeated.
    """
    try:
        top = _open(folder)
    except FileNotFoundError:
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    folder.rmdir()


def _empty(top: int) -> None:
    waiting = _unlink_files(top, os.listdir(top))
    moved = 0
    while waiting:
        name = waiting.pop()
        folder = _open(name, within=top)
        try:
            for inner in _unlink_files(folder, os.listdir(folder)):  # noqa: PTH208  as above
                up, moved = _free_name(top, moved)
                os.rename(inner, up, src_dir_fd=folder, dst_dir_fd=top)
                waiting.append(up)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)


def _unlink_files(folder: int, names: list[str]) -> list[str]:
    """Unlink those that are no folders, and open the others; returns these."""
    folders = []
    for name in names:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=folder)
            continue
        folders.append(name)
        if ~mode & stat.S_IRWXU:  # a closed folder cannot be moved either
            os.close(_open(name, within=folder))
    return folders


def _open(name: str | Path, *, within: int | None = None) -> int:
    """The folder, opened to its owner first where it was closed."""
    place = os.open(name, os.O_PATH | _FOLDER, dir_fd=within)
    try:
        mode = stat.S_IMODE(os.fstat(place).st_mode)
        if ~mode & stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{place}", mode | stat.S_IRWXU)  # noqa: PTH101  the very folder, whatever its name
        return os.open(".", os.O_RDONLY | _FOLDER, dir_fd=place)
    finally:
        os.close(place)


def _free_name(folder: int, last: int) -> tuple[str, int]:
    while True:
        last += 1
        try:
            os.stat(str(last), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return str(last), last
