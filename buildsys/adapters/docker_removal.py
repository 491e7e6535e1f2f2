"""The end of everything that a job has in the engine: killed, deleted, and looked for again."""

from __future__ import annotations

import asyncio
import json

from aiodocker.containers import DockerContainer

from buildsys.adapters.docker_container import NAME_LABEL
from buildsys.adapters.docker_engine import CONFLICT, Engine, EngineRefused, together
from buildsys.errors import ContainerAlive

KILLED = 30.0
"""Seconds in which a killed container must be gone; longer only with a process that the kernel cannot end."""

_LOOKS = 3
"""Times to look again: the engine may be making a container for a start that was broken off."""


async def remove_containers(engine: Engine, job: str) -> None:
    """Kill and delete every container that carries the job's name, until none is found.

    Raises `ContainerAlive` for one that stays, and what the engine raises.
    """
    for _ in range(_LOOKS):
        found = await labeled(engine, [f"{NAME_LABEL}={job}"])
        if not found:
            return
        await together(*(_remove(engine, each, _name(each)) for each in found))
    left = await labeled(engine, [f"{NAME_LABEL}={job}"])
    if left:
        raise ContainerAlive(f"the engine still has {', '.join(map(_name, left))} after deleting it")


async def labeled(engine: Engine, labels: list[str]) -> list[DockerContainer]:
    """What the engine lists of all containers with these labels."""
    query = {"all": "1", "filters": json.dumps({"label": labels})}
    listed: list[DockerContainer] = await engine.ask(engine.client.containers.list(**query))
    return [each for each in listed if each["Names"]]  # one that is just being deleted has lost its name


def _name(container: DockerContainer) -> str:
    return str(container["Names"][0]).removeprefix("/")


async def _remove(engine: Engine, container: DockerContainer, name: str) -> None:
    await _kill(engine, container, name)
    await engine.find(container.delete(force=True, v=True))


async def _kill(engine: Engine, container: DockerContainer, name: str) -> None:
    """Kill the container's first process; the kernel ends all others before that one is gone."""
    try:
        async with asyncio.timeout(KILLED):
            await engine.find(container.kill())
            await engine.find(container.wait())
    except TimeoutError as error:
        raise ContainerAlive(f"the container {name} is still there {KILLED:g} s after it was killed") from error
    except EngineRefused as error:
        if error.http_status != CONFLICT:  # it does not run
            raise ContainerAlive(f"the container {name} cannot be killed: {error.text}") from error
