"""The network of a runner's jobs: what they reach by it, and how it comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from containers import Job, Kind, Start, until
from kinds import docker_kind
from services import docker

from buildsys.adapters.docker import DockerDriver
from buildsys.core.driver import ContainerSpec, Driver
from buildsys.errors import DriverError

pytestmark = pytest.mark.docker


@pytest.fixture
def owner() -> str:
    return uuid4().hex


@pytest.fixture
async def kind(tmp_path: Path, owner: str) -> AsyncIterator[Kind]:
    async with docker_kind(tmp_path, owner=owner) as kind:
        yield kind


def networks(owner: str) -> set[str]:
    """The ids of an owner's networks."""
    return set(docker("network", "ls", "--quiet", "--no-trunc", "--filter", f"label=buildsys.owner={owner}").split())


def make_network(*options: str) -> str:
    """The id of a new network."""
    return docker("network", "create", *options, f"buildsys-test-{uuid4().hex}")


def network(job: Job) -> str:
    """The id of the network that the job's container was made for."""
    return docker("container", "inspect", "--format", "{{.HostConfig.NetworkMode}}", job.spec.name)


def address(job: Job) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return docker("container", "inspect", "--format", template, job.spec.name)


class TestReach:
    async def test_jobs_do_not_reach_each_other_while_the_engine_makes_networks(self, start: Start) -> None:
        server, client = await start(), await start()
        await server.run("nc -ll -p 7000 -e true >/dev/null 2>&1 &")
        ask = f"nc -w 1 {address(server)} 7000 -e true 2>/dev/null && echo through"
        assert (await server.run(f"until {ask}; do usleep 10000; done")).log == b"through\n"
        asking = client.write(f"for i in $(seq 500); do {{ {ask}; }} & usleep 10000; done; wait")
        await client.order(asking)
        made = 0
        while not (client.step(asking) / "status").exists():
            other = await asyncio.to_thread(make_network)
            await asyncio.to_thread(docker, "network", "rm", other)
            made += 1
        assert made > 3
        assert (await client.result(asking)).log == b""

    async def test_jobs_reach_what_is_outside(self, start: Start) -> None:
        job = await start()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"outside\n")
            writer.close()

        gateway = (await job.run("ip route | sed -n 's/^default via \\([0-9.]*\\) .*/\\1/p'")).log.decode().strip()
        async with await asyncio.start_server(answer, gateway) as server:
            port = server.sockets[0].getsockname()[1]
            assert (await job.run(f"nc -w 5 {gateway} {port} </dev/null")).log == b"outside\n"
        assert b"nameserver 127.0.0.11" in (await job.run("cat /etc/resolv.conf")).log


class TestLife:
    async def test_jobs_that_start_at_once_share_one_and_none_is_left(
        self, start: Start, kind: Kind, owner: str
    ) -> None:
        jobs = [await start(run=False) for _ in range(3)]
        await asyncio.gather(*(kind.driver.start(job.spec) for job in jobs))
        assert {network(job) for job in jobs} == networks(owner)
        assert len(networks(owner)) == 1
        for job in jobs:
            await kind.driver.remove(job.spec)
        await kind.driver.close()
        assert networks(owner) == set()

    async def test_a_start_that_is_cancelled_while_it_is_made_stops_no_other(
        self, start: Start, kind: Kind, owner: str
    ) -> None:
        first, second = await start(run=False), await start(run=False)
        starting = [asyncio.create_task(kind.driver.start(job.spec)) for job in (first, second)]
        await until(lambda: networks(owner) != set())
        starting[0].cancel()
        await asyncio.wait(starting)
        assert starting[1].result().running
        assert {network(second)} == networks(owner)

    async def test_a_cancelled_start_leaves_none(self, start: Start, kind: Kind, owner: str) -> None:
        job = await start(run=False)
        for turn in range(6):
            starting = asyncio.create_task(kind.driver.start(job.spec))
            await asyncio.wait({starting}, timeout=0.03 * turn)
            starting.cancel()
            await asyncio.wait({starting})
            await kind.driver.remove(job.spec)
            await kind.driver.close()
            assert networks(owner) == set()

    async def test_the_next_runner_takes_it_up_with_the_jobs_on_it(self, start: Start, kind: Kind, owner: str) -> None:
        running = await start()
        await kind.driver.close()
        assert networks(owner) == {network(running)}
        later = await start()
        assert network(later) == network(running)

    async def test_one_that_does_not_keep_jobs_apart_is_not_taken_up(self, start: Start, owner: str) -> None:
        label = f"--label=buildsys.owner={owner}"
        open_ones = {make_network(label), make_network(label, "-o", "com.docker.network.bridge.enable_icc=true")}
        job = await start()
        assert networks(owner) - open_ones == {network(job)}

    async def test_one_that_was_pruned_is_made_anew(self, start: Start, driver: Driver, owner: str) -> None:
        before = await start()
        await driver.remove(before.spec)
        [pruned] = networks(owner)
        docker("network", "rm", pruned)
        jobs = [await start(run=False) for _ in range(3)]
        await asyncio.gather(*(driver.start(job.spec) for job in jobs))
        assert {network(job) for job in jobs} == networks(owner)
        assert len(networks(owner)) == 1
        assert (await jobs[0].run("echo up")).log == b"up\n"

    @pytest.mark.parametrize(
        ("refusal", "way_out"),
        [
            ("could not find an available, non-overlapping IPv4 address pool among the defaults", "network prune"),
            ("cannot restrict inter-container communication: please ensure that", "modprobe br_netfilter"),
            ("operation not permitted", "makes no network: .*operation not permitted"),
        ],
    )
    async def test_an_engine_that_makes_none(self, tmp_path: Path, refusal: str, way_out: str) -> None:
        async def answer(request: web.Request) -> web.Response:
            if request.path == "/version":
                return web.json_response({"ApiVersion": "1.41"})
            if request.method == "GET" and request.path.endswith("/networks"):
                return web.json_response([])
            creates = request.path.endswith("/networks/create")
            return web.json_response({"message": refusal}, status=403 if creates else 404)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        serving = web.AppRunner(application)
        await serving.setup()
        await web.UnixSite(serving, str(tmp_path / "docker.sock")).start()
        driver = DockerDriver(owner="nobody", socket=tmp_path / "docker.sock")
        try:
            with pytest.raises(DriverError, match=way_out):
                await driver.start(ContainerSpec(name="any", folder=tmp_path, lifetime=1, image="any"))
        finally:
            await driver.close()
            await serving.cleanup()
