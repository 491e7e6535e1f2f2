"""A road between two processes that can be cut: both ways or one, so that bytes are swallowed and nobody is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from types import TracebackType
from typing import Literal, Self

Way = Literal["there", "back"]


class Proxy:
    """Listens on a port of its own and passes bytes on to `upstream`: a port, or the path of a Unix socket.

    A way that is cut swallows what goes along it and counts it in `swallowed`; connections stay open, and new ones are
    accepted and lead nowhere. `heal` breaks the connections that have lost bytes, as their ends would sooner or later.
    """

    def __init__(self, upstream: int | str) -> None:
        self.upstream = upstream
        self.port = 0
        self.swallowed: Counter[Way] = Counter()
        self._cut: set[Way] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._connections = asyncio.TaskGroup()
        self._damaged: set[asyncio.StreamWriter] = set()
        self._lost: set[asyncio.StreamWriter] = set()

    def cut(self, *ways: Way) -> None:
        """From now on nothing goes along these ways, or along both."""
        self._cut |= set(ways or ("there", "back"))
        self.swallowed.clear()

    def heal(self) -> None:
        """Everything passes again; connections that have lost bytes end."""
        self._cut.clear()
        for stream in self._damaged:
            stream.transport.abort()
        self._damaged.clear()

    def forget(self) -> None:
        """Everything passes again, but for connections that have lost bytes: nothing is ever heard of them."""
        self._cut.clear()
        self._lost |= self._damaged
        self._damaged.clear()

    async def __aenter__(self) -> Self:
        await self._connections.__aenter__()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for stream in self._streams:
            stream.transport.abort()
        await self._connections.__aexit__(None, None, None)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server.is_serving():
            self._connections.create_task(self._connect(reader, writer))
        else:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.upstream, str):
                far_reader, far_writer = await asyncio.open_unix_connection(self.upstream)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        if not self._server.is_serving():
            for end in ends:
                end.transport.abort()
            return
        self._streams |= ends
        await asyncio.gather(
            self._pass("there", reader, far_writer, ends), self._pass("back", far_reader, writer, ends)
        )
        self._streams -= ends
        self._damaged -= ends
        for end in ends:
            end.transport.abort()

    async def _pass(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: set[asyncio.StreamWriter]
    ) -> None:
        """One way of one connection; whichever ends first ends the other, unless the road is cut."""
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if writer in self._lost:
                    continue
                if way in self._cut:
                    self.swallowed[way] += len(data)
                    self._damaged |= ends
                else:
                    writer.write(data)
                    await writer.drain()
        if way in self._cut:
            self._damaged |= ends
            return
        if writer in self._lost:
            return
        for end in ends:
            end.transport.abort()
