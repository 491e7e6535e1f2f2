"""One step of a process container: its pipe, its log, its status. Standard library only: the zygote imports it."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios
from pathlib import Path

CHUNK = 65536
LARGEST_LIMITS = 4096
BLOCK = 512
"""Bytes in a block of `log_blocks`, as in `ulimit -f` (POSIX)."""


def open_regular(path: Path, flags: int) -> int:
    """Open a file of the job's folder, where a job may put what it likes: no link is followed, and nothing waited for.

    Raises `ValueError` for what is no regular file, and `OSError`.
    """
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise ValueError(f"{path} is not a regular file")
    return file


def read_limits(folder: Path) -> tuple[int, bytes]:
    """The bytes that a step's log may have, and its marker: the text of the file `limits`. Raises `ValueError`."""
    file = open_regular(folder / "limits", os.O_RDONLY)
    try:
        values = dict(line.split(b"=", 1) for line in os.read(file, LARGEST_LIMITS).split())
    finally:
        os.close(file)
    try:
        return int(values[b"log_blocks"]) * BLOCK, values[b"marker"]
    except KeyError as missing:
        raise ValueError(f"{folder}/limits does not say {missing}") from None


class Step:
    """Drains the step's output into its log, before and after the step's end.

    `pipe` is the reading end; `stdout` the writing end, which is the step's own once it has started. `running` says
    whether the first process is there, `open` whether anybody is who could still print.
    """

    def __init__(self, folder: Path, room: int, marker: bytes) -> None:
        self.folder = folder
        self.pid = 0
        self.running = True
        self.open = True
        self.pipe, self.stdout = os.pipe()
        os.set_blocking(self.pipe, False)
        self._room = room
        self._truncated = False
        self._marker = marker
        self._log = open_regular(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def started(self) -> None:
        os.close(self.stdout)

    def forward(self) -> None:
        """Move what one read gives from the pipe to the log."""
        try:
            data = os.read(self.pipe, CHUNK)
        except BlockingIOError:
            return
        self.open = bool(data)
        self._write(data)

    def drain(self) -> None:
        """Move what is in the pipe now, and not what comes meanwhile: that need not end."""
        pending = struct.unpack("i", fcntl.ioctl(self.pipe, termios.FIONREAD, b"\0" * 4))[0]
        while pending > 0:
            data = os.read(self.pipe, pending)
            self._write(data)
            pending -= len(data)

    def finish(self, status: int) -> None:
        """The first process has exited: all it printed, the marker and a nonce, the status, in this order."""
        self.running = False
        self.drain()
        nonce = os.urandom(16).hex()
        end = self._marker + nonce.encode()
        if len(end) <= self._room:
            self._write(end)
        else:
            self._truncate()
        draft = self.folder / "status.new"
        file = open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(file, f"{status} {nonce}\n".encode())
        finally:
            os.close(file)
        draft.rename(self.folder / "status")

    def close(self) -> None:
        os.close(self.pipe)
        os.close(self._log)

    def _write(self, data: bytes) -> None:
        kept = data[: self._room]
        self._room -= len(kept)
        if len(kept) < len(data):
            self._truncate()
        while kept:
            kept = kept[os.write(self._log, kept) :]

    def _truncate(self) -> None:
        """The log is full: write no more, and say so."""
        if not self._truncated:
            self._truncated = True
            self._room = 0
            os.close(open_regular(self.folder / "truncated", os.O_WRONLY | os.O_CREAT))
