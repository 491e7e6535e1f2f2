"""What the kernel offers and Python 3.11 does not: `prctl` and `setns`. Standard library only, for the zygote."""

from __future__ import annotations

import ctypes
import os

PDEATHSIG = 1
DUMPABLE = 4
CHILD_SUBREAPER = 36
NO_NEW_PRIVS = 38

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; see prctl(2). Raises `OSError`."""
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def setns(pidfd: int, namespaces: int) -> None:
    """Enter namespaces of another process, all in one step (Linux 5.8); see setns(2). Raises `OSError`."""
    if _libc.setns(pidfd, namespaces) != 0:
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
