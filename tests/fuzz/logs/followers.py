"""Readers of live logs that come and go, and hold against each other what they saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from system import System

Entry = tuple[Any, ...]


class Transcript:
    """What a build's log says, entry by entry, as the first follower to get there saw it."""

    def __init__(self, build: str) -> None:
        self.build = build
        self.entries: list[Entry] = []
        self.ended = False

    def take(self, cursor: int, entry: Entry) -> None:
        """What a follower got at a cursor; every one must get the same there."""
        if cursor == len(self.entries) + 1:
            self.entries.append(entry)
        assert self.entries[cursor - 1] == entry, f"{self.build}, {cursor}: {entry}, before {self.entries[cursor - 1]}"

    def printed(self, job: str, step: int) -> bytes:
        """The step's output, put together again."""
        lines = (entry for entry in self.entries if entry[:1] == ("lines",) and entry[2:4] == (job, step))
        return "".join(text + ("" if partial else "\n") for *_, text, partial in lines).encode()


class Follower:
    """One reader of one build's log: it leaves when it likes, comes back with its last cursor, and is never wrong."""

    def __init__(self, system: System, transcript: Transcript, chance: random.Random) -> None:
        self._system = system
        self._transcript = transcript
        self._chance = chance
        self._cursor = 0
        self.connections = 0
        self.back_in_a_batch = 0

    async def run(self) -> None:
        """Returns once it has seen the end of the log."""
        ended = False
        while not ended:
            self.connections += 1
            try:
                ended = await self._read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.3)
            else:
                await asyncio.sleep(0 if ended else self._chance.choice([0.0, 0.0, 0.1, 1.0]))
        self._transcript.ended = True

    async def _read(self) -> bool:
        """Until it leaves or is left; whether the end was seen."""
        leave_after = self._chance.choice([1, 5, 20, 100, 1000])
        count = 0
        async with contextlib.aclosing(self._events()) as stream:
            async for id, kind, data in stream:
                first = self._cursor + 1
                self._take(kind, data)
                assert int(id) == self._cursor, f"{self._transcript.build}: {kind} at {self._cursor} has the id {id}"
                if kind == "end":
                    return True
                count += 1
                if count == leave_after:
                    if first < self._cursor and self._chance.random() < 0.5:
                        self._cursor = self._chance.randint(first, self._cursor)
                        self.back_in_a_batch += 1
                    return False
        return False

    async def _events(self) -> AsyncGenerator[tuple[str, str, dict[str, Any]], None]:
        """Events as (id, event, data), until the stream ends."""
        headers = {**self._system.headers, "Accept": "text/event-stream"}
        if self._cursor:
            headers["Last-Event-ID"] = str(self._cursor)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.get(f"{self._system.url}/api/v1/builds/{self._transcript.build}/logs") as response,
        ):
            if response.status >= 500:
                return
            assert response.status == 200, f"{response.status} behind {self._cursor} of {self._transcript.build}"
            pending = bytearray()
            async for piece in response.content.iter_any():
                pending += piece
                while (end := pending.find(b"\n\n")) >= 0:
                    lines = pending[:end].decode().split("\n")
                    del pending[: end + 2]
                    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
                    if "data" in fields:
                        yield fields["id"], fields["event"], json.loads(fields["data"])

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        expected = self._cursor + 1
        place = (kind, data.pop("at"), data.pop("job"), data.pop("step"))
        if kind != "lines":
            cursor = data.pop("cursor")
            assert cursor == expected, f"{self._transcript.build}: {kind} at {cursor} instead of {expected}"
            self._transcript.take(cursor, (*place, data))
            self._cursor = cursor
            return
        lines, first, last = data["lines"], data["first"], data["last"]
        assert (first, last - first + 1) == (expected, len(lines)), (
            f"{self._transcript.build}: {len(lines)} lines at [{first}, {last}] instead of {expected}"
        )
        for cursor, text in enumerate(lines, first):
            self._transcript.take(cursor, (*place, text, data.get("partial", False) and cursor == last))
        self._cursor = last


def entry_of(entry: dict[str, Any]) -> Entry:
    """An entry of a JSON answer as followers keep it."""
    place = (entry["kind"], entry["at"], entry.get("job"), entry.get("step"))
    if entry["kind"] == "lines":
        return (*place, entry["text"], entry.get("partial", False))
    return (*place, entry["data"])
