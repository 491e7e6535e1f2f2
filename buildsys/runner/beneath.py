"""Files of a folder that a job may change at any time: opened without leaving the folder, following and waiting."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_folder(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of a folder below `root`. No part is `..`, or a link: raises `OSError`."""
    folder = os.open(root, DIRECTORY)
    try:
        for part in parts:
            outer, folder = folder, os.open(part, DIRECTORY, dir_fd=folder)
            os.close(outer)
    except OSError:
        os.close(folder)
        raise
    return folder


def open_file(folder: int, name: str) -> int | None:
    """A descriptor of a regular file in a folder, None for anything else of that name. Raises `OSError`."""
    file = os.open(name, READ, dir_fd=folder)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def read_bounded(file: int, limit: int) -> bytes | None:
    """All of a file from its beginning; None where it is longer than `limit` bytes. Never reads more than that."""
    data = b""
    while len(data) <= limit:
        more = os.pread(file, limit + 1 - len(data), len(data))
        if not more:
            return data
        data += more
    return None
