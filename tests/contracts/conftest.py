"""What the suite of the drivers stands on: a driver of each kind, and containers that are removed at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from containers import Job, Kind, Start, make_folder, processes

from buildsys.adapters.process import ProcessDriver, jobs_folder
from buildsys.core.driver import ContainerSpec, Driver, Limits


@pytest.fixture(params=["process", "process-plain"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    jobs = jobs_folder(tmp_path / "jobs", installation=uuid4().hex)
    state = tmp_path / "state"
    sandbox = False if request.param == "process-plain" else None
    driver = ProcessDriver(state=state, hidden=[tmp_path], sandbox=sandbox)
    source = (
        "import pathlib\nfrom buildsys.adapters.process import ProcessDriver\n"
        f"state, hidden = pathlib.Path({str(state)!r}), pathlib.Path({str(tmp_path)!r})\n"
        f"driver = ProcessDriver(state=state, hidden=[hidden], sandbox={sandbox})"
    )
    yield Kind(driver=driver, source=source, jobs=jobs)
    await driver.close()
    shutil.rmtree(jobs)


@pytest.fixture
def driver(kind: Kind) -> Driver:
    return kind.driver


@pytest.fixture
async def start(kind: Kind) -> AsyncIterator[Start]:
    """Start a job's container; at the end each is removed, and its folder must then be deletable."""
    jobs: list[Job] = []

    async def start(
        *, lifetime: float = 60, limits: Limits | None = None, labels: dict[str, str] | None = None, run: bool = True
    ) -> Job:
        name = f"buildsys-test-{uuid4().hex}"
        folder = kind.jobs / name / "folder"
        for each in (folder, folder / "workspace", folder / "home", folder / "tmp", folder / "steps"):
            make_folder(each)
        spec = ContainerSpec(
            name=name,
            folder=folder,
            lifetime=lifetime,
            image=kind.image,
            labels={"buildsys.test": name, **(labels or {})},
            limits=limits or Limits(),
        )
        job = Job(kind.driver, spec)
        jobs.append(job)
        if run:
            assert (await kind.driver.start(spec)).running
        return job

    yield start
    for job in jobs:
        await kind.driver.remove(job.spec)
        assert await kind.driver.inspect(job.spec.name) is None
        shutil.rmtree(job.folder)


@pytest.fixture
async def token() -> AsyncIterator[str]:
    """A word for the arguments of processes that a test means to find again; none may be left at the end."""
    token = f"{int.from_bytes(secrets.token_bytes(4), 'big')}.{uuid4().int}"
    yield token
    for pid in processes(token):
        os.kill(pid, signal.SIGKILL)
