"""Postgres stands still while a step prints: that slows the upload, and nothing is lost, or piled up in memory."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from postgres_server import pause, resume
from system import Repository, System, until

LINES, WIDTH = 1_000_000, 100
STILL = 4.0
"""Seconds that Postgres stands still each time."""

ROOM = 64 << 20
"""Bytes that the server may grow by meanwhile, of a log of 100 MB."""

PROGRAM = f"""
import time
for part in range(0, {LINES}, 10_000):
    print("".join(f"{{number:0{WIDTH - 1}d}}\\n" for number in range(part, part + 10_000)), end="", flush=True)
    time.sleep(0.05)
"""


async def test_a_database_that_stands_still_slows_the_upload(tmp_path: Path, repository: Repository) -> None:
    async with System(tmp_path / "data") as system:
        secret = await system.add_project("demo", str(repository.path))
        workflow = "on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: python3 program.py\n"
        commit = repository.commit({".buildsys.yml": workflow, "program.py": PROGRAM})
        assert await system.push("demo", secret, commit=commit) == 202
        build = await system.only_build("demo")
        await until(lambda: system.text(build, step=1), what="the step to print")
        (cluster,) = (pid.parent for pid in (tmp_path / "data" / "postgres").glob("**/postmaster.pid"))
        before = peak(system)
        for _ in range(2):
            pause(cluster)
            try:
                await asyncio.sleep(STILL)
            finally:
                resume(cluster)
            assert len(await system.text(build, step=1)) < LINES * WIDTH, "it was over too soon to be slowed"
        assert (await system.stopped(build))["outcome"] == "success"
        grown = peak(system) - before
        printed = hashlib.sha256()
        for number in range(LINES):
            printed.update(b"%0*d\n" % (WIDTH - 1, number))
        assert hashlib.sha256(await system.text(build, step=1)).digest() == printed.digest()
        assert grown < ROOM, f"the server grew by {grown >> 20} MiB"


def peak(system: System) -> int:
    """The most memory that the server has had so far."""
    assert system.process is not None
    status = Path(f"/proc/{system.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10
