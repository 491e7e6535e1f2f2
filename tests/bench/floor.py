"""The same by hand: git fetches a commit into a fresh folder, then a container or a process prints its first byte."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import aiodocker

from buildsys.adapters.docker_container import container_config
from buildsys.adapters.process_sandbox import command
from buildsys.core.driver import ContainerSpec
from tests.git_server import CLEAN

SCRIPT = "echo first"


class Start(Protocol):
    """Starts the container of a job in `folder` and returns at its first byte; what clears it away is not timed."""

    def __call__(self, folder: Path) -> AbstractAsyncContextManager[None]: ...


async def floor(start: Start, *, url: str, commit: str, folder: Path) -> tuple[float, float]:
    """The seconds of the fetch, and those from there to the first byte."""
    began = time.perf_counter()
    await _fetch(url, commit, folder / "workspace")
    fetched = time.perf_counter()
    (folder / "tmp").mkdir()
    async with start(folder):
        printed = time.perf_counter()
    return fetched - began, printed - fetched


def process(*, sandbox: bool, hidden: Path) -> Start:
    """A bare process, or one in a sandbox like that of a job."""

    @asynccontextmanager
    async def start(folder: Path) -> AsyncIterator[None]:
        around = command(shutil.which("bwrap") or "bwrap", folder, [hidden]) if sandbox else []
        started = await asyncio.create_subprocess_exec(
            *around, "/bin/sh", "-c", SCRIPT, stdout=subprocess.PIPE, cwd=folder / "workspace"
        )
        assert started.stdout is not None
        assert await started.stdout.read(1) == b"f"
        yield
        await started.communicate()

    return start


@asynccontextmanager
async def docker(image: str) -> AsyncIterator[Start]:
    """A container as the driver configures it: limits, init, no capabilities but a job's, a network made before."""
    engine = aiodocker.Docker()
    network = await engine.networks.create(
        {
            "Name": f"buildsys-bench-{uuid4().hex[:8]}",
            "Driver": "bridge",
            "Options": {"com.docker.network.bridge.enable_icc": "false"},
        }
    )

    @asynccontextmanager
    async def start(folder: Path) -> AsyncIterator[None]:
        spec = ContainerSpec(name=f"buildsys-bench-{uuid4().hex}", folder=folder, lifetime=60, image=image)
        config = container_config(spec, image=image, network=network.id)
        container = await engine.containers.create({**config, "Entrypoint": ["sh", "-c", SCRIPT]}, name=spec.name)
        try:
            async with container.attach(stdout=True, stderr=True) as output:
                await output._init()
                starting = asyncio.create_task(container.start())
                first = await output.read_out()
                assert first is not None
                assert first.data.startswith(b"f")
                yield
                await starting
        finally:
            await container.delete(force=True, v=True)

    try:
        yield start
    finally:
        await network.delete()
        await engine.close()


async def _fetch(url: str, commit: str, folder: Path) -> None:
    for arguments in (
        ("init", "--quiet", "--template=", str(folder)),
        ("-C", str(folder), "fetch", "--quiet", "--depth=1", "--no-tags", url, commit),
        ("-C", str(folder), "checkout", "--quiet", "--detach", commit),
    ):
        git = await asyncio.create_subprocess_exec("git", *arguments, env=CLEAN)
        assert await git.wait() == 0
