"""A build's live log, over any number of broken connections."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp
import msgspec

from buildsys.cli.client import Client
from buildsys.core.logs import END
from buildsys.errors import Unavailable

PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further attempt to connect, each ± half; the last one again and again."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the log: `kind` is `lines` or the event's name, `cursor` its last entry."""

    cursor: int
    kind: str
    data: dict[str, Any]


class EventParser:
    """Cuts a byte stream into events. Source: HTML Living Standard, §9.2.6; comments and `retry` are passed over."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in this chunk."""
        if b"\n" not in chunk:
            self._parts.append(chunk)
            return []
        *blocks, rest = (b"".join(self._parts) + chunk).split(b"\n\n")
        self._parts = [rest]
        return [event for block in blocks if (event := _event(block))]


async def follow(
    client: Client, build: str, *, broken: Callable[[str], None] = lambda _: None, **wanted: str | int | None
) -> AsyncGenerator[Event, None]:
    """What is `wanted` of the build's log (`after=`, `job=`, … as the API takes them), live, until its end.

    Each record comes once, in order. A broken connection is made again, for ever, where the last event left off;
    `broken` is told why, once each time. Raises what the server answers, and `Unavailable` where it has not answered
    once.
    """
    path, failures, connected, last = f"/builds/{build}/logs", 0, False, 0
    while True:
        try:
            async with client.live(path, last=last, **wanted) as response:
                if response.status == 204:
                    return
                connected, parser = True, EventParser()
                async for chunk in response.content.iter_any():
                    failures = 0
                    for event in parser.feed(chunk):
                        yield event
                        last = event.cursor
                        if event.kind == END:
                            return
            reason = "the server closed it"
        except (aiohttp.ClientError, TimeoutError, Unavailable) as error:
            if not connected:
                raise
            reason = str(error) or type(error).__name__
        if not failures:
            broken(reason)
        pause = PAUSES[min(failures, len(PAUSES) - 1)]
        failures += 1
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads clients out, no secret


def _event(block: bytes) -> Event | None:
    fields: dict[bytes, bytes] = {}
    for line in block.splitlines():
        name, _, value = line.partition(b":")
        fields[name] = value.removeprefix(b" ")
    with contextlib.suppress(KeyError):
        return Event(
            cursor=int(fields[b"id"]), kind=fields[b"event"].decode(), data=msgspec.json.decode(fields[b"data"])
        )
    return None
