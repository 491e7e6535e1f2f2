"""workerd at the same work: Durable Objects on its SQLite storage, one commit with one fsync for each durable call.

Its program is an npm package, kept in a folder of the user's cache. Its own words (Worker) stay in the files named
after it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.figures import Say, resident_kib

VERSION = "1.20261117.1"
MACHINES = {"x86_64": "workerd-linux-64", "aarch64": "workerd-linux-arm64"}
SCRIPT = Path(__file__).with_suffix(".mjs")
EVICTION = 15.0
"""Seconds after which an idle object has certainly left memory: it leaves after 10."""

DESCRIPTORS = 3
"""Open files of an object on disk that is in memory."""

RESERVE = 500
"""Open files for everything else."""

CONFIGURATION = """
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .probes), (name = "storage", disk = (path = "{storage}", writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")],
);
const probes :Workerd.Worker = (
  modules = [(name = "probe.mjs", esModule = embed "probe.mjs")],
  compatibilityDate = "2026-08-01",
  durableObjectNamespaces = [(className = "Probe", uniqueKey = "probe", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [(name = "PROBES", durableObjectNamespace = "Probe")],
);
"""


class Workerd:
    """A running workerd; all its measurements are made inside the Worker, one request each."""

    room = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - RESERVE) // DESCRIPTORS
    """How many of its objects can be in memory at a time under this process's limit of open files."""

    def __init__(self, *, session: aiohttp.ClientSession, url: str, pid: int) -> None:
        self._session = session
        self.url = url
        self.pid = pid

    async def load(self, **wanted: Any) -> float:
        """The seconds that `calls` calls took, `callers` at a time to `actors` objects in turns."""
        return float(await self.ask(what="load", **wanted))

    async def blocks(self, *, blocks: int, calls: int, **wanted: Any) -> list[float]:
        """The mean seconds of a call in each of so many blocks of so many calls, less what an empty request takes.

        It is timed from outside, as the clock inside knows whole milliseconds.
        """
        empty = statistics.median([await self._timed(calls=0, **wanted) for _ in range(blocks)])
        return [(await self._timed(calls=calls, **wanted) - empty) / calls for _ in range(blocks)]

    async def alarms(self, *, evicted: bool, **wanted: Any) -> list[float] | None:
        """How many milliseconds late each was, None if setting them took too long. Evicted is what is idle for long."""
        if evicted:
            wanted["ahead"] = max(wanted["ahead"], EVICTION)
        late: list[float] | None = await self.ask(what="alarms", **wanted)
        return late

    async def resident_kib(self) -> int:
        return resident_kib(self.pid)

    async def answers(self) -> bool:
        try:
            await self.ask()
        except aiohttp.ClientError:
            return False
        return True

    async def ask(self, **wanted: Any) -> Any:
        async with self._session.post("/", json=wanted) as response:
            response.raise_for_status()
            return await response.json()

    async def _timed(self, **wanted: Any) -> float:
        began = time.perf_counter()
        await self.load(actors=1, callers=1, **wanted)
        return time.perf_counter() - began


async def install(say: Say) -> Path | None:
    """The program, installed where it is missing; None, and the reason is said, where it cannot be had."""
    package = MACHINES.get(platform.machine())
    if package is None:
        say(f"no workerd: there is none for {platform.machine()}")
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "buildsys-bench" / f"workerd-{VERSION}"
    program = folder / "node_modules" / "@cloudflare" / package / "bin" / "workerd"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        say("no workerd: npm, which would install it, is not on the path; only our own figures follow")
        return None
    say(f"installing workerd {VERSION} into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    process = await asyncio.create_subprocess_exec(
        *(npm, "install", "--prefix", str(folder), *options, f"workerd@{VERSION}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    output, _ = await process.communicate()
    if process.returncode:
        say(f"no workerd: npm install failed; only our own figures follow\n{output.decode(errors='replace').strip()}")
        return None
    return program


@asynccontextmanager
async def workerd(program: Path, *, script: Path = SCRIPT) -> AsyncIterator[Workerd]:
    """workerd on an empty storage; the script has the class `Probe`."""
    with tempfile.TemporaryDirectory(prefix="workerd-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "storage").mkdir()
        (folder / "probe.mjs").write_text(script.read_text())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "config.capnp").write_text(CONFIGURATION.format(storage=folder / "storage", port=port))
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(program, "serve", folder / "config.capnp", "config"), stdout=log, stderr=log, start_new_session=True
            )
        try:
            patience = aiohttp.ClientTimeout(total=None)
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(url, timeout=patience) as session:
                running = Workerd(session=session, url=url, pid=process.pid)
                async with asyncio.timeout(20):
                    while not await running.answers():
                        assert process.returncode is None, (folder / "log").read_text()
                        await asyncio.sleep(0.05)
                yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
