"""Followers of one log in a process of their own, each of which checks every cursor and hashes what it got.

    python -m tests.bench.logs_client URL COUNT [TOKEN]

Says `null` once all follow, and at the log's end what they saw, in JSON. The hash goes over the lines as they stand in
the events, wherever those begin and end.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
import zlib
from functools import partial
from typing import Any
from urllib.parse import urlsplit

REQUEST = "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nAccept-Encoding: identity\r\n{more}\r\n"


ROOM = 256 << 10
"""Bytes that are received at once."""


class Follower(asyncio.BufferedProtocol):
    """One connection. HTTP's chunks are taken apart here: a library would be most of what is measured.

    All connections share the `room` into which they receive.
    """

    def __init__(self, request: bytes, started: asyncio.Event, room: bytearray) -> None:
        self._request = request
        self._started = started
        self._room = room
        self._raw = bytearray()
        self._text = bytearray()
        self._in_body = False
        self._searched = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.cursor = self.lines = self.hash = 0
        self.late: list[int] = []
        self.first = self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self._raw += memoryview(self._room)[:nbytes]
        if not self._in_body:
            end = self._raw.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._raw[:end]).lower()
            assert head.startswith(b"http/1.1 200"), head
            assert b"chunked" in head, head
            del self._raw[: end + 4]
            self._in_body = True
            self._started.set()
        self._unchunk()
        while (end := self._text.find(b"\n\n", self._searched)) >= 0:
            self._event(bytes(self._text[:end]))
            del self._text[: end + 2]
            self._searched = 0
        self._searched = max(0, len(self._text) - 1)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the stream ended before the log did"))

    def _unchunk(self) -> None:
        raw, at = self._raw, 0
        while (line := raw.find(b"\r\n", at)) >= 0:
            size = int(raw[at:line], 16)
            if len(raw) < line + size + 4:
                break
            self._text += raw[line + 2 : line + 2 + size]
            at = line + size + 4
        del raw[:at]

    def _event(self, event: bytes) -> None:
        fields = event.split(b"\n", 2)
        if len(fields) < 3 or not fields[2].startswith(b"data: "):
            return  # a heartbeat, or the time after which to come back
        id, kind, data = int(fields[0][4:]), fields[1][7:], fields[2]
        if kind != b"lines":
            assert id == self.cursor + 1, f"{id} behind {self.cursor}"
            self.cursor = id
            if kind == b"end":
                self.ended.set_result(None)
                self._transport.abort()
            return
        now = time.monotonic_ns()
        self.last = now / 1e9
        self.first = self.first or self.last
        place, _, lines = data.partition(b'"lines":[')
        lines = lines[: lines.rindex(b"]")]
        first = int(place[len(b'data: {"first":') : place.index(b",")])
        assert first == self.cursor + 1, f"{first} behind {self.cursor}"
        assert lines.count(b'","') == id - first, "as many lines as cursors"
        self.hash = zlib.crc32(lines, zlib.crc32(b",", self.hash))
        self.lines += id - first + 1
        self.cursor = id
        if lines[1:13].isdigit() and lines[13:20].isdigit():
            self.late.append(now - int(lines[1:20]))


async def main(url: str, count: int, token: str = "") -> None:
    parts = urlsplit(url)
    more = f"Authorization: Bearer {token}\r\n" if token else ""
    assert parts.hostname is not None
    assert parts.port is not None
    request = REQUEST.format(path=parts.path, host=parts.netloc, more=more).encode()
    loop, room = asyncio.get_running_loop(), bytearray(ROOM)
    followers = list[Follower]()
    for _ in range(count):
        started = asyncio.Event()
        _, follower = await loop.create_connection(
            partial(Follower, request, started, room), parts.hostname, parts.port
        )
        followers.append(follower)
        await started.wait()
    print("null", flush=True)
    await asyncio.gather(*(follower.ended for follower in followers))
    hashes = {(follower.hash, follower.lines, follower.cursor) for follower in followers}
    assert len(hashes) == 1, f"followers saw different logs: {hashes}"
    times, peak = os.times(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told: dict[str, Any] = {
        "hash": followers[0].hash,
        "lines": followers[0].lines,
        "began": min(follower.first for follower in followers),
        "ended": max(follower.last for follower in followers),
        "cpu": times.user + times.system,
        "peak": peak / 1024,
        "late": sorted(late / 1e6 for follower in followers for late in follower.late),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
