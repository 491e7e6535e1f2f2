"""What stands beside a job's container: its services, what ends them in time, and what makes them its localhost's.

Services live in the PID namespace of a *keeper*, a container that only sleeps: when it ends at the job's lifetime the
kernel ends all of them, whoever else is alive. A *forwarder* in the job's own network namespace listens at the ports
that services are to have on localhost (`docker_forward`). All of them carry the job's labels and its name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import msgspec

from buildsys.adapters.docker_container import CAPABILITIES, NAME_LABEL, isolation, limited, stop_reason
from buildsys.adapters.docker_engine import CONFLICT, NOT_FOUND, Engine, EngineRefused, together
from buildsys.adapters.docker_forward_image import ForwarderImage
from buildsys.adapters.docker_network import ServiceNetwork
from buildsys.adapters.docker_options import aliases, equip
from buildsys.adapters.docker_ports import local_ports
from buildsys.core.driver import ContainerSpec, ServiceSpec, ServiceStatus
from buildsys.errors import ContainerRefused, DriverError, ImageUnusable, ServiceFailed

ASIDE_LABEL = "buildsys.beside"
"""On every container of a job but its own: what it is there for."""

SERVICES_LABEL = "buildsys.services"
"""On the job's container: its network and the services that were started, as JSON."""

LAST_LINES = 50
LONGEST_LINE = 2000
"""What is told of the log of a service that failed."""

_CAPABILITIES = (*CAPABILITIES, "SYS_CHROOT")  # entry points step down to another user by `chroot --userspec`, too
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_LOG = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
_MADE_WITHIN = 20.0  # seconds that an engine may take to make a container
_LOOK = 0.05
_LONGEST_LOOK = 0.5  # seconds between two looks at a service that is not healthy yet


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The services of a job as they were started, and the network that it shares with them."""

    network: str = ""
    services: dict[str, ServiceStatus] = {}


class ServiceStarter:
    """Starts what stands beside a job, each part once: what is there is taken as it is.

    `patience` is in seconds: how long a service with a health check may take to be healthy.
    """

    def __init__(self, *, engine: Engine, network: ServiceNetwork, patience: float) -> None:
        self._engine = engine
        self._network = network
        self._patience = patience
        self._forwarder = ForwarderImage(engine=engine)

    async def start(self, spec: ContainerSpec, shared: str, progress: Callable[[str], None]) -> Services:
        """Start the job's services and return once each is healthy, or was started where it has no health check.

        They reach the outside by the network `shared`. Raises `ServiceFailed`.
        """
        ports = local_ports(spec.services)
        for service in spec.services:
            if not _NAME.fullmatch(service.name):
                raise ContainerRefused(f"a service cannot be called {service.name[:60]!r}")
        network, keeper = await together(self._network.ensure(spec.name), self._keep(spec))
        starting = (self._start(spec, service, keeper, network, shared, progress) for service in spec.services)
        ids = await together(*starting)
        found = {}
        for service, id in zip(spec.services, ids, strict=True):
            own = {str(port.inner): str(port.local) for port in ports if port.service == service.name}
            found[service.name] = ServiceStatus(id=id, ports=own)
        return Services(network=network, services=found)

    async def forward(self, spec: ContainerSpec) -> None:
        """Have the forwarder run, where services want ports of the localhost of a job that runs."""
        ports = local_ports(spec.services)
        name = f"{spec.name}-localhost"
        if not ports or await self._is_started(name):
            return
        job = await self._engine.ask(self._container(spec.name).show())
        network = services_of(job["Config"]["Labels"]).network
        addresses = {port.service: await self._address(spec, port.service, network) for port in ports}
        config = self._forwarder.config(await self._forwarder.ensure(), ports, addresses)
        config["Labels"] = _labels(spec, "localhost")
        config["HostConfig"].update(NetworkMode=f"container:{spec.name}", PidMode=f"container:{_keeper(spec)}")
        await self._create(name, config)
        await self._engine.ask(self._container(name).start())
        await self._forwarder.await_ready(self._container(name))

    async def tell_ended(self, spec: ContainerSpec, progress: Callable[[str], None]) -> None:
        """Warn of services that ended at once, with their last lines; as on GitHub the job runs without them."""
        for service in spec.services:
            name = _name(spec, service.name)
            info = await self._engine.find(self._container(name).show())
            if info is not None and (reason := stop_reason(info["State"])) is not None:
                progress(f"Warning: the service {service.name} is not running: {reason}")
                await self._tell(name, service.name, info["State"], progress)

    async def _keep(self, spec: ContainerSpec) -> str:
        """Start the keeper, in the job's image, whose `sleep` is known to work."""
        name = _keeper(spec)
        if not await self._is_started(name):
            config = {
                "Image": spec.image,
                "Labels": _labels(spec, "keeper"),
                "Entrypoint": ["sleep", str(max(round(spec.lifetime), 1))],
                "Cmd": [],
                "Healthcheck": {"Test": ["NONE"]},
                "HostConfig": {**isolation(()), "NetworkMode": "none", "Memory": 64 << 20},
            }
            await self._create(name, config)
            await self._engine.ask(self._container(name).start())
        return name

    async def _start(
        self,
        spec: ContainerSpec,
        service: ServiceSpec,
        keeper: str,
        network: str,
        shared: str,
        progress: Callable[[str], None],
    ) -> str:
        name = _name(spec, service.name)
        started = await self._is_started(name)
        try:
            if not started:
                await self._create(name, self._config(spec, service, keeper, shared))
            made = await self._engine.ask(self._container(name).show())
            await self._network.join(network, made, [service.name, *aliases(service)])
            if not started:
                await self._engine.ask(self._container(name).start())
        except ContainerRefused as error:
            raise ServiceFailed(f"the service {service.name}: {error}") from error
        except EngineRefused as error:
            raise ServiceFailed(f"the service {service.name} does not start: {error.text}") from error
        info = await self._await_health(name, service.name, progress)
        return str(info["Id"])

    def _config(self, spec: ContainerSpec, service: ServiceSpec, keeper: str, shared: str) -> dict[str, Any]:
        config = {
            "Image": service.image,
            "Labels": _labels(spec, f"service {service.name}"),
            "HostConfig": {
                **isolation(_CAPABILITIES),
                **limited(spec.limits),
                "Init": False,  # the keeper's init reaps for all
                "PidMode": f"container:{keeper}",
                "NetworkMode": shared,
                "LogConfig": _LOG,
            },
        }
        equip(config, service, trusted=spec.trusted)
        return config

    async def _await_health(self, name: str, service: str, progress: Callable[[str], None]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        pause = _LOOK
        waiting = False
        while True:
            info: dict[str, Any] = await self._engine.ask(self._container(name).show())
            state = info["State"]
            health = (state.get("Health") or {}).get("Status", "none")
            unchecked = health in ("none", "")
            if state["Running"] and (unchecked or health == "healthy"):
                progress(f"The service {service} is {'started' if unchecked else 'healthy'}")
            if unchecked or (health == "healthy" and state["Running"]):
                return info
            reason = _failure(state, over=loop.time() > until, patience=self._patience)
            if reason is not None:
                await self._tell(name, service, state, progress)
                raise ServiceFailed(f"the service {service} {reason}")
            if not waiting:
                waiting = True
                progress(f"Waiting for the service {service} to be healthy")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)

    async def _tell(self, name: str, service: str, state: dict[str, Any], progress: Callable[[str], None]) -> None:
        """What the service's last check and its log say."""
        for check in ((state.get("Health") or {}).get("Log") or ())[-1:]:
            progress(f"The last health check of {service} ended with {check['ExitCode']}:")
            _tell_lines(check["Output"], progress)
        pieces = await self._engine.ask(self._container(name).log(stdout=True, stderr=True, tail=LAST_LINES))
        progress(f"The last lines of {service}:")
        _tell_lines("".join(pieces), progress)

    async def _address(self, spec: ContainerSpec, service: str, network: str) -> str:
        info = await self._engine.ask(self._container(_name(spec, service)).show())
        places = info["NetworkSettings"]["Networks"].values()
        return next(str(each["IPAddress"]) for each in places if each["NetworkID"] == network)

    async def _is_started(self, name: str) -> bool:
        """Whether it was started once; one whose start was cut short is deleted."""
        info = await self._engine.find(self._container(name).show())
        if info is not None and info["State"]["Status"] == "created":
            await self._engine.find(self._container(name).delete(force=True, v=True))
            return False
        return info is not None

    async def _create(self, name: str, config: dict[str, Any]) -> None:
        """Create a container, in place of one that the engine still makes for a start that was cut short."""
        deadline = asyncio.get_running_loop().time() + _MADE_WITHIN
        while True:
            try:
                await self._engine.ask(self._engine.client.containers.create(config, name=name))
            except EngineRefused as error:
                if error.http_status == NOT_FOUND:
                    raise ImageUnusable(f"the image {config['Image']} is not here; prepare it first") from error
                if error.http_status != CONFLICT or asyncio.get_running_loop().time() > deadline:
                    raise
            else:
                return
            if await self._is_started(name):
                raise DriverError(f"the container {name} is being started already")
            await asyncio.sleep(_LOOK)

    def _container(self, name: str) -> Any:
        return self._engine.client.containers.container(name)


def services_label(services: Services) -> dict[str, str]:
    """How a job's container remembers them."""
    return {SERVICES_LABEL: msgspec.json.encode(services).decode()} if services.network else {}


def services_of(labels: dict[str, str]) -> Services:
    return msgspec.json.decode(labels.get(SERVICES_LABEL, "{}"), type=Services)


def _labels(spec: ContainerSpec, role: str) -> dict[str, str]:
    return {**spec.labels, NAME_LABEL: spec.name, ASIDE_LABEL: role}


def _name(spec: ContainerSpec, service: str) -> str:
    return f"{spec.name}.{service}"


def _keeper(spec: ContainerSpec) -> str:
    return f"{spec.name}-keeper"


def _failure(state: dict[str, Any], *, over: bool, patience: float) -> str | None:
    """Why a service will not be healthy, None while it may."""
    if not state["Running"]:
        return f"is not running: {stop_reason(state)}"
    if state["Health"]["Status"] == "unhealthy":
        return "is unhealthy"
    return f"is not healthy after {patience:g} s" if over else None


def _tell_lines(text: str, progress: Callable[[str], None]) -> None:
    for line in text.splitlines()[-LAST_LINES:]:
        progress(f"  {line[:LONGEST_LINE]}")
