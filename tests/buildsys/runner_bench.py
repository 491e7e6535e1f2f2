"""A runner at work for a test: with a driver, folders of its own and an orchestrator in memory."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from uuid import uuid4

from runner_orchestrator import Job, MemoryOrchestrator, assignment, until

from buildsys.adapters.docker import DockerDriver
from buildsys.adapters.process import ProcessDriver, jobs_folder
from buildsys.core.definition import Step
from buildsys.core.driver import ContainerSpec, Driver
from buildsys.runner import Runner, RunnerConfig


class Bench:
    """A runner at work, and what it needs."""

    def __init__(self, *, installation: str, driver: Driver, jobs: Path, data: Path) -> None:
        self.installation = installation
        self.driver = driver
        self.jobs = jobs
        self.data = data
        self.orchestrator = MemoryOrchestrator()
        self._runner: Runner | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self, **settings: object) -> Runner:
        config = RunnerConfig(
            installation=self.installation, name="test", data=self.data, jobs=self.jobs, slots=3,
            allow_local_repositories=True, **settings,  # type: ignore[arg-type]
        )  # fmt: skip
        self._runner = Runner(config=config, drivers=(self.driver,), orchestrator=self.orchestrator)
        await self._runner.__aenter__()
        self._running = asyncio.create_task(self._runner.run())
        return self._runner

    async def stop(self) -> None:
        if self._runner is not None and self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            await self._runner.__aexit__(None, None, None)
            self._runner = None
            assert self._running.cancelled(), self._running.exception()

    async def run(self, *steps: str | Step, deadline: float = 30.0, **fields: object) -> Job:
        job = self.orchestrator.offer(assignment(*steps, **fields))  # type: ignore[arg-type]
        await until(lambda: job.stopped, deadline)
        return job

    def folders(self) -> list[Path]:
        return [folder for folder in self.jobs.iterdir() if (folder / "runner").exists()]

    async def close(self) -> None:
        await self.stop()
        for container in await self.driver.list({"buildsys.installation": self.installation}):
            folder = self.jobs / container.labels["buildsys.assignment"] / "folder"
            await self.driver.remove(ContainerSpec(name=container.name, folder=folder, lifetime=0))
        await self.driver.close()
        shutil.rmtree(self.jobs, ignore_errors=True)


def process_bench(folder: Path) -> Bench:
    installation = f"test{uuid4().hex[:12]}"
    jobs = jobs_folder(folder / "jobs", installation=installation)
    return Bench(
        installation=installation, driver=ProcessDriver(state=folder / "state"), jobs=jobs, data=folder / "data"
    )


def docker_bench(folder: Path) -> Bench:
    installation = f"test{uuid4().hex[:12]}"
    driver = DockerDriver(owner=installation)
    return Bench(installation=installation, driver=driver, jobs=folder / "jobs", data=folder / "data")
