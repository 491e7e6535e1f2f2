"""Tells that a file was moved into a folder, the moment it is: Linux' inotify(7). It only saves waiting."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

_MOVED_TO = 0x00000080
_ONESHOT = 0x80000000
_EVENT = struct.Struct("iIII")
"""Watch, mask, cookie and the length of the name that follows."""

_libc = ctypes.CDLL(None)


class Arrivals:
    """Watches folders of jobs, `async with` it. Where the kernel gives none or no more, no event is ever set.

    Each folder is told of once: a job that moves files there for nothing wakes nobody a second time.
    """

    def __init__(self) -> None:
        self._file = -1
        self._events: dict[int, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        self._file = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file >= 0:
            asyncio.get_running_loop().add_reader(self._file, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    @contextmanager
    def next_in(self, folder: int) -> Iterator[asyncio.Event]:
        """Have an event that the next arrival in a folder sets, given as a descriptor of it."""
        event = asyncio.Event()
        path = f"/proc/self/fd/{folder}".encode()
        watch = _libc.inotify_add_watch(self._file, path, ctypes.c_uint32(_MOVED_TO | _ONESHOT))
        if watch >= 0:
            self._events[watch] = event
        try:
            yield event
        finally:
            if self._events.pop(watch, None) is not None:
                _libc.inotify_rm_watch(self._file, watch)

    def _read(self) -> None:
        data = os.read(self._file, 1 << 16)
        at = 0
        while at < len(data):
            watch, _, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if (event := self._events.pop(watch, None)) is not None:
                event.set()
