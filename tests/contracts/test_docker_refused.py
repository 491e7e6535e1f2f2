"""What the engine refuses of a commit's containers: the job's own doing, told by the name of what it concerns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker_image
import pytest
from containers import Kind, Start
from kinds import docker_kind
from msgspec.structs import replace
from services import service

from buildsys.core.driver import Driver, unheard
from buildsys.errors import ContainerRefused, ImageUnusable, ServiceFailed
from buildsys.runner.container import JobContainer
from buildsys.runner.folder import JobFolder

pytestmark = pytest.mark.docker

NOT_THERE = "127.0.0.1:1/team/image:1"


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Kind]:
    async with docker_kind(tmp_path, owner=uuid4().hex) as kind:
        yield kind


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--user=ghost", "^the job's container does not start: .*ghost"),
        ("--stop-signal=SIGNONE", "^the job's container cannot be: .*SIGNONE"),
    ],
)
async def test_options_of_the_job_s_container(start: Start, driver: Driver, option: str, words: str) -> None:
    job = await start(run=False)
    with pytest.raises(ContainerRefused, match=words):
        await driver.start(replace(job.spec, options=(option,)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"options": ("--user=ghost",)}, "^the service db does not start: .*ghost"),
        ({"options": ("--memory=lots",)}, "^the service db: the container option --memory: expected a size"),
        ({"options": ("--stop-signal=SIGNONE",)}, "^the service db does not start: .*SIGNONE"),
        ({"image": docker_image.base_image}, "^the service db does not start: No command specified"),
    ],
)
async def test_what_a_service_is_started_with(start: Start, driver: Driver, fields: dict[str, Any], words: str) -> None:
    made = {name: value() if callable(value) else value for name, value in fields.items()}
    job = await start(run=False)
    with pytest.raises(ServiceFailed, match=words):
        await driver.start(replace(job.spec, services=(replace(service("db", "sleep 1000"), **made),)))


@pytest.mark.parametrize(("image", "words"), [("Not An Image", "not the name"), (NOT_THERE, "cannot be pulled")])
async def test_images(start: Start, driver: Driver, tmp_path: Path, image: str, words: str) -> None:
    """One that the job names is its own; the one that the runner has for jobs that name none is the runner's."""
    job = await start(run=False)
    with pytest.raises(ServiceFailed, match=f"^the service db: .*{words}"):
        await driver.prepare(replace(job.spec, services=(replace(service("db", ""), image=image),)), unheard)
    folder = JobFolder(jobs=tmp_path, assignment=uuid4())
    named = replace(job.spec, image=image)
    with pytest.raises(ContainerRefused, match=f"^the job's container: .*{words}"):
        await JobContainer(driver=driver, spec=job.spec, folder=folder).start(named, unheard)
    with pytest.raises(ImageUnusable, match=words):
        await JobContainer(driver=driver, spec=named, folder=folder).start(named, unheard)
