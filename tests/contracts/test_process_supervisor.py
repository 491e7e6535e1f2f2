"""The supervisor of a process container, by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path


async def test_a_supervisor_that_is_held_up_keeps_its_lifetime(tmp_path: Path) -> None:
    folder, record = tmp_path / "folder", tmp_path / "held.container"
    folder.mkdir()
    os.mkfifo(folder / "control")
    order = {"id": 1, "name": "held", "folder": str(folder), "record": str(record), "labels": {}, "lifetime": 0.5}
    order |= {"uid": None, "sandbox": None, "memory": 1 << 30, "processes": None}
    code = f"""
import os, socket, time
from buildsys.adapters import process_supervisor
process_supervisor.Supervisor._read_orders = lambda self: time.sleep(60)
ours, other = socket.socketpair()
control = os.open({str(folder / "control")!r}, os.O_RDWR)
os.write(control, b"1")
process_supervisor.supervise({order!r}, other)
"""
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await asyncio.wait_for(supervisor.wait(), 10) == 0
    assert record.with_suffix(".end").read_text() == "its lifetime is over"
