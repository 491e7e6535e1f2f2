"""A job's folder played as the runner plays it, and a look at this host's processes from outside."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import msgspec
import pytest

from buildsys.core.driver import ContainerSpec, Driver

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a job a user of its own")
Start = Callable[..., Awaitable["Job"]]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A driver under test, open within `async with`; its folder of jobs is gone afterwards.

    `source` is Python that binds `driver` to another one of it, for use in another process.
    """

    driver: Driver
    source: str
    jobs: Path
    image: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.close()
        shutil.rmtree(self.jobs)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended: what it printed before its marker, and its exit status."""

    log: bytes
    status: int


class Job:
    """A job's folder and container, ordered about the way a runner does it: through files alone."""

    def __init__(self, driver: Driver, spec: ContainerSpec) -> None:
        self.driver = driver
        self.spec = spec
        self.folder = spec.folder
        self._steps = 0
        self._markers: dict[int, bytes] = {}

    def write(self, script: str, *, log_limit: int = 1 << 30) -> int:
        """Make the next step's files; returns its number."""
        self._steps += 1
        folder = self.folder / "steps" / str(self._steps)
        make_folder(folder)
        self._markers[self._steps] = secrets.token_hex(16).encode()
        (folder / "limits").write_bytes(b"log_blocks=%d\nmarker=%s\n" % (log_limit // 512, self._markers[self._steps]))
        (folder / "run").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "run").chmod(0o777)
        return self._steps

    async def order(self, step: int) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    control = os.open(self.folder / "control", os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads it yet
                    await asyncio.sleep(0.005)
                else:
                    break
        os.write(control, b"%d\n" % step)
        os.close(control)

    async def run(self, script: str, *, deadline: float = 20, log_limit: int = 1 << 30) -> Result:
        step = self.write(script, log_limit=log_limit)
        await self.order(step)
        return await self.result(step, deadline=deadline)

    async def result(self, step: int, *, deadline: float = 20) -> Result:
        """The step's end. Marker and nonce are in the log by the time there is a status: that is the contract."""
        await until((self.step(step) / "status").exists, deadline)
        log = self.log(step)
        if not (self.step(step) / "truncated").exists():
            assert log.count(self._end(step)) == 1, "a status before its marker"
            log = log.partition(self._end(step))[0]
        return Result(log=log, status=int(self._status(step)[0]))

    def behind(self, step: int) -> bytes:
        """What children printed behind the end."""
        return self.log(step).partition(self._end(step))[2]

    def _end(self, step: int) -> bytes:
        return self._markers[step] + self._status(step)[1].encode()

    def _status(self, step: int) -> list[str]:
        return (self.step(step) / "status").read_text().split()

    def log(self, step: int) -> bytes:
        return (self.step(step) / "log").read_bytes()

    def step(self, step: int) -> Path:
        return self.folder / "steps" / str(step)


def wanting(image: str | None) -> ContainerSpec:
    """A job that wants an image and is never started."""
    return ContainerSpec(name="wanting", folder=Path("/nowhere"), lifetime=1, image=image)


def make_folder(folder: Path) -> None:
    """As the runner makes it: open to any user."""
    folder.mkdir(parents=True)
    folder.chmod(0o777)


async def until(condition: Callable[[], bool], deadline: float = 20) -> None:
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.005)


def processes(token: str) -> list[int]:
    """Every live process on this host that has the token in its arguments: what is seen from outside a container."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if token.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # gone meanwhile
    return found
