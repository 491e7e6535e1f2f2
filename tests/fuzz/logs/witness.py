"""Hears from the steps' programs what they print, by a way of its own."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

Step = tuple[str, str, int]
"""A build, a job of it, a step of that."""


class Witness:
    """`printed` is what each step has printed, or is about to print in this moment."""

    def __init__(self) -> None:
        self.printed: dict[Step, bytearray] = {}
        self.bytes = 0
        self.starts: list[Step] = []
        self._tasks = asyncio.TaskGroup()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def printing(self) -> int:
        """How many steps run now."""
        return len(self._writers)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._tasks.__aexit__(None, None, None)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.create_task(self._listen(reader, writer))

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            await self._hear(reader)
        self._writers.discard(writer)
        writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        build, name = (await reader.readline()).decode().split()
        job, _, number = name.partition(".")
        step = (build, job, int(number))
        self.starts.append(step)
        printed = self.printed.setdefault(step, bytearray())
        while data := await reader.read(1 << 16):
            printed += data
            self.bytes += len(data)
