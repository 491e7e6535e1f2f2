"""The same system under test with each driver."""

from __future__ import annotations

from pathlib import Path

import docker_image
import pytest
from system import System

DRIVERS = ("process", pytest.param("docker", marks=pytest.mark.docker))
"""What a test or a fixture that is for each driver has as its parameters."""


def system_on(folder: Path, driver: str, **environment: str) -> System:
    """A system with this driver, whose jobs have an image if they need one. Skips the test where no engine answers."""
    if driver == "docker":
        docker_image.require_engine()
        environment = {"BUILDSYS_DEFAULT_IMAGE": docker_image.base_image(), **environment}
    return System(folder, driver=driver, **environment)
