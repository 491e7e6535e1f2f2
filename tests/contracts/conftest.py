"""What the suite of the drivers stands on: a driver of each kind, and containers that are removed at the end."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from containers import Job, Kind, Start, make_folder, processes
from kinds import docker_kind, process_kind
from services import Launch

from buildsys.core.driver import ContainerSpec, Driver, Limits, ServiceSpec
from buildsys.runner.removal import remove_tree


@pytest.fixture(params=["process", "process-plain", pytest.param("docker", marks=pytest.mark.docker)])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    if request.param == "docker":
        kind = docker_kind(tmp_path, owner=uuid4().hex)
    else:
        kind = process_kind(tmp_path, sandbox=False if request.param == "process-plain" else None)
    async with kind:
        yield kind


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
        remove_tree(job.folder)


@pytest.fixture
def launch(start: Start, kind: Kind) -> Launch:
    """Start a job with services; `said` gets the lines of its set-up."""

    async def launch(*services: ServiceSpec, said: list[str] | None = None, **fields: Any) -> Job:
        job = await start(run=False)
        job.spec = msgspec.structs.replace(job.spec, services=services, **fields)
        status = await kind.driver.start(job.spec, (said if said is not None else []).append)
        assert status.running
        return job

    return launch


@pytest.fixture
async def token() -> AsyncIterator[str]:
    """A word for the arguments of processes that a test means to find again; none may be left at the end."""
    token = f"{int.from_bytes(secrets.token_bytes(4), 'big')}.{uuid4().int}"
    yield token
    for pid in processes(token):
        os.kill(pid, signal.SIGKILL)
