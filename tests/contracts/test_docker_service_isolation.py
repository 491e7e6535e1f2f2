"""Services of jobs on the Docker driver: who reaches them, and what no option gets for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import docker_image
import msgspec
import pytest
from containers import Kind, Start, processes, until
from kinds import docker_kind
from services import (
    ASK,
    ECHO,
    GREET,
    LISTENING,
    Launch,
    asks,
    docker,
    healthy,
    inspected,
    parts,
    python_service,
    says,
    service,
)

from buildsys.core.driver import Driver
from buildsys.errors import ContainerRefused, DriverError

pytestmark = pytest.mark.docker


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Kind]:
    async with docker_kind(tmp_path, owner=uuid4().hex) as kind:
        yield kind


class TestIsolation:
    async def test_other_jobs_do_not_reach_a_service(self, launch: Launch) -> None:
        victim = await launch(service("db", says("mine"), *LISTENING, ports=("7000",)))
        other = await launch(service("own", says("own"), *LISTENING))
        for name in (victim.spec.name, f"{victim.spec.name}.db"):
            for place in inspected(name)["NetworkSettings"]["Networks"].values():
                ask = f"nc -w 1 {place['IPAddress']} 7000 </dev/null 2>&1"
                assert b"mine" not in (await other.run(ask)).log
        assert (await other.run("nslookup db")).status != 0
        assert (await victim.run(asks("db", 7000))).log == b"mine\n"

    async def test_nor_while_the_engine_makes_networks(self, launch: Launch, start: Start) -> None:
        """Neither by TCP nor by a datagram that needs no answer: the engine's rules come and go meanwhile."""
        ready = healthy("netstat -lun | grep -q :7001 && netstat -ltn | grep -q :7000")
        victim = await launch(python_service("db", f"{GREET}{ECHO}", *ready), image=docker_image.python_image())
        attacker = await start(run=False)
        attacker.spec = msgspec.structs.replace(attacker.spec, image=docker_image.python_image())
        assert (await attacker.driver.start(attacker.spec)).running
        status = await victim.driver.inspect(victim.spec.name)
        assert status is not None
        networks = inspected(f"{victim.spec.name}.db")["NetworkSettings"]["Networks"].values()
        [target] = [each["IPAddress"] for each in networks if each["NetworkID"] == status.network]
        asking = attacker.write(f"python3 -c '{ASK}' {target} 5")
        await attacker.order(asking)
        made = 0
        while not (attacker.step(asking) / "status").exists():
            network = await asyncio.to_thread(docker, "network", "create", f"buildsys-test-{uuid4().hex}")
            await asyncio.to_thread(docker, "network", "rm", network)
            made += 1
        assert made > 3
        assert (await attacker.result(asking)).log == b""
        caught = ("exec", f"{victim.spec.name}.db", "sh", "-c", "cat /tmp/caught || true")
        assert docker(*caught) == ""
        assert b"mine" in (await victim.run(f"python3 -c '{ASK}' db 1")).log
        assert docker(*caught).startswith("word")

    async def test_a_service_has_the_limits_of_its_job_and_no_more_rights(self, launch: Launch) -> None:
        job = await launch(service("db", "sleep 1000", "--memory=64m", "--cpus=100"))
        host = inspected(f"{job.spec.name}.db")["HostConfig"]
        assert host["Memory"] == 64 << 20
        assert host["NanoCpus"] == round(job.spec.limits.cpus * 1e9)
        assert (host["Privileged"], host["CapDrop"], host["SecurityOpt"]) == (False, ["ALL"], ["no-new-privileges"])
        assert "NET_RAW" not in host["CapAdd"]
        assert host["Binds"] is None
        assert not host["Mounts"] if "Mounts" in host else True

    async def test_steps_and_services_do_not_see_each_others_processes(self, launch: Launch, token: str) -> None:
        job = await launch(service("db", f"exec sleep {token}"))
        await until(lambda: processes(f"sleep\0{token}") != [])
        assert token.encode() not in (await job.run("ps")).log

    async def test_variables_reach_the_container_that_they_are_for(self, launch: Launch) -> None:
        script = "exec nc -ll -p 7000 -e env"
        job = await launch(
            service("db", script, *LISTENING, "--env=WHO=option", "--env=PASSWORD=x", PASSWORD="s3cret"),
            env={"MODE": "ci", "HOME": "/elsewhere"},
        )
        log = (await job.run(f"{asks('db', 7000)}; echo own; env")).log.decode()
        theirs, own = log.split("own\n")
        assert "PASSWORD=s3cret\n" in theirs
        assert "WHO=option\n" in theirs
        assert theirs.count("PASSWORD=") == 1
        assert "MODE=ci\n" in own
        assert "HOME=/buildsys/home\n" in own
        assert "PASSWORD" not in own


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"options": ("--privileged",)}, "--privileged is not built in, or not allowed"),
            ({"options": ("--volume=/:/host",)}, "--volume is not built in, or not allowed"),
            ({"options": ("--pid=host",)}, "--pid is not built in, or not allowed"),
            ({"options": ("--network=host",)}, "--network is not built in, or not allowed"),
            ({"options": ("--add-host=h:host-gateway",)}, "host-gateway is the host itself"),
            ({"options": ("--label=traefik.enable=true",)}, "--label is not built in, or not allowed"),
            ({"options": ("--gpus=all",)}, "--gpus is not built in, or not allowed"),
            ({"options": ("--memory=lots",)}, "expected a size such as 512m"),
            ({"options": ("--tmpfs=/buildsys/steps",)}, "the job's own"),
            ({"options": ("--tmpfs=//buildsys",)}, "the job's own"),
            ({"options": ("--tmpfs=/./buildsys/:size=1m",)}, "the job's own"),
            ({"options": ("--tmpfs=//./",)}, "the job's own"),
            ({"options": ("--ulimit=core=-1",)}, "core dumps"),
            ({"options": ("--health-interval=soon",)}, "expected a time"),
            ({"volumes": ("/:/host",)}, "an administrator must trust"),
        ],
    )
    async def test_options_that_are_not_known_or_not_allowed(
        self, start: Start, driver: Driver, fields: dict[str, tuple[str, ...]], words: str
    ) -> None:
        job = await start(run=False)
        beside = msgspec.structs.replace(service("db", "sleep 1000"), **fields)
        for spec in (
            msgspec.structs.replace(job.spec, **fields),
            msgspec.structs.replace(job.spec, services=(beside,)),
        ):
            with pytest.raises(DriverError, match=words):
                await driver.start(spec)
            await driver.remove(spec)
        assert parts(job) == []

    @pytest.mark.parametrize("target", ["/buildsys", "//buildsys//steps", "/./buildsys/"])
    async def test_no_volume_hides_the_job_s_own_folder(self, start: Start, driver: Driver, target: str) -> None:
        job = await start(run=False)
        spec = msgspec.structs.replace(job.spec, volumes=(f"/tmp:{target}",), trusted=True)
        with pytest.raises(ContainerRefused, match="the job's own"):
            await driver.start(spec)

    @pytest.mark.parametrize(
        ("ports", "words"),
        [
            (("80:7000", "80:7000"), "both want port 80 of localhost"),
            (("0:7000", "1"), "expected a port"),
            (("70000", "1"), "expected a port"),
            (("x", "1"), "expected a port"),
        ],
    )
    async def test_ports_that_cannot_be(self, start: Start, driver: Driver, ports: tuple[str, str], words: str) -> None:
        job = await start(run=False)
        both = tuple(service(f"s{i}", "sleep 1000", ports=(port,)) for i, port in enumerate(ports))
        with pytest.raises(DriverError, match=words):
            await driver.start(msgspec.structs.replace(job.spec, services=both))

    @pytest.mark.parametrize("name", ["", "-x", "../x", "a b", "x" * 200])
    async def test_names_that_cannot_be(self, start: Start, driver: Driver, name: str) -> None:
        job = await start(run=False)
        with pytest.raises(DriverError, match="cannot be called"):
            await driver.start(msgspec.structs.replace(job.spec, services=(service(name, "true"),)))

    async def test_the_runner_s_own_labels_are_nobody_else_s(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        options = ("--label=buildsys.container=other",)
        with pytest.raises(ContainerRefused, match="the runner's own"):
            await driver.start(msgspec.structs.replace(job.spec, options=options, trusted=True))

    async def test_capabilities_are_dropped_before_others_are_added(self, launch: Launch) -> None:
        job = await launch(
            service("all", "sleep 1000", "--cap-add=NET_RAW", "--cap-drop=ALL"),
            service("one", "sleep 1000", "--cap-drop=CAP_CHOWN"),
            options=("--cap-drop=all",),
            trusted=True,
        )
        assert inspected(f"{job.spec.name}.all")["HostConfig"]["CapAdd"] == ["KILL", "NET_RAW"]
        assert "CHOWN" not in inspected(f"{job.spec.name}.one")["HostConfig"]["CapAdd"]
        changed = await job.run("touch /tmp/mine && chown 1000 /tmp/mine")
        assert changed.status != 0

    async def test_a_trusted_project_may(self, launch: Launch, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("theirs")
        job = await launch(
            service("db", "sleep 1000", "--cap-add=SYS_ADMIN"), volumes=(f"{tmp_path}:/data:ro",), trusted=True
        )
        assert (await job.run("cat /data/data")).log == b"theirs"
        assert "SYS_ADMIN" in inspected(f"{job.spec.name}.db")["HostConfig"]["CapAdd"]
