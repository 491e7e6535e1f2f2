"""A network of its own for every job, one of them always made ahead.

To make a network takes an engine about 80 ms, most of them in its packet filter. So while a job runs, the network of
the next one is made. It becomes a job's by the container that names it; one that no container names, and that nobody
is about to name, is litter and swept away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from buildsys.adapters.docker_engine import NOT_FOUND, DockerUnavailable, Engine, EngineRefused
from buildsys.errors import DriverError

OWNER_LABEL = "buildsys.owner"
_ACTIVE_ENDPOINTS = 403
_RELEASE = 10.0  # seconds that an engine may take to let go of a stopped container's end of a network


class NoAddresses(DriverError):
    """The engine's pools of addresses are used up: by default they give some thirty networks."""


class Networks:
    """Makes and deletes bridge networks. Only one instance of an `owner` may be alive: it sweeps what others left."""

    def __init__(self, *, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._prefix = f"buildsys-{uuid4().hex[:12]}-"
        self._made = 0
        self._littered = True
        self._spares: list[asyncio.Future[str]] = []
        self._kept: set[str] = set()
        """The networks that are spare, lent or being made: no litter."""

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[str]:
        """The name of a network for a container that is made in the block.

        A block that the engine refused leaves the network to the next job. After any other error nobody knows whether
        the container was made: the network stays its own, or is swept. Raises `DriverError` where there is none.
        """
        name = await self._take()
        try:
            yield name
        except EngineRefused:
            self._keep(name)
            raise
        except BaseException:
            self._kept.discard(name)
            self._littered = True
            raise
        self._kept.discard(name)

    def make_ahead(self) -> None:
        """See to it that a spare is there soon."""
        if not self._spares:
            self._spares.append(asyncio.create_task(self._make(), name="docker: the next job's network"))

    async def delete(self, name: str) -> None:
        """Delete a network and return once it is gone. Raises `DriverError` when something still hangs on it."""
        network = await self._engine.find(self._engine.client.networks.get(name))
        if network is None:
            return
        deadline = asyncio.get_running_loop().time() + _RELEASE
        while True:
            try:
                await self._engine.ask(network.delete())
            except EngineRefused as error:
                if error.http_status == NOT_FOUND:
                    return
                if error.http_status != _ACTIVE_ENDPOINTS or asyncio.get_running_loop().time() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Delete what no job took; where the engine is away, the owner's next instance does."""
        if self._spares:
            await asyncio.wait(self._spares)
        self._spares.clear()
        self._kept.clear()
        if self._engine.is_open:
            with suppress(DockerUnavailable):
                await self._sweep()

    async def _take(self) -> str:
        while self._spares:
            spare = self._spares.pop()
            try:
                name = await asyncio.shield(spare)
                if await self._engine.find(self._engine.client.networks.get(name)) is not None:
                    return name
            except asyncio.CancelledError:
                self._spares.append(spare)
                raise
            except DriverError:
                continue  # it failed when nobody asked for it; if the reason holds, the one made now will say so
            self._kept.discard(name)
        new = asyncio.create_task(self._make(), name="docker: a job's network")
        try:
            return await asyncio.shield(new)
        except asyncio.CancelledError:
            self._spares.append(new)
            raise

    def _keep(self, name: str) -> None:
        spare = asyncio.get_running_loop().create_future()
        spare.set_result(name)
        self._spares.append(spare)

    async def _make(self) -> str:
        if self._littered:
            await self._sweep()
        self._made += 1
        name = f"{self._prefix}{self._made}"
        self._kept.add(name)
        try:
            try:
                await self._create(name)
            except NoAddresses:
                await self._sweep(everyone=True)
                await self._create(name)
        except DriverError:
            self._kept.discard(name)
            raise
        return name

    async def _create(self, name: str) -> None:
        config = {"Name": name, "Driver": "bridge", "Labels": {OWNER_LABEL: self._owner}}
        try:
            await self._engine.ask(self._engine.client.networks.create(config))
        except EngineRefused as error:
            if "address pool" in error.text:
                raise NoAddresses(
                    "the Docker engine has no addresses left for another network: run fewer jobs at once, or give it "
                    "more `default-address-pools` in /etc/docker/daemon.json"
                ) from error
            raise DriverError(f"the Docker engine makes no network: {error.text}") from error

    async def _sweep(self, *, everyone: bool = False) -> None:
        """Delete the owner's litter: networks of killed runners and of starts that were cut short.

        In need delete that of `everyone`: other owners' spares too, which they make anew.
        """
        self._littered = False
        label = OWNER_LABEL if everyone else f"{OWNER_LABEL}={self._owner}"
        networks = await self._engine.ask(self._engine.client.networks.list(filters={"label": [label]}))
        kept = set(self._kept)  # now: what is let go from here on is named by a container of the next list
        containers = await self._engine.ask(self._engine.client.containers.list(all="1"))
        named = {container["HostConfig"]["NetworkMode"] for container in containers}
        for network in networks:
            if network["Name"] not in kept | named:
                await self.delete(network["Name"])
