"""Images on this engine: found, pulled where they are missing, and tried once."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import aiodocker

from buildsys.adapters.docker_container import NO_FOLDER, init_command, isolation, refusal
from buildsys.adapters.docker_engine import Engine, EngineRefused
from buildsys.core.driver import Login
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

    async def have(self, reference: str | None, login: Login | None, progress: Callable[[str], None]) -> str:
        """Pull the image unless it is here; returns the name by which it is.

        Pulls of one image at the same time are one pull. What was pulled with a login has a name that only follows from
        the login, so that nobody without it is given what it opened. Raises `ImageUnusable`.
        """
        name = reference if login is None or reference is None else _private_name(reference, login)
        if await self.find(name) is None:
            assert reference is not None
            assert name is not None
            lock = self._pulls.setdefault(name, asyncio.Lock())
            if lock.locked():
                progress(f"waiting for the pull of {reference} that another job began")
            async with lock:
                if await self.find(name) is None:
                    await self._pull_as(name, reference, login, progress)
        assert name is not None
        return name

    async def check(self, name: str, shown: str) -> None:
        """Prove that the image, `shown` to people by this name, can run steps. Raises `ImageUnusable`."""
        image = await self.find(name)
        if image is None:
            raise ImageUnusable(f"the image {shown} was made ready and is not there")
        if image not in self._tried:
            await self._try(image, shown)
            self._tried.add(image)

    async def find(self, reference: str | None) -> str | None:
        """The id of an image that is here, None where it is not. Raises `ImageUnusable` for what names no image."""
        if reference is None:
            raise ImageUnusable("the job names no image: give it one with `container:`, or set a default")
        if len(reference) > 512 or not _REFERENCE.fullmatch(reference):
            raise ImageUnusable(f"not the name of an image: {reference!r}")
        image = await self._engine.find(self._engine.client.images.inspect(reference))
        return None if image is None else str(image["Id"])

    async def _pull_as(self, name: str, reference: str, login: Login | None, progress: Callable[[str], None]) -> None:
        """Pull, and move what came to the name, unless it is its own."""
        before = await self.find(reference)
        await self._pull(reference, login, progress)
        if await self.find(reference) is None:
            raise ImageUnusable(f"the image {reference} was pulled and is not there")
        if name != reference:
            repository, _, tag = name.partition(":")
            await self._engine.ask(self._engine.client.images.tag(reference, repository, tag=tag))
            if before is None:
                await self._engine.find(self._engine.client.images.delete(reference))

    async def _pull(self, reference: str, login: Login | None, progress: Callable[[str], None]) -> None:
        lines = PullProgress(reference)
        progress(f"pulling {reference}")
        try:
            await self._engine.ask(self._follow(reference, login, lines, progress), deadline=None)
        except EngineRefused as error:
            raise ImageUnusable(f"the image {reference} cannot be pulled: {error.text}") from error

    async def _follow(
        self, reference: str, login: Login | None, lines: PullProgress, progress: Callable[[str], None]
    ) -> None:
        auth = None if login is None else {"username": login.username, "password": login.password}
        full = reference if login is None else _with_registry(reference)
        async for report in self._engine.client.images.pull(full, auth=auth, stream=True):
            if "error" in report:
                raise aiodocker.DockerError(500, report["error"])
            line = lines.line(report, time.monotonic())
            if line is not None:
                progress(line)

    async def _try(self, image: str, reference: str) -> None:
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


def _private_name(reference: str, login: Login) -> str:
    digest = hashlib.sha256("\0".join((reference, login.username, login.password)).encode()).hexdigest()
    return f"buildsys-private:{digest}"


def _with_registry(reference: str) -> str:
    """The reference with the host of its registry: without one it is Docker's own."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


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
