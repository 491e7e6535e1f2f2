"""Jobs in containers of a Docker engine on this host, version 20.10 or later.

A job is one container on the runner's bridge network, where it reaches no other job (`docker_network`). It sees its
folder at `/buildsys`, and of this host nothing else: no engine socket, no host network, no more capabilities than
package managers need, no way to gain any. Its first process is `init.sh`, run by the image's own `sh` as the image's
own user.

A start takes as long as the same container by hand: about 0.2 s on two idle cores with the engine's default network,
some 30 % more with a network like the runner's, where the engine also sets up a name server. The first start also makes
that network, in 0.1 s.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from weakref import WeakValueDictionary

from aiodocker.containers import DockerContainer
from msgspec.structs import replace

from buildsys.adapters.docker_build import BuildSite, ImageBuilds
from buildsys.adapters.docker_container import (
    KILL,
    NAME_LABEL,
    NO_FOLDER,
    TOOLS,
    container_config,
    refusal,
    stop_reason,
)
from buildsys.adapters.docker_engine import (
    BAD_REQUEST,
    CONFLICT,
    DEFAULT_SOCKET,
    NOT_FOUND,
    Engine,
    EngineRefused,
    together,
)
from buildsys.adapters.docker_folder import listens, make_control, make_removable
from buildsys.adapters.docker_image import Images
from buildsys.adapters.docker_network import JobNetwork, ServiceNetwork
from buildsys.adapters.docker_options import ROOT, aliases
from buildsys.adapters.docker_removal import KILLED, labeled, remove_containers
from buildsys.adapters.docker_services import Services, ServiceStarter, services_label, services_of
from buildsys.core.driver import ContainerSpec, ContainerStatus, Equipment, ServiceSpec, unheard
from buildsys.errors import ContainerAlive, ContainerRefused, DriverError, ImageUnusable, ServiceFailed

READY = 20.0
"""Seconds in which the init must listen once the engine has started it; it takes milliseconds."""

HEALTHY_WITHIN = 600.0
"""Seconds in which a service with a health check must be healthy."""


class DockerDriver:
    """The driver of `buildsys.core.driver` on a Docker engine. Raises `DockerUnavailable` where none answers.

    `owner` names the runner, the same after its restart: by it this driver knows the network that it left behind.
    Only one driver of an owner may be alive at a time. `patience` is how many seconds a service with a health check has
    to become healthy.
    """

    name = "docker"

    def __init__(self, *, owner: str, socket: Path = DEFAULT_SOCKET, patience: float = HEALTHY_WITHIN) -> None:
        self._engine = Engine(socket=socket)
        self._images = Images(engine=self._engine)
        self._builds = ImageBuilds(engine=self._engine, images=self._images)
        self._network = JobNetwork(engine=self._engine, owner=owner)
        self._service_network = ServiceNetwork(engine=self._engine, owner=owner)
        self._services = ServiceStarter(engine=self._engine, network=self._service_network, patience=patience)
        self._starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def prepare(self, spec: ContainerSpec, progress: Callable[[str], None]) -> ContainerSpec:
        own, *beside = await together(
            self._provide(spec, spec, progress), *(self._provide_beside(each, spec, progress) for each in spec.services)
        )
        await self._images.check(own, spec.image or "that the job builds")
        named = zip(spec.services, beside, strict=True)
        services = tuple(replace(service, image=image, build=None, login=None) for service, image in named)
        return replace(spec, image=own, build=None, login=None, services=services)

    async def start(self, spec: ContainerSpec, progress: Callable[[str], None] = unheard) -> ContainerStatus:
        async with self._starting.setdefault(spec.name, asyncio.Lock()):
            status = await self._start(spec, progress)
            if status.running and spec.services:
                await self._services.forward(spec)
                await self._services.tell_ended(spec, progress)
            return status

    async def _start(self, spec: ContainerSpec, progress: Callable[[str], None]) -> ContainerStatus:
        info = await self._show(spec.name)
        if info is None:
            await self._create(spec, progress)
            info = await self._show(spec.name)
        if info is not None and info["State"]["Status"] == "created":
            try:
                await self._run(spec)
            except EngineRefused as error:
                if not _lacks_network(error):
                    raise
                self._network.forget(info["HostConfig"]["NetworkMode"])
                await self._engine.find(self._engine.client.containers.container(spec.name).delete(force=True, v=True))
                await self._create(spec, progress)
                await self._run(spec)
            info = await self._show(spec.name)
        if info is None:
            raise DriverError(f"the container {spec.name} was removed while it started")
        return _status(info)

    def root(self, spec: ContainerSpec) -> PurePath:  # noqa: ARG002  the same for every job
        return PurePosixPath(ROOT)

    async def inspect(self, name: str) -> ContainerStatus | None:
        info = await self._show(name)
        return None if info is None else _status(info)

    async def terminate(self, name: str) -> None:
        # The signal passes by the container's first process, and the init ignores it.
        await self._run_within(name, "sh", "-c", "kill -TERM -1")

    async def kill(self, name: str) -> None:
        try:
            async with asyncio.timeout(KILLED):
                if await self._run_within(name, "sh", "-c", KILL, "buildsys", *TOOLS):
                    raise ContainerAlive(f"processes of the container {name} cannot be killed")
        except TimeoutError as error:
            raise ContainerAlive(f"processes of the container {name} are still there after {KILLED:g} s") from error

    async def remove(self, spec: ContainerSpec) -> None:
        info = await self._show(spec.name)
        await remove_containers(self._engine, spec.name)
        await self._service_network.remove(spec.name)
        await make_removable(spec.folder, engine=self._engine, image=info["Image"] if info else spec.image)

    async def list(self, labels: dict[str, str]) -> list[ContainerStatus]:
        found = await labeled(self._engine, [NAME_LABEL, *(f"{key}={value}" for key, value in labels.items())])
        jobs = {str(each["Labels"][NAME_LABEL]): each for each in found}
        shown = await together(*(self.inspect(name) for name in jobs))
        return [status or _left_of(name, jobs[name]) for name, status in zip(jobs, shown, strict=True)]

    async def close(self) -> None:
        try:
            await self._network.close()
        finally:
            await self._engine.close()

    async def _provide(self, wanted: Equipment, job: ContainerSpec, progress: Callable[[str], None]) -> str:
        """The name of an image that is here."""
        if wanted.build is None:
            return await self._images.have(wanted.image, wanted.login, progress)
        site = BuildSite(workspace=job.folder / "workspace", limits=job.limits, network=await self._network.ensure())
        return await self._builds.build(wanted.build, site, progress)

    async def _provide_beside(self, service: ServiceSpec, job: ContainerSpec, progress: Callable[[str], None]) -> str:
        try:
            return await self._provide(service, job, progress)
        except ImageUnusable as error:
            raise ServiceFailed(f"the service {service.name}: {error}") from error

    async def _show(self, name: str) -> dict[str, Any] | None:
        """What the engine says of the container of this very name, None where it is none of ours."""
        info = await self._engine.find(self._engine.client.containers.container(name).show())
        return info if info is not None and info["Config"]["Labels"].get(NAME_LABEL) == name else None

    async def _run_within(self, name: str, *command: str) -> int:
        """Run a command in the container to its end: its exit status, 0 where no such container runs.

        As the image's user: root with the capability to reach all, or the one user that there can be.
        """
        try:
            order = await self._engine.find(self._engine.client.containers.container(name).exec([*command]))
            if order is None:
                return 0
            await self._engine.ask(order.start(detach=True))
            while True:
                found = await self._engine.ask(order.inspect())
                if not found["Running"]:
                    return int(found["ExitCode"] or 0)
                await asyncio.sleep(0.01)
        except EngineRefused as error:
            if error.http_status in (NOT_FOUND, CONFLICT):  # gone meanwhile, or not running
                return 0
            raise

    async def _create(self, spec: ContainerSpec, progress: Callable[[str], None]) -> None:
        if spec.image is None:
            raise ImageUnusable(f"the job {spec.name} names no image")
        make_control(spec.folder)
        shared = await self._network.ensure()
        config = container_config(spec, image=spec.image, network=shared)
        services = await self._services.start(spec, shared, progress) if spec.services else Services()
        config["Labels"].update(services_label(services))
        try:
            await self._engine.ask(self._engine.client.containers.create(config, name=spec.name))
        except EngineRefused as error:
            if error.http_status == NOT_FOUND:
                raise ImageUnusable(f"the image {spec.image} is not here; prepare it first") from error
            if "bind source path" in error.text:
                raise _unseen(spec) from error
            if error.http_status == BAD_REQUEST:
                raise ContainerRefused(f"the job's container cannot be: {error.text}") from error
            if error.http_status != CONFLICT:
                raise
            await self._made_by_another(spec.name)

    async def _made_by_another(self, name: str) -> None:
        """Return once the container is there: while another start makes it, the engine knows no more than its name."""
        deadline = asyncio.get_running_loop().time() + READY
        while await self._engine.find(self._engine.client.containers.container(name).show()) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise DriverError(f"the container {name} is still being made after {READY:g} s")
            await asyncio.sleep(0.01)

    async def _run(self, spec: ContainerSpec) -> None:
        """Start the init and return once it listens."""
        if spec.services:
            await self._join(spec)
        try:
            await self._engine.ask(self._engine.client.containers.container(spec.name).start())
        except EngineRefused as error:
            if _lacks_network(error) or not (_has_settings(spec) or error.http_status == BAD_REQUEST):
                raise
            raise ContainerRefused(f"the job's container does not start: {error.text}") from error
        deadline = asyncio.get_running_loop().time() + READY
        for look in itertools.count(1):
            if listens(spec.folder):
                return
            if look % 25 == 0:
                await self._check_alive(spec)
            if asyncio.get_running_loop().time() > deadline:
                raise DriverError(f"the init of the container {spec.name} does not listen after {READY:g} s")
            await asyncio.sleep(0.002)

    async def _join(self, spec: ContainerSpec) -> None:
        """Put the container on its services' network."""
        info = await self._engine.ask(self._engine.client.containers.container(spec.name).show())
        await self._service_network.join(services_of(info["Config"]["Labels"]).network, info, aliases(spec))

    async def _check_alive(self, spec: ContainerSpec) -> None:
        info = await self._show(spec.name)
        if info is None:
            raise DriverError(f"the container {spec.name} was removed while it started")
        if info["State"]["Running"]:
            return
        code = info["State"]["ExitCode"]
        if code == NO_FOLDER:
            raise _unseen(spec)
        if lack := refusal(code):
            raise ImageUnusable(f"the image {spec.image} cannot run steps: {lack}")
        reason = stop_reason(info["State"])
        if _has_settings(spec):
            raise ContainerRefused(f"the job's container stopped before its first step: {reason}")
        raise DriverError(f"the container {spec.name} stopped before its first step: {reason}")


def _status(info: dict[str, Any]) -> ContainerStatus:
    services = services_of(info["Config"]["Labels"])
    return ContainerStatus(
        id=info["Id"],
        name=info["Name"].removeprefix("/"),
        running=info["State"]["Running"],
        reason=stop_reason(info["State"]),
        labels=info["Config"]["Labels"],
        network=services.network,
        services=services.services,
    )


def _left_of(name: str, container: DockerContainer) -> ContainerStatus:
    """A job whose services are there and whose own container is not."""
    reason = "only its services are left"
    return ContainerStatus(id=container.id, name=name, running=False, reason=reason, labels=container["Labels"])


def _has_settings(spec: ContainerSpec) -> bool:
    """Whether the job changes how its container is run: then what does not start is its doing."""
    return bool(spec.options or spec.volumes)


def _lacks_network(error: EngineRefused) -> bool:
    """Whether the container's network is gone: an unused one falls to any `docker network prune`."""
    return error.http_status == NOT_FOUND and re.search(r"\bnetwork \S+ not found", error.text) is not None


def _unseen(spec: ContainerSpec) -> DriverError:
    return DriverError(
        f"the Docker engine does not see the job's folder {spec.folder}: it must run on this host, with the same file "
        "system as the runner (a runner in a container needs the data folder mounted at the same path)"
    )
