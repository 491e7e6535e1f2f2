"""A driver of each kind, with all that the suite of the drivers needs of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import docker_image
from containers import Kind

from buildsys.adapters.docker import DockerDriver
from buildsys.adapters.process import ProcessDriver, jobs_folder


def process_kind(tmp_path: Path, *, sandbox: bool | None) -> Kind:
    state = tmp_path / "state"
    source = (
        "import pathlib\nfrom buildsys.adapters.process import ProcessDriver\n"
        f"state, hidden = pathlib.Path({str(state)!r}), pathlib.Path({str(tmp_path)!r})\n"
        f"driver = ProcessDriver(state=state, hidden=[hidden], sandbox={sandbox})"
    )
    return Kind(
        driver=ProcessDriver(state=state, hidden=[tmp_path], sandbox=sandbox),
        source=source,
        jobs=jobs_folder(tmp_path / "jobs", installation=uuid4().hex),
    )


def docker_kind(tmp_path: Path, *, owner: str, image: Callable[[], str] = docker_image.base_image) -> Kind:
    docker_image.require_engine()
    jobs = tmp_path / "jobs"
    jobs.mkdir(mode=0o700)
    source = (
        f"import pathlib\nfrom buildsys.adapters.docker import DockerDriver\ndriver = DockerDriver(owner={owner!r})"
    )
    return Kind(driver=DockerDriver(owner=owner), source=source, jobs=jobs, image=image())
