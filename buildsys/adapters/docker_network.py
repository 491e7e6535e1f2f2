"""The networks of a runner's jobs: one for all, on which none reaches another, and one for each job with services.

A network for each job would not part them: while an engine makes any other network, it takes its rule between bridges
out of the packet filter for some milliseconds, and what connects then stays connected. Its rule within a bridge, which
`enable_icc=false` asks for, stays where it is. Open are the way out by the gateway and the engine's name server; what
parts the jobs from containers on other bridges, other runners' jobs among them, is the rule that comes and goes.

A job and its services share a second network, of their own, where they reach each other by name. Rules come and go for
it as well, so that nobody else gets in does not rest on them: this host has no address on it (`inhibit_ipv4`), and so
no way to it for what comes from anywhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

from buildsys.adapters.docker_container import NAME_LABEL
from buildsys.adapters.docker_engine import NOT_FOUND, DockerUnavailable, Engine, EngineRefused
from buildsys.errors import DriverError

OWNER_LABEL = "buildsys.owner"
_BETWEEN_CONTAINERS = "com.docker.network.bridge.enable_icc"
_HOST_STAYS_OUT = "com.docker.network.bridge.inhibit_ipv4"
_ACTIVE_ENDPOINTS = 403
_CLOSING = 10.0  # seconds that an engine may take to finish and delete a network

_WAYS_OUT = {
    "address pool": (
        "it has no addresses left for another one: delete unused ones (docker network prune), or give it more "
        "`default-address-pools` in /etc/docker/daemon.json"
    ),
    "restrict inter-container communication": (
        "it cannot keep jobs apart without the kernel's br_netfilter: load it (modprobe br_netfilter), and at each "
        "boot by a line in /etc/modules-load.d/"
    ),
}
"""What to do about a refusal with these words in it; engines have used them from 20.10 on."""


class ServiceNetwork:
    """The network of one job and its services, found by the job's name."""

    def __init__(self, *, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner

    async def ensure(self, job: str) -> str:
        """The network's id. Raises `DriverError` where the engine makes none."""
        if found := await self.find(job):
            return found[0]
        config = {
            "Name": f"{job}-{uuid4().hex[:8]}",  # one of a start that was cut short may still appear beside it
            "Driver": "bridge",
            "Internal": True,
            "EnableIPv6": False,
            "Options": {_HOST_STAYS_OUT: "true"},
            "Labels": {OWNER_LABEL: self._owner, NAME_LABEL: job},
        }
        return await _make(self._engine, config)

    async def find(self, job: str) -> list[str]:
        """The ids of the job's networks: one, or none; more where starts were cut short."""
        networks = self._engine.client.networks.list(filters={"label": [f"{NAME_LABEL}={job}"]})
        return [str(each["Id"]) for each in await self._engine.ask(networks)]

    async def join(self, network: str, info: dict[str, Any], names: list[str]) -> None:
        """Connect the container that the engine shows so, unless it is there; the others find it by these names."""
        if network in {place["NetworkID"] for place in info["NetworkSettings"]["Networks"].values()}:
            return
        place = await self._engine.ask(self._engine.client.networks.get(network))
        await self._engine.ask(place.connect({"Container": info["Id"], "EndpointConfig": {"Aliases": names}}))

    async def remove(self, job: str) -> None:
        """Delete the network. Raises `DriverError` while containers run on it."""
        for network in await self.find(job):
            found = await self._engine.find(self._engine.client.networks.get(network))
            if found is not None:
                await self._engine.find(found.delete())


class JobNetwork:
    """Finds the network of an `owner`, or makes it when it is first needed.

    Only one instance of an owner may be alive. The next one takes up the network under containers that still run.
    """

    def __init__(self, *, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._finding: asyncio.Task[str] | None = None

    async def ensure(self) -> str:
        """The network's id, one for all who ask at once. Raises `DriverError` where the engine makes none."""
        if self._finding is None or _has_failed(self._finding):
            self._finding = asyncio.create_task(self._find_or_make(), name="docker: the network of the jobs")
        return await asyncio.shield(self._finding)  # one start that is cancelled stops it for no other

    def forget(self, network: str) -> None:
        """Take note that the engine does not know this id any more; the next who asks gets another network."""
        finding = self._finding
        if finding is not None and finding.done() and not _has_failed(finding) and finding.result() == network:
            self._finding = None

    async def close(self) -> None:
        """Delete the owner's networks that no container runs on, those that jobs left behind among them.

        What stays is the next instance's to take up.
        """
        finding, self._finding = self._finding, None
        with suppress(DockerUnavailable, TimeoutError):
            async with asyncio.timeout(_CLOSING):
                if finding is not None:
                    with suppress(DriverError):
                        await finding
                if self._engine.is_open:
                    for network in await self._owned():
                        await self._delete(network["Id"])

    async def _find_or_make(self) -> str:
        apart = [each for each in await self._owned() if (each["Options"] or {}).get(_BETWEEN_CONTAINERS) == "false"]
        if apart:
            latest = max(apart, key=lambda each: str(each["Created"]))
            return str(latest["Id"])
        config = {
            "Name": f"buildsys-{uuid4().hex[:12]}",
            "Driver": "bridge",
            "Options": {_BETWEEN_CONTAINERS: "false"},
            "Labels": {OWNER_LABEL: self._owner},
        }
        return await _make(self._engine, config)

    async def _owned(self) -> list[dict[str, Any]]:
        filters = {"label": [f"{OWNER_LABEL}={self._owner}"]}
        return await self._engine.ask(self._engine.client.networks.list(filters=filters))

    async def _delete(self, network: str) -> None:
        try:
            await self._engine.ask((await self._engine.ask(self._engine.client.networks.get(network))).delete())
        except EngineRefused as error:
            if error.http_status not in (NOT_FOUND, _ACTIVE_ENDPOINTS):
                raise


async def _make(engine: Engine, config: dict[str, Any]) -> str:
    try:
        return str((await engine.ask(engine.client.networks.create(config))).id)
    except EngineRefused as error:
        way_out = next((way_out for words, way_out in _WAYS_OUT.items() if words in error.text), error.text)
        raise DriverError(f"the Docker engine makes no network: {way_out}") from error


def _has_failed(finding: asyncio.Task[str]) -> bool:
    return finding.done() and (finding.cancelled() or finding.exception() is not None)
