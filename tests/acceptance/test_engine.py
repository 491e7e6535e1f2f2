"""Without an engine builds wait, with that reason; when it comes they run."""

from __future__ import annotations

from pathlib import Path

import docker_image
import pytest
from system import Repository, System, until

from buildsys.adapters.docker_engine import DEFAULT_SOCKET

HELLO = "on: push\njobs: {a: {runs-on: linux, steps: [{run: echo done}]}}\n"


@pytest.mark.docker
async def test_builds_wait_for_the_engine(tmp_path: Path, repository: Repository) -> None:
    docker_image.require_engine()
    socket = tmp_path / "docker.sock"
    environment = {
        "BUILDSYS_DOCKER_HOST": f"unix://{socket}",
        "BUILDSYS_DEFAULT_IMAGE": docker_image.base_image(),
    }
    async with System(tmp_path / "data", driver="docker", **environment) as system:
        secret = await system.add_project("demo", str(repository.path))
        await system.push("demo", secret, commit=repository.workflow(HELLO))
        build = await system.only_build("demo")

        async def explained() -> bool:
            return str(socket) in ((await system.build(build))["waiting"] or "")

        await until(explained, what="the build to say that the engine is away")
        socket.symlink_to(DEFAULT_SOCKET)
        assert (await system.stopped(build))["outcome"] == "success"
        assert await system.text(build, step=1) == b"done\n"
