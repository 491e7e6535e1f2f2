"""Which of the images that were built for jobs stay."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import docker_image
import pytest
from services import docker

from buildsys.adapters.docker_built import BuiltImages
from buildsys.adapters.docker_engine import DEFAULT_SOCKET, Engine

pytestmark = pytest.mark.docker


@pytest.fixture
def repository() -> str:
    return f"buildsys-test-built-{uuid4().hex}"


@pytest.fixture
async def engine(repository: str) -> AsyncIterator[Engine]:
    docker_image.require_engine()
    engine = Engine(socket=DEFAULT_SOCKET)
    yield engine
    await engine.close()
    for tag in there(repository):
        docker("image", "rm", "--force", f"{repository}:{tag}")


def there(repository: str) -> set[str]:
    return set(docker("image", "ls", "--format", "{{.Tag}}", repository).split())


def make(repository: str, *tags: str) -> None:
    """Images of these tags, the last one taken last."""
    for tag in tags:
        dockerfile = f"FROM {docker_image.base_image()}\nRUN echo {uuid4().hex} >/what\n"
        build = ["docker", "build", "-q", "-t", f"{repository}:{tag}", "-"]
        subprocess.run(build, input=dockerfile.encode(), check=True, capture_output=True)


async def test_those_that_were_taken_last_stay(engine: Engine, repository: str) -> None:
    images = BuiltImages(engine=engine, repository=repository, kept=2, untaken=timedelta())
    make(repository, "a", "b", "c")
    assert await images.take(images.name("a"))
    await images.tidy()
    assert there(repository) == {"a", "c"}
    assert not await images.take(images.name("b"))
    await images.tidy()
    assert there(repository) == {"a", "c"}


async def test_one_that_was_taken_a_while_ago_stays_however_many_there_are(engine: Engine, repository: str) -> None:
    make(repository, "a", "b")
    await BuiltImages(engine=engine, repository=repository, kept=0, untaken=timedelta(hours=1)).tidy()
    assert there(repository) == {"a", "b"}


async def test_one_that_somebody_runs_stays(engine: Engine, repository: str) -> None:
    make(repository, "a", "b")
    running = docker("run", "--detach", f"{repository}:a", "sleep", "100")
    try:
        await BuiltImages(engine=engine, repository=repository, kept=0, untaken=timedelta()).tidy()
        assert there(repository) == {"a"}
    finally:
        docker("rm", "--force", running)
