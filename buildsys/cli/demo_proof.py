"""The demo's proof: what was seen live, what history gives back, and what the program printed are the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from buildsys.cli.client import Client
from buildsys.cli.events import Event
from buildsys.core.logs import LINES

Place = tuple[str, int]
"""A job's id and a step's number."""

LOOK = 0.005
"""Seconds between two looks for the build: the demo measures how soon its first line is seen."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A step whose output is not the same everywhere; `printed` is None where it is not known by hand."""

    job: str
    step: int
    live: str
    history: str
    printed: str | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the demo. Times are in seconds, `first_line` from the webhook's sending to a step's first line.

    `lines` were seen live, `known` of them could be compared with what the steps print by hand; `unbroken` says that
    the cursors counted from 1 to the end without a hole or a repetition.
    """

    driver: str
    outcome: str
    duration: float
    first_line: float | None
    lines: int
    known: int
    unbroken: bool
    differences: list[Difference]

    @property
    def held(self) -> bool:
        """Whether all that the demo promises has been seen."""
        return (
            self.outcome == "success" and self.first_line is not None and self.unbroken and self.known > 0
        ) and not self.differences


class Witness:
    """Keeps what the live log showed, and when the first of the workflow's own steps printed."""

    def __init__(self) -> None:
        self._live: dict[Place, str] = {}
        self._first_line: float | None = None
        self._last = 0
        self._unbroken = True

    def see(self, event: Event) -> None:
        first = event.data["first"] if event.kind == LINES else event.cursor
        self._unbroken, self._last = self._unbroken and first == self._last + 1, event.cursor
        if event.kind != LINES:
            return
        place = (event.data["job"], event.data["step"])
        if place[1] > 0 and self._first_line is None:
            self._first_line = time.monotonic()
        text = "\n".join(event.data["lines"]) + ("" if event.data.get("partial") else "\n")
        self._live[place] = self._live.get(place, "") + text

    async def verdict(
        self, client: Client, id: str, printed: Mapping[Place, str], *, driver: str, sent: float
    ) -> Verdict:
        """Compare with history, and with what the steps print by hand; `sent` is when, by the monotonic clock."""
        build = await client.get(f"/builds/{id}")
        queued, stopped = (datetime.fromisoformat(build[key]) for key in ("queued_at", "stopped_at"))
        return Verdict(
            driver=driver,
            outcome=build["outcome"],
            duration=(stopped - queued).total_seconds(),
            first_line=None if self._first_line is None else self._first_line - sent,
            lines=sum(text.count("\n") for text in self._live.values()),
            known=sum(text.count("\n") for text in printed.values()),
            unbroken=self._unbroken,
            differences=await self._differences(client, id, printed),
        )

    async def _differences(self, client: Client, id: str, printed: Mapping[Place, str]) -> list[Difference]:
        found = []
        for job, step in sorted(self._live.keys() | printed.keys()):
            chunks = [each async for each in client.text(f"/builds/{id}/logs", job=job, step=step)]
            live, history, known = self._live.get((job, step), ""), b"".join(chunks).decode(), printed.get((job, step))
            if live != history or known not in (None, history):
                found.append(Difference(job=job, step=step, live=live, history=history, printed=known))
        return found


async def build_of(client: Client, project: str, *, limit: float = 30.0) -> dict[str, Any]:
    """The project's first build, once it is there. Raises TimeoutError after `limit` seconds."""
    async with asyncio.timeout(limit):
        while True:
            builds: list[dict[str, Any]] = (await client.get("/builds", project=project))["builds"]
            if builds:
                return builds[-1]
            await asyncio.sleep(LOOK)
