"""What the Docker driver promises beyond the contract: isolation, images, and clear words."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  asyncio wants it when the test has no right to read it
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import docker_image
import pytest
from containers import Job, Kind, Start, make_folder, wanting
from image_registry import ImageRegistry
from kinds import docker_kind

from buildsys.adapters.docker import DockerDriver
from buildsys.adapters.docker_container import container_config
from buildsys.adapters.docker_engine import DockerUnavailable, Engine, engine_socket
from buildsys.core.driver import ContainerSpec, Driver, Limits
from buildsys.errors import ImageUnusable, SetupError

pytestmark = pytest.mark.docker

ENGINE = Path("/var/run/docker.sock")
NOBODY = 65534


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Kind]:
    async with docker_kind(tmp_path, owner=uuid4().hex) as kind:
        yield kind


def engine(*arguments: str) -> Any:
    """What the engine's own client says, as JSON: another pair of eyes than the driver's."""
    answer = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
    return json.loads(answer) if answer.strip() else None


def silent(line: str) -> None:
    """Progress that nobody asked for."""


class TestIsolation:
    async def test_a_step_has_few_capabilities_and_gains_none(self, start: Start) -> None:
        log = (await (await start()).run("cat /proc/self/status")).log.decode()
        status = dict(line.split(":\t", 1) for line in log.splitlines() if ":\t" in line)
        chown, dac_override, fowner, fsetid, kill, setgid, setuid = 0, 1, 3, 4, 5, 6, 7
        allowed = sum(1 << bit for bit in (chown, dac_override, fowner, fsetid, kill, setgid, setuid))
        assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == allowed
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"

    async def test_the_engine_and_the_host_are_out_of_reach(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("ours")
        paths = f"{tmp_path}/secret /var/run/docker.sock /run/docker.sock"
        job = await start()
        result = await job.run(f"for path in {paths} /buildsys; do if [ -e $path ]; then echo $path; fi; done")
        assert result.log == b"/buildsys\n"

    async def test_limits_are_the_spec_s(self, start: Start) -> None:
        job = await start(limits=Limits(memory=96 << 20, cpus=0.5, pids=77))
        [info] = engine("container", "inspect", job.spec.name)
        config = info["HostConfig"]
        assert (config["Memory"], config["MemorySwap"]) == (96 << 20, 96 << 20)
        assert (config["NanoCpus"], config["PidsLimit"]) == (500_000_000, 77)

    async def test_jobs_do_not_reach_each_other(self, start: Start) -> None:
        server, client = await start(), await start()
        await server.run("while :; do echo hello | nc -l -p 7000; done >/dev/null 2>&1 &")
        [info] = engine("container", "inspect", server.spec.name)
        [network] = info["NetworkSettings"]["Networks"].values()
        ask = f"nc -w 2 {network['IPAddress']} 7000 </dev/null"
        assert b"hello" in (await server.run(ask)).log
        assert (await client.run(ask)).log.count(b"hello") == 0


class TestReasons:
    async def test_out_of_memory(self, start: Start, driver: Driver) -> None:
        job = await start(limits=Limits(memory=64 << 20))
        await job.run("dd if=/dev/zero of=/dev/null bs=512M count=1")
        subprocess.run(["docker", "kill", job.spec.name], check=True, capture_output=True)
        status = await driver.inspect(job.spec.name)
        assert status is not None
        assert (status.running, status.reason) == (False, "out of memory")

    async def test_the_end_of_the_lifetime(self, start: Start, driver: Driver, token: str) -> None:
        job = await start(lifetime=1)
        await job.order(job.write(f"sleep {token}"))

        async def stopped() -> bool:
            status = await driver.inspect(job.spec.name)
            return status is not None and status.reason == "its lifetime was over"

        async with asyncio.timeout(20):
            while not await stopped():
                await asyncio.sleep(0.05)

    async def test_a_killed_init(self, start: Start, driver: Driver) -> None:
        job = await start()
        await job.order(job.write("kill -9 -1"))

        async def reason() -> str | None:
            status = await driver.inspect(job.spec.name)
            return status.reason if status else "gone"

        async with asyncio.timeout(20):
            while not await reason():
                await asyncio.sleep(0.05)
        assert await reason() == "ended with status 137"
        assert (await driver.start(job.spec)).running is False


class TestStart:
    async def test_two_starts_at_once_are_one(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        first, second = await asyncio.gather(driver.start(job.spec), driver.start(job.spec))
        assert first.id == second.id
        assert (await job.run("echo one")).log == b"one\n"

    async def test_a_start_that_was_cut_short_is_completed(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        starting = asyncio.create_task(driver.start(job.spec))
        async with asyncio.timeout(20):
            while await driver.inspect(job.spec.name) is None:
                await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        assert (await driver.start(job.spec)).running
        assert (await job.run("echo up")).log == b"up\n"

    async def test_a_container_whose_network_was_pruned_gets_another(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        os.mkfifo(job.folder / "control")
        gone = f"buildsys-gone-{uuid4().hex}"
        config = container_config(job.spec, image=docker_image.base_image(), network=gone)
        other = Engine(socket=ENGINE)
        await other.client.containers.create(config, name=job.spec.name)
        await other.close()
        assert (await driver.start(job.spec)).running
        assert (await job.run("echo up")).log == b"up\n"

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
    @pytest.mark.parametrize("depth", [0, 1])
    async def test_an_engine_that_sees_another_file_system(self, start: Start, depth: int, kind: Kind) -> None:
        job = await start(run=False)
        hidden = job.folder if depth == 0 else job.folder.parent
        code = f"""
import asyncio
from buildsys.core.driver import ContainerSpec
from buildsys.errors import DriverError
{kind.source}
folder = pathlib.Path({str(job.folder)!r})
folder.mkdir(exist_ok=True)
spec = ContainerSpec(name={job.spec.name!r}, folder=folder, lifetime=60, image={kind.image!r})
async def main():
    try:
        await driver.start(spec)
    except DriverError as error:
        print(error)
    await driver.remove(spec)
    await driver.close()
asyncio.run(main())
"""
        if depth:
            shutil.rmtree(job.folder)
        command = f'mount -t tmpfs none "{hidden}" && exec "{sys.executable}" -c "$0"'
        other = await asyncio.create_subprocess_exec("unshare", "-m", "sh", "-c", command, code, stdout=subprocess.PIPE)
        said, _ = await other.communicate()
        assert b"the Docker engine does not see the job's folder" in said
        job.folder.mkdir(exist_ok=True)


class TestImages:
    async def test_an_image_without_sh(self, driver: Driver, start: Start) -> None:
        image = docker_image.no_shell_image()
        with pytest.raises(ImageUnusable, match="has no `sh`"):
            await driver.prepare(wanting(image), silent)

    async def test_a_start_of_an_image_without_sh(self, driver: Driver, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        make_folder(folder)
        name = f"buildsys-test-{uuid4().hex}"
        spec = ContainerSpec(name=name, folder=folder, lifetime=60, image=docker_image.no_shell_image())
        with pytest.raises(ImageUnusable, match="has no `sh`"):
            await driver.start(spec)
        await driver.remove(spec)
        assert await driver.inspect(name) is None

    async def test_an_image_without_the_tools(self, driver: Driver) -> None:
        with pytest.raises(ImageUnusable, match="it has no `ls`; a job's image needs sh, cat, dd, ls, mkdir, mkfifo"):
            await driver.prepare(wanting(docker_image.no_tools_image()), silent)

    @pytest.mark.parametrize(
        "name",
        ["", "../../containers/json", "a/../b", "x?all=1", "x#y", "UPPER", "a b", "a//b", "x" * 600, "-x", "a%2f"],
    )
    async def test_what_names_no_image(self, driver: Driver, name: str) -> None:
        with pytest.raises(ImageUnusable, match="not the name of an image"):
            await driver.prepare(wanting(name), silent)

    async def test_no_image_at_all(self, driver: Driver) -> None:
        with pytest.raises(ImageUnusable, match="names no image"):
            await driver.prepare(wanting(None), silent)

    async def test_a_registry_that_is_not_there(self, driver: Driver) -> None:
        lines: list[str] = []
        with pytest.raises(ImageUnusable, match=r"cannot be pulled: .*connection refused"):
            await driver.prepare(wanting("127.0.0.1:1/team/image:1"), lines.append)
        assert lines == ["pulling 127.0.0.1:1/team/image:1"]

    async def test_a_missing_image_is_pulled_once_for_all_who_want_it(self, driver: Driver) -> None:
        lines: list[str] = []
        async with ImageRegistry(docker_image.base_image()) as registry:
            await asyncio.gather(*(driver.prepare(wanting(registry.reference), lines.append) for _ in range(3)))
            assert engine("image", "inspect", registry.reference)
        assert registry.asked["manifest"] == 1
        assert lines.count(f"pulling {registry.reference}") == 1
        assert sum("that another job began" in line for line in lines) == 2
        assert sum(line.endswith(": Pull complete") for line in lines) == 1
        assert len(lines) < 20

    async def test_a_pull_that_breaks_says_why(self, driver: Driver) -> None:
        async with ImageRegistry(docker_image.base_image(), broken=True) as registry:
            with pytest.raises(ImageUnusable, match="cannot be pulled: "):
                await driver.prepare(wanting(registry.reference), silent)

    async def test_an_image_that_is_here_is_not_pulled(self, driver: Driver) -> None:
        lines: list[str] = []
        await driver.prepare(wanting(docker_image.base_image()), lines.append)
        assert lines == []


class TestEngine:
    async def test_no_engine(self, tmp_path: Path) -> None:
        driver = DockerDriver(owner="nobody", socket=tmp_path / "docker.sock")
        with pytest.raises(DockerUnavailable, match="apt-get install"):
            await driver.inspect("any")
        await driver.close()

    async def test_an_engine_that_does_not_listen(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as unheard:
            unheard.bind(str(tmp_path / "docker.sock"))
            driver = DockerDriver(owner="nobody", socket=tmp_path / "docker.sock")
            with pytest.raises(DockerUnavailable, match="start the engine"):
                await driver.list({})
            await driver.close()

    async def test_an_engine_that_hangs_up(self, tmp_path: Path) -> None:
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "docker.sock")
        driver = DockerDriver(owner="nobody", socket=tmp_path / "docker.sock")
        with pytest.raises(DockerUnavailable):
            await driver.list({})
        await driver.close()
        server.close()
        await server.wait_closed()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
    async def test_a_user_who_may_not(self, unprivileged: Callable[[int], None], tmp_path: Path) -> None:
        driver = DockerDriver(owner="nobody")
        unprivileged(NOBODY)
        with pytest.raises(DockerUnavailable, match="group `docker`"):
            await driver.inspect("any")
        await driver.close()

    def test_the_socket_is_found_as_docker_finds_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        assert engine_socket() == ENGINE
        assert engine_socket("unix:///run/user/1000/docker.sock") == Path("/run/user/1000/docker.sock")
        with pytest.raises(SetupError, match="on this host"):
            engine_socket("tcp://10.0.0.1:2376")
        monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
        assert engine_socket() == Path("/run/user/1000/docker.sock")
        assert engine_socket("unix:///run/other.sock") == Path("/run/other.sock")

    async def test_a_container_of_someone_else_is_not_ours(self, driver: Driver) -> None:
        name = f"buildsys-test-{uuid4().hex}"
        subprocess.run(
            ["docker", "create", "--name", name, docker_image.base_image(), "sh"], check=True, stdout=subprocess.DEVNULL
        )
        try:
            assert await driver.inspect(name) is None
            folder = Path(tempfile.mkdtemp())
            await driver.remove(ContainerSpec(name=name, folder=folder, lifetime=1, image=docker_image.base_image()))
            folder.rmdir()
            assert engine("container", "inspect", name)
        finally:
            subprocess.run(["docker", "rm", "--force", name], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def unprivileged() -> Iterator[Callable[[int], None]]:
    """Take another user's identity, as far as files and sockets go, until the test ends."""
    group = os.getegid()

    def become(gid: int) -> None:
        os.setegid(gid)
        os.seteuid(NOBODY)

    groups = os.getgroups()
    os.setgroups([])
    yield become
    os.seteuid(0)
    os.setegid(group)
    os.setgroups(groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
async def test_a_runner_who_is_not_root_can_delete_what_root_left(
    kind: Kind, unprivileged: Callable[[int], None]
) -> None:
    jobs = Path(tempfile.mkdtemp())
    os.chown(jobs, NOBODY, NOBODY)
    unprivileged(ENGINE.stat().st_gid)
    driver = DockerDriver(owner=uuid4().hex)
    folder = jobs / "folder"
    for each in (folder, *(folder / name for name in ("workspace", "home", "tmp", "steps"))):
        make_folder(each)
    job = Job(driver, ContainerSpec(name=f"buildsys-test-{uuid4().hex}", folder=folder, lifetime=60, image=kind.image))
    await driver.start(job.spec)
    await job.run("mkdir -m 0 a; mkdir a/b; echo x >a/b/c; mkdir -m 1777 t; echo x >t/f; ln -s / up; chmod 0 a/b/c a/b")
    with pytest.raises(PermissionError):
        shutil.rmtree(job.folder)
    await driver.remove(job.spec)
    shutil.rmtree(jobs)
    await driver.close()
