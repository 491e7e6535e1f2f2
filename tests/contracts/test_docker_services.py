"""Services of jobs on the Docker driver: reached by name and on localhost, waited for, and gone with the job."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import docker_image
import msgspec
import pytest
from containers import Kind, Start, processes, until
from kinds import docker_kind
from services import (
    ECHO,
    LISTENING,
    OUT,
    Launch,
    asks,
    containers,
    docker,
    healthy,
    inspected,
    parts,
    python_service,
    says,
    service,
)

from buildsys.adapters.docker import DockerDriver
from buildsys.adapters.docker_services import ServiceStarter
from buildsys.core.driver import Driver
from buildsys.errors import ServiceFailed

pytestmark = pytest.mark.docker


@pytest.fixture
def owner() -> str:
    return uuid4().hex


@pytest.fixture
async def kind(tmp_path: Path, owner: str) -> AsyncIterator[Kind]:
    async with docker_kind(tmp_path, owner=owner) as kind:
        yield kind
    assert docker("network", "ls", "--quiet", "--filter", f"label=buildsys.owner={owner}") == ""


class TestReach:
    async def test_a_service_is_reached_by_its_name_and_its_aliases(self, launch: Launch) -> None:
        job = await launch(service("db", says("hello"), *LISTENING, "--network-alias=primary"))
        assert (await job.run(asks("db", 7000))).log == b"hello\n"
        assert (await job.run(asks("primary", 7000))).log == b"hello\n"

    async def test_services_reach_each_other_and_the_job(self, launch: Launch) -> None:
        relay = service("relay", f"exec nc -ll -p 7001 -e sh -c '{asks('db', 7000)}; {asks('app', 7002)}'")
        job = await launch(
            service("db", says("from-db"), *LISTENING),
            msgspec.structs.replace(relay, options=healthy("netstat -ltn | grep -q :7001")),
            options=("--network-alias=app",),
        )
        await job.run("nc -ll -p 7002 -e echo from-the-job >/dev/null 2>&1 &")
        assert (await job.run(f"sleep 0.2; {asks('relay', 7001)}")).log == b"from-db\nfrom-the-job\n"

    async def test_ports_are_on_localhost(self, launch: Launch, driver: Driver) -> None:
        """`8080:80` is where it says, and `80` where we say; two services may listen at the same port of their own."""
        job = await launch(
            service("one", says("one"), *LISTENING, ports=("7001:7000",)),
            service("two", says("two"), *LISTENING, ports=("7002:7000/tcp",)),
            service("three", says("three"), *LISTENING, ports=("7000",)),
            service("four", says("four"), *LISTENING, ports=("7000",)),
        )
        status = await driver.inspect(job.spec.name)
        assert status is not None
        ports = {name: each.ports["7000"] for name, each in status.services.items()}
        assert ports["one"] == "7001"
        assert ports["two"] == "7002"
        assert ports["three"] == "7000"
        for name, port in ports.items():
            assert (await job.run(asks("localhost", int(port)))).log == name.encode() + b"\n"
            assert status.services[name].id == inspected(f"{job.spec.name}.{name}")["Id"]
        networks = inspected(job.spec.name)["NetworkSettings"]["Networks"].values()
        assert status.network in {each["NetworkID"] for each in networks}

    async def test_localhost_carries_both_directions_to_their_ends(self, launch: Launch) -> None:
        job = await launch(service("sum", "exec nc -ll -p 7000 -e md5sum", *LISTENING, ports=("80:7000",)))
        data = "dd if=/dev/zero bs=65536 count=160 2>/dev/null"
        result = await job.run(f"{data} | nc -w 5 127.0.0.1 80; {data} | md5sum")
        first, second = result.log.splitlines()
        assert first == second

    async def test_datagrams_are_carried_as_well(self, launch: Launch) -> None:
        echo = python_service("log", ECHO, *healthy("netstat -lun | grep -q :7001"), ports=("53:7001/udp",))
        job = await launch(echo, image=docker_image.python_image())
        ask = """
import socket
for port in 1, 2:
    near = socket.socket(type=socket.SOCK_DGRAM)
    near.settimeout(10)
    near.connect(("localhost", 53))
    for word in b"one", b"two":
        near.send(word)
        print(near.recv(100).decode())
"""
        assert (await job.run(f"python3 -c '{ask}'")).log == b"got one\ngot two\n" * 2

    async def test_a_service_that_is_away_refuses_on_localhost(self, launch: Launch) -> None:
        job = await launch(service("db", "sleep 1000", ports=("7000",)))
        assert (await job.run(asks("localhost", 7000))).log == b""

    async def test_jobs_and_services_reach_what_is_outside(self, launch: Launch) -> None:
        job = await launch(service("db", f"exec nc -ll -p 7000 -e sh -c '{OUT}'", *LISTENING))

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"outside\n")
            writer.close()

        gateway = (await job.run(f"{OUT} | sed -n 's/^default via \\([0-9.]*\\) .*/\\1/p'")).log.decode().strip()
        assert gateway in (await job.run(asks("db", 7000))).log.decode()
        async with await asyncio.start_server(answer, gateway) as server:
            port = server.sockets[0].getsockname()[1]
            assert (await job.run(asks(gateway, port))).log == b"outside\n"
            ask = ("exec", f"{job.spec.name}.db", "sh", "-c", asks(gateway, port))
            assert await asyncio.to_thread(docker, *ask) == "outside"


class TestHealth:
    async def test_the_job_waits_for_a_service_to_be_healthy(self, launch: Launch) -> None:
        said: list[str] = []
        script = f"sleep 1; touch /tmp/ready; {says('up')}"
        job = await launch(
            service("db", script, *healthy("test -e /tmp/ready && netstat -ltn | grep -q :7000")), said=said
        )
        assert (await job.run(asks("db", 7000))).log == b"up\n"
        assert said == ["Waiting for the service db to be healthy", "The service db is healthy"]

    async def test_an_unhealthy_one_ends_the_start_with_its_last_words(self, launch: Launch, driver: Driver) -> None:
        said: list[str] = []
        script = "for i in $(seq 80); do echo line $i; done; sleep 1000"
        sick = service("db", script, *healthy("echo no database; exit 3", retries=2))
        with pytest.raises(ServiceFailed, match=r"^the service db is unhealthy$"):
            await launch(sick, service("other", "sleep 1000"), said=said)
        assert "The last health check of db ended with 3:" in said
        assert "  no database" in said
        assert [line for line in said if line.startswith("  line")] == [f"  line {i}" for i in range(31, 81)]

    async def test_one_that_ends_before_it_is_healthy(self, launch: Launch) -> None:
        said: list[str] = []
        with pytest.raises(ServiceFailed, match="the service db is not running: ended with status 7"):
            await launch(service("db", "echo bad password >&2; exit 7", *healthy("false")), said=said)
        assert "  bad password" in said

    async def test_one_that_takes_longer_than_the_limit(self, start: Start, owner: str) -> None:
        driver = DockerDriver(owner=owner, patience=0.5)
        job = await start(run=False)
        slow = service("db", "sleep 1000", *healthy("false"))
        job.spec = msgspec.structs.replace(job.spec, services=(slow,))
        with pytest.raises(ServiceFailed, match=r"the service db is not healthy after 0\.5 s"):
            await driver.start(job.spec)
        await driver.remove(job.spec)
        assert parts(job) == []
        await driver.close()

    async def test_one_that_ends_at_once_is_told_with_its_last_words(self, launch: Launch) -> None:
        """As on GitHub the job runs; whoever reads why it then fails is told which service is not there."""
        said: list[str] = []
        job = await launch(
            service("db", "echo bad password >&2; exit 7"),
            service("web", "sleep 1000", "--entrypoint=/bin/false", ports=("7000",)),
            said=said,
        )
        assert (await job.run("echo runs")).log == b"runs\n"
        assert "Warning: the service db is not running: ended with status 7" in said
        assert "  bad password" in said
        assert "Warning: the service web is not running: ended with status 1" in said

    async def test_a_flood_of_a_log_is_cut(self, launch: Launch) -> None:
        said: list[str] = []
        script = "yes $(head -c 3000 /dev/zero | tr '\\0' x) | head -n 3000; sleep 1000"
        with pytest.raises(ServiceFailed):
            await launch(service("db", script, *healthy("head -c 100000 /dev/zero; false", retries=20)), said=said)
        assert len(said) < 130
        assert max(map(len, said)) < 2100


class TestEnd:
    async def test_nothing_is_left_of_a_job(self, launch: Launch, driver: Driver) -> None:
        job = await launch(service("db", "trap '' TERM; sleep 1000"), service("web", says("x"), ports=("80:7000",)))
        assert len(parts(job)) == 6
        await driver.remove(job.spec)
        assert parts(job) == []
        await driver.remove(job.spec)

    async def test_services_end_with_the_lifetime_whoever_else_is_alive(self, launch: Launch, token: str) -> None:
        await launch(service("db", f"trap '' TERM; setsid sleep {token} & sleep {token}"), lifetime=2)
        await until(lambda: len(processes(token)) >= 2)
        await until(lambda: processes(token) == [])

    @pytest.mark.parametrize("made", range(1, 6))
    async def test_they_are_found_and_removed_after_the_runner_was_killed(
        self, start: Start, kind: Kind, token: str, made: int
    ) -> None:
        """At any moment of a start what there is is listed under the job's name, and removed by it."""
        job = await start(run=False)
        db = service("db", f"exec sleep {token}", *healthy("sleep 0.3"), ports=("7000",))
        spec = msgspec.structs.replace(job.spec, services=(db,))
        code = f"""
import asyncio
import msgspec
from buildsys.core.driver import ContainerSpec
{kind.source}
spec = msgspec.json.decode({msgspec.json.encode(spec, enc_hook=str)!r}, type=ContainerSpec, dec_hook=lambda t, v: t(v))
asyncio.run(driver.start(spec))
"""
        runner = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
        await until(lambda: len(parts(job)) >= made, 60)
        runner.kill()
        await runner.wait()
        listed = await kind.driver.list({"buildsys.test": job.spec.name})
        assert [each.name for each in listed] == ([job.spec.name] if containers(job) else [])
        await kind.driver.remove(job.spec)
        assert parts(job) == []
        assert processes(token) == []

    async def test_a_start_that_was_cut_short_is_completed(self, start: Start, driver: Driver) -> None:
        for moment in (0.1, 0.4, 0.7, 1.0):
            job = await start(run=False)
            job.spec = msgspec.structs.replace(
                job.spec, services=(service("db", says("up"), *LISTENING, ports=("7000",)),)
            )
            starting = asyncio.create_task(driver.start(job.spec))
            await asyncio.wait({starting}, timeout=moment)
            starting.cancel()
            await asyncio.wait({starting})
            first = await driver.start(job.spec)
            assert (await job.run(f"{asks('db', 7000)}; {asks('localhost', 7000)}")).log == b"up\nup\n"
            assert await driver.start(job.spec) == first
            await driver.remove(job.spec)

    async def test_a_container_that_is_still_being_made_for_it_is_made_anew(
        self, start: Start, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The engine knows its name before it shows it."""
        job = await start(run=False)
        job.spec = msgspec.structs.replace(job.spec, services=(service("db", says("up"), *LISTENING, ports=("7000",)),))
        keeper = f"{job.spec.name}-keeper"
        assert job.spec.image is not None
        docker("create", "--name", keeper, job.spec.image, "false")
        is_started = ServiceStarter._is_started
        asked: list[str] = []

        async def unseen_at_first(services: ServiceStarter, name: str) -> bool:
            asked.append(name)
            return asked.count(name) > 1 and await is_started(services, name)

        monkeypatch.setattr(ServiceStarter, "_is_started", unseen_at_first)
        await driver.start(job.spec)
        assert asked.count(keeper) == 2
        assert (await job.run(asks("localhost", 7000))).log == b"up\n"
