"""A build watched to its end: its log on stdout, a line for each state and step on stderr."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from buildsys.cli.client import Client
from buildsys.cli.events import Event, follow
from buildsys.cli.terminal import COLORS, MARKS, Terminal, plain
from buildsys.core.build import Outcome
from buildsys.core.logs import END, LINES
from buildsys.errors import Unavailable

EXIT_CODES = {
    Outcome.SUCCESS: 0,
    Outcome.SKIPPED: 0,
    Outcome.FAILED: 1,
    Outcome.CANCELED: 3,
    Outcome.TIMED_OUT: 4,
    Outcome.ERRORED: 5,
}
LOOK = 1.0
"""Seconds before and between looks at why a queued build waits."""


async def watch(client: Client, terminal: Terminal, build: dict[str, Any], **wanted: str | int | None) -> int:
    """Show what is `wanted` of a build's log, live, until its end; return the exit code that stands for its outcome.

    Cancelled, it says that the build goes on.
    """
    narrator = Narrator(terminal)
    narrator.introduce(build)
    try:
        async with (
            _reasons_told(client, narrator, build),
            contextlib.aclosing(follow(client, build["id"], broken=narrator.broken, **wanted)) as events,
        ):
            async for event in events:
                narrator.tell(event)
    except asyncio.CancelledError:
        terminal.note(f"\nThe build goes on. To cancel it: buildsys build cancel {build['id']}")
        raise
    outcome = narrator.outcome or (await client.get(f"/builds/{build['id']}"))["outcome"]
    return EXIT_CODES[Outcome(outcome)]


class Narrator:
    """Tells a build's events to a person, or to a program where the terminal is set to JSON."""

    def __init__(self, terminal: Terminal) -> None:
        self.outcome: str | None = None
        self._build = "build"
        self._terminal = terminal
        self._names: dict[tuple[str, int], str] = {}
        self._jobs: dict[str, str] = {}
        self._since: dict[tuple[str, int], datetime] = {}
        self._place: tuple[str, int] | None = None
        self._open = False

    def introduce(self, build: dict[str, Any]) -> None:
        if self._terminal.json:
            self._terminal.answer(build)
            return
        attempt = f" attempt {build['attempt']}" if build["attempt"] > 1 else ""
        self._build = f"{build['project']} #{build['number']}{attempt}"
        said = (self._build, plain(build["branch"]), build["commit"][:10], plain(build["title"]))
        self._note(f"● {' · '.join(filter(None, said))}")

    def waiting(self, reason: str) -> None:
        """Say why a queued build waits."""
        if not self._terminal.json:
            self._note(f"· queued: {plain(reason)}", color="yellow")

    def broken(self, reason: str) -> None:
        """Say that the connection broke and is being made again."""
        self._note(f"buildsys: the connection broke ({plain(reason)}); connecting again", color="yellow")

    def tell(self, event: Event) -> None:
        data = event.data
        if event.kind == END:
            self.outcome = data["outcome"]
        if self._terminal.json:
            self._terminal.answer({"kind": event.kind, **data})
        elif event.kind == LINES:
            self._lines(data)
        elif event.kind in ("step_started", "step_stopped"):
            self._step(event.kind, data)
        elif event.kind == "job_planned":
            self._jobs[data["job"]] = data["name"]
        elif "outcome" in data:
            self._stopped(self._job(data) or self._build, data["outcome"], data.get("reason"))
        else:
            details = [plain(text) for text in (self._job(data), data.get("driver"), data.get("reason")) if text]
            self._note(f"· {plain(event.kind).replace('_', ' ').removeprefix('build ')} {' · '.join(details)}".rstrip())

    def _lines(self, data: dict[str, Any]) -> None:
        place = (data["job"], data["step"])
        if place != self._place:
            self._note(f"▸ {self._name(place)}", color="cyan")
            self._place = place
        self._open = bool(data.get("partial"))
        self._terminal.log(data["lines"], end="" if self._open else "\n")

    def _step(self, kind: str, data: dict[str, Any]) -> None:
        place, at = (data["job"], data["step"]), datetime.fromisoformat(data["at"])
        if kind == "step_started":
            self._names[place], self._since[place] = data["name"], at
            self._note(f"▸ {self._name(place)}", color="cyan")
            self._place = place
            return
        if data.get("name"):
            self._names.setdefault(place, data["name"])  # one that was skipped never started
        since = self._since.get(place)
        exit_code = data.get("exit_code")
        self._stopped(
            self._name(place),
            data["outcome"],
            f"exit {exit_code}" if exit_code else None,
            at - since if since else None,
        )
        self._place = None

    def _stopped(self, name: str, outcome: str, reason: str | None, took: timedelta | None = None) -> None:
        details = [outcome, *([plain(reason)] if reason else []), *([f"{took.total_seconds():.1f} s"] if took else [])]
        self._note(f"{MARKS.get(outcome, '·')} {name}: {' · '.join(details)}", color=COLORS.get(outcome))

    def _name(self, place: tuple[str, int]) -> str:
        job = self._jobs.get(place[0], place[0])
        return plain(f"{job} / {self._names.get(place, f'step {place[1]}')}")

    def _job(self, data: dict[str, Any]) -> str | None:
        job = data.get("job")
        return self._jobs.get(job, job) if job else None

    def _note(self, text: str, *, color: str | None = None) -> None:
        if self._open and self._terminal.interactive:
            self._terminal.say()
        self._open = False
        self._terminal.note(text, color=color)


@contextlib.asynccontextmanager
async def _reasons_told(client: Client, narrator: Narrator, build: dict[str, Any]) -> AsyncIterator[None]:
    """Beside the body, say why the build waits for as long as it is queued."""

    async def look() -> None:
        told, now = None, build
        while now["state"] == "queued":
            await asyncio.sleep(LOOK)
            with contextlib.suppress(Unavailable):
                now = await client.get(f"/builds/{build['id']}")
            if now["waiting"] not in (None, told):
                narrator.waiting(told := now["waiting"])

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
