"""The demo's proof: what was seen live, what history gives back, and what the program printed are the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from buildsys.cli.client import Client
from buildsys.cli.events import Event
from buildsys.core.logs import END, LINES

Place = tuple[str, int]
"""A job's id and a step's number."""


LOOK = 0.005
"""Seconds between two looks for the build: the demo measures how soon its first line is seen."""


class Difference(msgspec.Struct, frozen=True):
    """A step whose output is not the same everywhere."""

    place: Place
    live: str
    history: str
    printed: str | None


class Witness:
    """Keeps what the live log showed, and when the first step of the workflow's own printed."""

    def __init__(self) -> None:
        self.live: dict[Place, str] = {}
        self.first_line: float | None = None
        self.end: dict[str, Any] = {}

    def see(self, event: Event) -> None:
        if event.kind == END:
            self.end = event.data
        if event.kind != LINES:
            return
        place = (event.data["job"], event.data["step"])
        if place[1] > 0 and self.first_line is None:
            self.first_line = time.monotonic()
        text = "\n".join(event.data["lines"]) + ("" if event.data.get("partial") else "\n")
        self.live[place] = self.live.get(place, "") + text

    async def differences(
        self, client: Client, build: dict[str, Any], printed: Mapping[Place, str]
    ) -> list[Difference]:
        """Every step whose live output differs from history's, or from what it printed where that is known."""
        found = []
        for place in sorted(self.live.keys() | printed.keys()):
            chunks = [each async for each in client.text(f"/builds/{build['id']}/logs", job=place[0], step=place[1])]
            live, history = self.live.get(place, ""), b"".join(chunks).decode()
            if not live == history == printed.get(place, history):
                found.append(Difference(place, live, history, printed.get(place)))
        return found


async def build_of(client: Client, project: str, *, limit: float = 30.0) -> dict[str, Any]:
    """The project's first build, once it is there. Raises TimeoutError after `limit` seconds."""
    async with asyncio.timeout(limit):
        while True:
            builds: list[dict[str, Any]] = (await client.get("/builds", project=project))["builds"]
            if builds:
                return builds[-1]
            await asyncio.sleep(LOOK)
