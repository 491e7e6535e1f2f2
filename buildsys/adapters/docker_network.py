"""A network of its own for every job, one of them always made ahead.

To make a network takes an engine about 80 ms, most of them in its packet filter. So while a job runs, the network of
the next one is made. It becomes a job's by the container that names it.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

from buildsys.adapters.docker_engine import NOT_FOUND, Engine, EngineRefused
from buildsys.errors import DriverError

OWNER_LABEL = "buildsys.owner"
_ACTIVE_ENDPOINTS = 403
_RELEASE = 10.0  # seconds that an engine may take to let go of a stopped container's end of a network


class Networks:
    """Makes and deletes bridge networks. Of the instances with the same `owner`, the last to start is the owner:
    it deletes what earlier ones made and never used."""

    def __init__(self, *, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._prefix = f"buildsys-{uuid4().hex[:12]}-"
        self._made = 0
        self._swept = False
        self._spare: str | None = None
        self._making: asyncio.Task[None] | None = None

    async def take(self) -> str:
        """The name of a network for one job. Raises `DriverError` where the engine makes no more."""
        if self._making is not None:
            await asyncio.wait({self._making})
        name, self._spare = self._spare, None
        if name is not None:
            network = await self._engine.find(self._engine.client.networks.get(name))
            if network is not None:
                return name
        return await self._make()

    def put_back(self, name: str) -> None:
        """Keep a network that was taken and not used for the next job."""
        self._spare = name

    def make_ahead(self) -> None:
        """See to it that a spare is there soon."""
        if self._spare is None and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._fill(), name="docker: the next job's network")

    async def delete(self, name: str) -> None:
        """Delete a network and return once it is gone. Raises `DriverError` when something still hangs on it."""
        network = await self._engine.find(self._engine.client.networks.get(name))
        if network is None:
            return
        async with asyncio.timeout(_RELEASE) as released:
            while True:
                try:
                    await self._engine.ask(network.delete())
                except EngineRefused as error:
                    if error.http_status == NOT_FOUND:
                        return
                    if error.http_status != _ACTIVE_ENDPOINTS or released.expired():
                        raise
                else:
                    return
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Delete the spare."""
        if self._making is not None:
            await asyncio.wait({self._making})
        name, self._spare = self._spare, None
        if name is not None:
            await self.delete(name)

    async def _make(self) -> str:
        self._made += 1
        name = f"{self._prefix}{self._made}"
        labels = {OWNER_LABEL: self._owner}
        try:
            await self._engine.ask(
                self._engine.client.networks.create({"Name": name, "Driver": "bridge", "Labels": labels})
            )
        except EngineRefused as error:
            if "address pool" in error.text:
                raise DriverError(
                    "the Docker engine has no addresses left for another network: run fewer jobs at once, or give it "
                    "more `default-address-pools` in /etc/docker/daemon.json"
                ) from error
            raise
        return name

    async def _fill(self) -> None:
        try:
            if not self._swept:
                await self._sweep()
                self._swept = True
            self._spare = await self._make()
        except DriverError:
            return  # the next job makes its own network, and says what is wrong if it still is

    async def _sweep(self) -> None:
        """Delete the networks of earlier instances that no container names."""
        ours = {"label": [f"{OWNER_LABEL}={self._owner}"]}
        networks = await self._engine.ask(self._engine.client.networks.list(filters=ours))
        used = await self._engine.ask(self._engine.client.containers.list(all="1"))
        names = {container["HostConfig"]["NetworkMode"] for container in used}
        for network in networks:
            if not network["Name"].startswith(self._prefix) and network["Name"] not in names:
                await self.delete(network["Name"])
