"""Images on this engine: found, pulled where they are missing, and tried once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import aiodocker

from buildsys.adapters.docker_container import NO_FOLDER, init_command, isolation, refusal
from buildsys.adapters.docker_engine import Engine, EngineRefused
from buildsys.errors import ImageUnusable

_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?{_WORD}(?:/{_WORD})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""What names an image (the `reference` package of the distribution project), digests with SHA-256 only. It comes from
a workflow file and becomes a part of a URL, so nothing else may pass."""

_PROGRESS = 2.0  # seconds between two lines about one layer that are not about a new state
_LOOK_AWAY = {"Downloading", "Extracting"}


class Images:
    """Makes images usable. Of the images that were tried it remembers the ids, and nothing else."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine
        self._tried: set[str] = set()
        self._pulls: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def prepare(self, reference: str | None, progress: Callable[[str], None]) -> str:
        """Pull the image unless it is here, and prove that it can run steps; returns its id.

        Pulls of one image at the same time are one pull. Raises `ImageUnusable`.
        """
        image = await self.find(reference)
        if image is None:
            assert reference is not None
            lock = self._pulls.setdefault(reference, asyncio.Lock())
            if lock.locked():
                progress(f"waiting for the pull of {reference} that another job began")
            async with lock:
                image = await self.find(reference)
                if image is None:
                    await self._pull(reference, progress)
                    image = await self.find(reference)
        if image is None:
            raise ImageUnusable(f"the image {reference} was pulled and is not there")
        if image not in self._tried:
            await self._try(image, reference)
            self._tried.add(image)
        return image

    async def find(self, reference: str | None) -> str | None:
        """The id of an image that is here, None where it is not. Raises `ImageUnusable` for what names no image."""
        if reference is None:
            raise ImageUnusable("the job names no image: give it one with `container:`, or set a default")
        if len(reference) > 512 or not _REFERENCE.fullmatch(reference):
            raise ImageUnusable(f"not the name of an image: {reference!r}")
        image = await self._engine.find(self._engine.client.images.inspect(reference))
        return None if image is None else str(image["Id"])

    async def _pull(self, reference: str, progress: Callable[[str], None]) -> None:
        lines = PullProgress(reference)
        progress(f"pulling {reference}")
        try:
            await self._engine.ask(self._follow(reference, lines, progress), deadline=None)
        except EngineRefused as error:
            raise ImageUnusable(f"the image {reference} cannot be pulled: {error.text}") from error

    async def _follow(self, reference: str, lines: PullProgress, progress: Callable[[str], None]) -> None:
        async for report in self._engine.client.images.pull(reference, stream=True):
            if "error" in report:
                raise aiodocker.DockerError(500, report["error"])
            line = lines.line(report, time.monotonic())
            if line is not None:
                progress(line)

    async def _try(self, image: str, reference: str | None) -> None:
        """Start the image's `sh` once, without network and folder. It ends at once, saying what it lacks."""
        config = {
            "Image": image,
            "Entrypoint": init_command(1),
            "Cmd": [],
            "HostConfig": {**isolation(()), "NetworkMode": "none"},
        }
        code = await self._engine.run(config)
        if code != NO_FOLDER:
            raise ImageUnusable(f"the image {reference} cannot run steps: {refusal(code) or f'sh ended with {code}'}")


class PullProgress:
    """Turns the engine's reports into lines: one for each new state of a layer, else one each two seconds."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._states: dict[str, str] = {}
        self._told = 0.0

    def line(self, report: dict[str, Any], now: float) -> str | None:
        layer, state = report.get("id", ""), report.get("status", "")
        changed = self._states.get(layer) != state
        self._states[layer] = state
        if not state or (not changed and (state not in _LOOK_AWAY or now - self._told < _PROGRESS)):
            return None
        self._told = now
        detail = report.get("progressDetail") or {}
        amount = ""
        if state in _LOOK_AWAY and detail.get("total"):
            amount = f" {detail.get('current', 0) / 1e6:.1f} of {detail['total'] / 1e6:.1f} MB"
        return f"{layer}: {state}{amount}" if layer else state
