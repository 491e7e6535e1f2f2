"""Where jobs of the process driver live, and as whom.

Run by root, every job gets a user of its own, so that no job can signal, trace or read another one. Such a user has a
number and nothing else: no name, no group, no entry in /etc/passwd. Claims are kept for the whole host, since users
are the host's: two installations never share one.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildsys.adapters import process_tree as tree
from buildsys.errors import DriverError

CLAIMS = Path("/run/buildsys-users")
USERS = range(64000, 65000)
"""Debian's policy (9.2.2) keeps 60000-64999 for packages that need a user on demand: no person has such a number."""

RECORD_DEADLINE = 60.0
_WORD = re.compile(r"[\w%+,./:=@-]+")


def jobs_folder(private: Path, *, installation: str) -> Path:
    """The folder below which the folders of jobs must be, made where it is missing.

    It is `private` itself, unless its path is none that a shell takes as one word (workflows say `>> $GITHUB_OUTPUT`),
    or we are root and it lies where a job's own user could not reach it (a data folder is root's alone): then it is one
    in /var/tmp, which a root's jobs may pass through but not list. Raises `DriverError` where that name is taken by
    anything but a folder of ours.
    """
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    apart = os.geteuid() == 0
    if _WORD.fullmatch(str(private)) and (not apart or is_reachable(private)):
        return private
    mode = 0o711 if apart else 0o700
    folder = Path(f"/var/tmp/buildsys-{os.geteuid()}-{installation}")  # noqa: S108  owner and kind are checked below
    folder.mkdir(mode=mode, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise DriverError(f"{folder} is not a folder of user {os.geteuid()}: remove it, jobs are to live there")
    folder.chmod(mode)
    return folder


def is_reachable(folder: Path) -> bool:
    """Whether any user can pass through the folder and all above it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def claim(container: Path) -> int:
    """A free user for the container of which the given file is the record; `release` gives it back.

    A claim outlives its owner: it stands until somebody has proven that no process of the user is left, or until the
    record is gone and so is every process. Raises `DriverError` when all are taken.
    """
    with _claims() as claims:
        taken = {int(link.name) for link in claims.iterdir()}
        if free := [uid for uid in USERS if uid not in taken]:
            uid = secrets.choice(free)  # not the last one in use: its files may still be somewhere
            (claims / str(uid)).symlink_to(container)
            return uid
        for uid in taken:
            link = claims / str(uid)
            if _is_stale(link) and not tree.owned(uid):
                link.unlink()
                link.symlink_to(container)
                return uid
    raise DriverError(f"all {len(USERS)} users for jobs are in use: see {CLAIMS}")


def release(uid: int, container: Path) -> None:
    """Give the user back; of another container's user nothing is done."""
    if holds(uid, container):
        (CLAIMS / str(uid)).unlink()


def holds(uid: int, container: Path) -> bool:
    """Whether the user is the container's: after a restart of the host it may be another one's."""
    link = CLAIMS / str(uid)
    return link.is_symlink() and link.readlink() == container


def _is_stale(link: Path) -> bool:
    """Whether the container is forgotten. Its record comes after the claim, within the time an order may take."""
    return not link.readlink().exists() and time.time() - link.lstat().st_mtime > RECORD_DEADLINE


@contextmanager
def _claims() -> Iterator[Path]:
    """The folder of claims, to ourselves."""
    CLAIMS.mkdir(mode=0o700, exist_ok=True)
    status = CLAIMS.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0:
        raise DriverError(f"{CLAIMS} is not a folder of root: remove it, the users of jobs are claimed there")
    fd = os.open(CLAIMS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield CLAIMS
    finally:
        os.close(fd)
