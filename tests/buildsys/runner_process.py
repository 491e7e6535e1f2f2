"""A runner as a process of its own: `python runner_process.py URL TOKEN INSTALLATION FOLDER JOBS`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from buildsys.adapters.process import ProcessDriver
from buildsys.runner import HttpOrchestrator, Runner, RunnerConfig


async def main(url: str, token: str, installation: str, folder: Path, jobs: Path) -> None:
    driver = ProcessDriver(state=folder / "state")
    config = RunnerConfig(installation=installation, name="child", data=folder / "data", jobs=jobs)
    async with (
        HttpOrchestrator(url=url, token=token) as orchestrator,
        Runner(config=config, drivers=(driver,), orchestrator=orchestrator) as runner,
    ):
        await runner.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], Path(sys.argv[4]), Path(sys.argv[5])))
