"""Buildbot at the same work: one process that schedules and runs one command a build, driven over its REST API.

Its own words (master, worker) are those of its configuration file and stay in this file.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.system import free_port, until
from tests.bench.figures import Say

PACKAGES = ("buildbot", "buildbot-worker", "buildbot-www")
LOOK_AGAIN = 0.005

CONFIGURATION = """
from buildbot.plugins import schedulers, steps, util, worker

BuildmasterConfig = {{
    "workers": [worker.LocalWorker("local", max_builds={slots})],
    "builders": [util.BuilderConfig(
        name="echo", workernames=["local"], collapseRequests=False,
        factory=util.BuildFactory([steps.ShellCommand(command={command!r})]),
    )],
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["echo"])],
    "protocols": {{"pb": {{"port": "tcp:{inner}:interface=127.0.0.1"}}}},
    "www": {{"port": "tcp:{port}:interface=127.0.0.1"}},
    "buildbotURL": "http://127.0.0.1:{port}/",
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "buildbotNetUsageData": None,
}}
"""


class Buildbot:
    """A running Buildbot."""

    def __init__(self, *, session: aiohttp.ClientSession, pid: int) -> None:
        self.pid = pid
        self._session = session

    async def one(self) -> float:
        began = time.perf_counter()
        buildset = await self._force()
        while await self._get(f"buildrequests?buildsetid={buildset}&complete=false", "buildrequests"):
            await asyncio.sleep(LOOK_AGAIN)
        return time.perf_counter() - began

    async def many(self, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            await self._force()
        while await self._get("buildrequests?complete=false&limit=1", "buildrequests"):
            await asyncio.sleep(LOOK_AGAIN * 10)
        return time.perf_counter() - began

    async def connected(self) -> bool:
        """Whether it answers, and has what runs its builds."""
        try:
            return any(each["connected_to"] for each in await self._get("workers", "workers"))
        except aiohttp.ClientError:
            return False

    async def _force(self) -> int:
        order = {"id": 1, "jsonrpc": "2.0", "method": "force", "params": {}}
        async with self._session.post("forceschedulers/force", json=order) as response:
            return int(json.loads(await response.read())["result"][0])

    async def _get(self, path: str, name: str) -> list[dict[str, Any]]:
        async with self._session.get(path) as response:
            return list(json.loads(await response.read())[name])


@asynccontextmanager
async def buildbot(
    *, slots: int, venv: Path | None, say: Say, command: Sequence[str] = ("echo", "hello")
) -> AsyncIterator[Buildbot]:
    """Buildbot in a virtual environment of its own, which is made where it is missing."""
    with tempfile.TemporaryDirectory(prefix="buildbot-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        programs = (venv or folder / "venv") / "bin"
        if not (programs / "buildbot").exists():
            say("installing Buildbot")
            await _run(sys.executable, "-m", "venv", str(programs.parent))
            await _run(str(programs / "pip"), "install", "--quiet", *PACKAGES)
        base, port = folder / "base", free_port()
        await _run(str(programs / "buildbot"), "create-master", "-q", str(base))
        (base / "master.cfg").write_text(
            CONFIGURATION.format(command=list(command), slots=slots, port=port, inner=free_port())
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "buildbot", "start", "--nodaemon", str(base)], stdout=log, stderr=log
            )
        try:
            plain = {"Accept-Encoding": "identity"}  # what it calls deflate is not
            fresh = aiohttp.TCPConnector(force_close=True)  # a connection that is kept may end in an answer's middle
            url = f"http://127.0.0.1:{port}/api/v2/"
            async with aiohttp.ClientSession(url, headers=plain, connector=fresh) as session:
                running = Buildbot(session=session, pid=process.pid)
                await until(running.connected, what="Buildbot to be ready")
                yield running
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0, command
