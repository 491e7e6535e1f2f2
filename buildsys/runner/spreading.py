"""Tells the file system that the folders in a folder have nothing to do with each other: chattr(1), attribute T.

ext4 keeps what is in one folder close together, and is slow to give out again what was deleted a short while ago: it
looks at every such file. Jobs leave thousands of them. With the attribute each job's folder is put somewhere else, and
making a file in it takes 0.05 ms and not 1 ms.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_OF_HIERARCHIES = 0x00020000
"""From linux/fs.h, where they are FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL; 64 bits wide."""

_FLAGS = struct.Struct("l")


def spread(folder: Path) -> None:
    """Have what will be made in the folder put far from each other, where the file system knows of that."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            (flags,) = _FLAGS.unpack(fcntl.ioctl(file, _GET_FLAGS, _FLAGS.pack(0)))
            fcntl.ioctl(file, _SET_FLAGS, _FLAGS.pack(flags | _TOP_OF_HIERARCHIES))
    finally:
        os.close(file)
