"""The product within this process, with its jobs in containers."""

from __future__ import annotations

from collections.abc import Callable

import docker_image

from buildsys.testing import BuildSystem


def system_in_containers(database_url: str, image: Callable[[], str]) -> BuildSystem:
    """A system whose jobs are in containers of the image. Skips the test where no engine answers."""
    docker_image.require_engine()
    return BuildSystem(database_url=database_url, driver="docker", default_image=image())
