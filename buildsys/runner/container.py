"""A job's container, as the runner handles it: started, looked at, ended, and gone for sure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from buildsys.core.driver import ContainerSpec, ContainerStatus, Driver
from buildsys.errors import ContainerAlive, ContainerRefused, DriverError, ImageUnusable
from buildsys.runner.folder import JobFolder
from buildsys.runner.pace import Pace, backoff

REMOVE_WITHIN = 60.0
"""Seconds for which an engine that is away may come back and remove a container, before that is an error of the job."""

KILL_WITHIN = 30.0
"""Seconds in which a step that is killed must have its status; the init takes some for the end of its log."""

DELETE_WITHIN = 10.0
"""Seconds that a runner which is to stop waits for the removal of a folder."""


class JobContainer:
    """One container, found again by its name in every life of the runner."""

    def __init__(self, *, driver: Driver, spec: ContainerSpec, folder: JobFolder) -> None:
        self._driver = driver
        self._spec = spec
        self._folder = folder
        self._removed = False

    async def start(self, spec: ContainerSpec, progress: Callable[[str], None]) -> ContainerStatus:
        """Have its images and services, and then itself: `spec` is its own with all that it is equipped with.

        Raises `ContainerRefused` where the job's own choice of an image is at fault, not the runner's.
        """
        self._removed = False
        try:
            ready = await self._driver.prepare(spec, progress)
            container = await self._driver.start(ready, progress)
        except ImageUnusable as error:
            if spec.image == self._spec.image and spec.build is None:
                raise
            raise ContainerRefused(f"the job's container: {error}") from error
        progress(f"Container started by the {self._driver.name} driver")
        return container

    async def lost(self) -> str | None:
        """Why it no longer runs; None while it does, or while the engine does not say."""
        try:
            container = await self._driver.inspect(self._spec.name)
        except DriverError:
            return None
        if container is None:
            return "it is gone"
        return None if container.running else container.reason or "it stopped by itself"

    async def terminate(self, step: int, *, grace: float) -> None:
        """Ask the step to end, if it runs, and give it `grace` seconds."""
        pace = Pace()
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(grace):
                if self._folder.is_started(step):
                    await self._driver.terminate(self._spec.name)
                while self._folder.is_started(step) and self._folder.status(step) is None:
                    await pace.wait()

    async def kill(self, step: int) -> bool:
        """Leave nothing of a step, nor of what else runs beside the init; False where that is not certain."""
        pace = Pace()
        try:
            async with asyncio.timeout(KILL_WITHIN):
                while True:
                    is_over = self._folder.status(step) is not None
                    await self._driver.kill(self._spec.name)
                    if is_over:  # before it was killed: then nothing could pass for a part of the init
                        return True
                    while self._folder.status(step) is None:
                        await pace.wait()
        except (DriverError, TimeoutError):
            return False

    async def remove(self) -> str | None:
        """Remove it and return None, or why it is still there."""
        attempt = 0
        until = time.monotonic() + REMOVE_WITHIN
        while True:
            try:
                await self._driver.remove(self._spec)
            except DriverError as error:
                attempt += 1
                if isinstance(error, ContainerAlive) or time.monotonic() >= until:
                    return f"the container could not be removed: {error}"
            else:
                self._removed = True
                return None
            await asyncio.sleep(backoff(attempt))

    async def clear(self) -> None:
        """Remove it, unless that is done, and then the job's folder. Raises `DriverError` and `OSError`: try again."""
        if not self._removed:
            await self._driver.remove(self._spec)
            self._removed = True
        await delete(self._folder)


async def delete(folder: JobFolder) -> None:
    """Delete the folder in a thread. Once begun it is not broken off: a cancel waits for the thread to end."""
    deleting = asyncio.create_task(asyncio.to_thread(folder.delete))
    try:
        await asyncio.shield(deleting)
    except asyncio.CancelledError:
        await asyncio.wait({deleting}, timeout=DELETE_WITHIN)
        raise
