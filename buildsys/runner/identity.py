"""Who a runner is: an id for good, and an incarnation that tells its lives apart."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from uuid import uuid4

from buildsys.errors import SetupError


class Identity:
    """The runner of a data folder, in its newest life; only one process at a time is it.

    `claim` bumps the incarnation on disk before anyone hears of it, so that no two lives share one even when the
    machine loses power. Raises `SetupError` while another process holds the folder.
    """

    def __init__(self, *, id: str, incarnation: int, lock: int) -> None:
        self.id = id
        self.incarnation = incarnation
        self._lock = lock

    @classmethod
    def claim(cls, data: Path) -> Identity:
        folder = data / "runner"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise SetupError(
                f"another runner uses {folder}; stop it, or give this one a data folder of its own"
            ) from None
        id = _read(folder / "id") or _write(folder / "id", str(uuid4()))
        incarnation = int(_read(folder / "incarnation") or 0) + 1
        _write(folder / "incarnation", str(incarnation))
        return cls(id=id, incarnation=incarnation, lock=lock)

    def release(self) -> None:
        os.close(self._lock)


def _read(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None


def _write(path: Path, text: str) -> str:
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return text
