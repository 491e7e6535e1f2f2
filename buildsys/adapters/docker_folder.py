"""The job's folder as the Docker driver leaves and finds it on this host."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from buildsys.adapters.docker_container import isolation
from buildsys.adapters.docker_engine import Engine
from buildsys.adapters.docker_options import ROOT
from buildsys.errors import DriverError

_CONTROL_MODE = 0o666  # the image's user is any user; the folder lies below one that only the runner enters


def make_control(folder: Path) -> None:
    """Make the FIFO that the init will read, unless it is there."""
    control = folder / "control"
    try:
        os.mkfifo(control)
    except FileExistsError:
        return
    control.chmod(_CONTROL_MODE)


def listens(folder: Path) -> bool:
    """Whether the init has the FIFO open. The folder is the job's: no link is followed, nothing waited for."""
    try:
        control = os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # ENXIO: nobody reads it
        return False
    is_fifo = stat.S_ISFIFO(os.fstat(control).st_mode)
    os.close(control)
    return is_fifo


async def make_removable(folder: Path, *, engine: Engine, image: str | None) -> None:
    """Let this user delete everything in the folder.

    Root can anyway. For any other user a last container of the job's image opens what the job's users left, as root,
    without network. Raises `DriverError` where that fails.
    """
    if os.geteuid() == 0 or not await asyncio.to_thread(_is_locked, folder):
        return
    if image is None:
        raise DriverError(f"files of other users are left in {folder}, and the job names no image to open them with")
    code = await engine.run(
        {
            "Image": image,
            "User": "0",
            "Entrypoint": ["chmod", "-R", "a+rwX,-t", ROOT],
            "Cmd": [],
            "HostConfig": {
                **isolation(("DAC_OVERRIDE", "FOWNER")),
                "Mounts": [{"Type": "bind", "Source": str(folder), "Target": ROOT}],
                "NetworkMode": "none",
            },
        }
    )
    if code != 0:
        raise DriverError(f"files of other users are left in {folder}: chmod in the image {image} ended with {code}")


def _is_locked(folder: Path) -> bool:
    """Whether any folder below is not this user's to empty, or lies too deep to be looked at."""
    waiting = [str(folder)] if folder.exists() else []
    while waiting:
        path = waiting.pop()
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True) or _is_sticky_of_another(path):
            return True
        with os.scandir(path) as entries:
            waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return False


def _is_sticky_of_another(path: str) -> bool:
    info = os.lstat(path)
    return bool(info.st_mode & stat.S_ISVTX) and info.st_uid != os.geteuid()
