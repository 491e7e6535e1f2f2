"""Images of the Docker driver that are built of the project's own files, or pulled with a login."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import docker_image
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from containers import Kind, Start
from image_registry import ImageRegistry
from kinds import docker_kind
from services import Launch, docker

from buildsys.core.driver import ContainerSpec, Driver, ImageBuild, Login, ServiceSpec, unheard
from buildsys.errors import ImageNotBuilt, ImageUnusable

BASE = "buildsys-test-base:1"


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Kind]:
    async with docker_kind(tmp_path, owner=uuid4().hex) as kind:
        yield kind


@pytest.fixture(autouse=True)
def no_image_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what a test builds; an image that somebody runs stays."""
    if request.node.get_closest_marker("docker") is None or docker_image.missing_engine():
        yield
        return
    before = built()
    yield
    for name in built() - before:
        subprocess.run(["docker", "image", "rm", name], check=False, capture_output=True)


def built() -> set[str]:
    return set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "buildsys-build").split())


@pytest.fixture
async def spec(start: Start) -> ContainerSpec:
    """A job whose workspace has a Dockerfile, and whose image is to be made of it."""
    job = await start(run=False)
    workspace = job.folder / "workspace"
    (workspace / "Dockerfile").write_text(
        f"ARG BASE={BASE}\nFROM $BASE AS base\nCOPY motd /etc/motd\nARG WHO=nobody\n"
        "RUN echo run-was-here; echo $WHO >/etc/who\nFROM base AS late\nRUN echo late >/etc/stage\n"
    )
    (workspace / "motd").write_text(f"{uuid4().hex}\n")
    return msgspec.structs.replace(job.spec, image=None, build=ImageBuild())


@pytest.mark.docker
class TestBuilds:
    async def test_a_job_runs_in_what_it_built(self, spec: ContainerSpec, start: Start, driver: Driver) -> None:
        said: list[str] = []
        build = ImageBuild(arguments={"WHO": "me"}, target="base")
        ready = await driver.prepare(msgspec.structs.replace(spec, build=build), said.append)
        assert "run-was-here" in said
        assert ready.image is not None
        assert ready.image.startswith("buildsys-build:")
        job = await start(run=False)
        job.spec = msgspec.structs.replace(job.spec, image=ready.image)
        await driver.start(job.spec)
        motd = (spec.folder / "workspace" / "motd").read_bytes()
        assert (await job.run("cat /etc/motd /etc/who; ls /etc/stage 2>/dev/null")).log == motd + b"me\n"

    async def test_what_was_built_is_not_built_again_until_something_changes(
        self, spec: ContainerSpec, driver: Driver
    ) -> None:
        workspace = spec.folder / "workspace"
        first = await driver.prepare(spec, unheard)
        (workspace / ".git").mkdir()
        (workspace / ".git" / "index").write_text("another clone")
        (workspace / "motd").touch()
        said: list[str] = []
        assert await driver.prepare(spec, said.append) == first
        assert said == ["The image of Dockerfile is here already"]
        names = {first.image}
        for change in ("content", "mode", "new", "arguments"):
            if change == "content":
                (workspace / "motd").write_text(f"{uuid4().hex}\n")
            elif change == "mode":
                (workspace / "motd").chmod(0o755)
            elif change == "new":
                (workspace / "other").symlink_to("motd")
            build = ImageBuild(arguments={"WHO": change})
            names.add((await driver.prepare(msgspec.structs.replace(spec, build=build), unheard)).image)
        assert len(names) == 5

    async def test_two_who_want_it_at_once_build_it_once(self, spec: ContainerSpec, driver: Driver) -> None:
        said: list[str] = []
        service = ServiceSpec(name="db", build=ImageBuild())
        both = msgspec.structs.replace(spec, services=(service,))
        first, second = await asyncio.gather(*(driver.prepare(both, said.append) for _ in range(2)))
        assert first == second
        assert first.image == first.services[0].image
        assert said.count("Building the image of Dockerfile") == 1

    async def test_a_build_that_fails_says_so(self, spec: ContainerSpec, driver: Driver) -> None:
        (spec.folder / "workspace" / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo oh no; exit 3\n")
        said: list[str] = []
        with pytest.raises(
            ImageNotBuilt, match=r"the image of Dockerfile cannot be built: .*returned a non-zero code: 3"
        ):
            await driver.prepare(spec, said.append)
        assert "oh no" in said

    async def test_an_image_that_cannot_run_steps(self, spec: ContainerSpec, driver: Driver) -> None:
        (spec.folder / "workspace" / "Dockerfile").write_text("FROM scratch\nCOPY motd /\n")
        with pytest.raises(ImageUnusable, match="has no `sh`"):
            await driver.prepare(spec, unheard)

    async def test_what_runs_in_a_build_has_the_jobs_network_and_limits(
        self, spec: ContainerSpec, driver: Driver
    ) -> None:
        limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
        look = f"echo {uuid4().hex}; ip -4 addr show dev eth0; cat {limit} 2>/dev/null || true"
        (spec.folder / "workspace" / "Dockerfile").write_text(f"FROM {BASE}\nRUN {look}\n")
        said: list[str] = []
        await driver.prepare(spec, said.append)
        assert str(spec.limits.memory) in said
        [network] = json.loads(docker("network", "inspect", await the_network(driver, spec)))
        subnet = ipaddress.ip_network(network["IPAM"]["Config"][0]["Subnet"])
        [address] = [line.split()[1].partition("/")[0] for line in said if "inet " in line]
        assert ipaddress.ip_address(address) in subnet

    @pytest.mark.parametrize(
        ("build", "words"),
        [
            (ImageBuild(context=".."), "leads out of the workspace"),
            (ImageBuild(context="out"), "leads out of the workspace"),
            (ImageBuild(dockerfile="out/passwd"), "leads out of the workspace"),
            (ImageBuild(context="none"), "is none"),
            (ImageBuild(dockerfile="none"), "cannot be read"),
        ],
    )
    async def test_nothing_outside_of_the_workspace_is_read(
        self, spec: ContainerSpec, driver: Driver, build: ImageBuild, words: str
    ) -> None:
        (spec.folder / "workspace" / "out").symlink_to("/etc")
        with pytest.raises(ImageNotBuilt, match=words):
            await driver.prepare(msgspec.structs.replace(spec, build=build), unheard)

    async def test_a_link_out_of_the_context_is_a_link_in_the_image(self, spec: ContainerSpec, driver: Driver) -> None:
        workspace = spec.folder / "workspace"
        (workspace / "out").symlink_to("/etc/hostname")
        (workspace / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /all\nRUN ls -l /all\n")
        said: list[str] = []
        await driver.prepare(spec, said.append)
        assert any(line.endswith("out -> /etc/hostname") for line in said)


async def the_network(driver: Driver, spec: ContainerSpec) -> str:
    """The network that all jobs of the driver are on."""
    ready = await driver.prepare(spec, unheard)
    await driver.start(ready)
    try:
        return docker("container", "inspect", "--format", "{{.HostConfig.NetworkMode}}", spec.name)
    finally:
        await driver.remove(ready)


@pytest.mark.docker
async def test_a_base_image_that_fetches_in_every_build_is_refused(spec: ContainerSpec, driver: Driver) -> None:
    trap = f"buildsys-test-trap-{uuid4().hex}:1"
    dockerfile = f"FROM {docker_image.base_image()}\nONBUILD ADD http://127.0.0.1:1/x /x\n"
    subprocess.run(
        ["docker", "build", "-q", "-t", trap, "-"], input=dockerfile, text=True, check=True, capture_output=True
    )
    try:
        (spec.folder / "workspace" / "Dockerfile").write_text(f"FROM {trap}\n")
        with pytest.raises(ImageNotBuilt, match="wants in every build: ADD http"):
            await driver.prepare(spec, unheard)
    finally:
        docker("image", "rm", trap)


FETCH = "ADD {url} /x\n"


@pytest.mark.docker
class TestFetches:
    """The engine asks nothing of what only it reaches, here a server on this host's loopback."""

    @pytest.fixture
    async def asked(self, spec: ContainerSpec) -> AsyncIterator[list[str]]:
        """What was asked of the server; `self.url` is its address."""
        asked: list[str] = []

        async def answer(request: web.BaseRequest) -> web.Response:
            asked.append(request.path)
            return web.Response(text="fetched")

        async with RawTestServer(answer) as server:
            self.url = str(server.make_url("/x"))
            yield asked

    @pytest.mark.parametrize("ignored", [None, "*\n", ".buildsys.Dockerfile\n", "!.buildsys.Dockerfile\n"])
    async def test_no_file_of_the_project_takes_the_place_of_what_was_checked(
        self, spec: ContainerSpec, driver: Driver, asked: list[str], ignored: str | None
    ) -> None:
        workspace = spec.folder / "workspace"
        (workspace / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo {uuid4().hex} checked\n")
        (workspace / ".buildsys.Dockerfile").write_text(f"FROM {BASE}\n{FETCH.format(url=self.url)}")
        if ignored is not None:
            (workspace / ".dockerignore").write_text(ignored)
        said: list[str] = []
        await driver.prepare(spec, said.append)
        assert asked == []
        assert any(line.endswith(" checked") for line in said)

    @pytest.mark.parametrize("kind_of_file", ["folder", "link"])
    async def test_nor_does_anything_else_of_its_name(
        self, spec: ContainerSpec, driver: Driver, asked: list[str], kind_of_file: str
    ) -> None:
        workspace = spec.folder / "workspace"
        (workspace / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo {uuid4().hex} checked\n")
        (workspace / "trap").write_text(f"FROM {BASE}\n{FETCH.format(url=self.url)}")
        if kind_of_file == "link":
            (workspace / ".buildsys.Dockerfile").symlink_to("trap")
        else:
            (workspace / ".buildsys.Dockerfile").mkdir()
            (workspace / ".buildsys.Dockerfile" / "within").touch()
        said: list[str] = []
        await driver.prepare(spec, said.append)
        assert asked == []
        assert any(line.endswith(" checked") for line in said)

    @pytest.mark.parametrize(
        "end", ["\\\\", "\\\\ ", "\\\x0c", "\\\x0b", "\\\x1c", "\\\x85", "\\\xa0", "\\\r ", "\\\0"]
    )
    async def test_no_line_is_hidden_in_the_one_before(
        self, spec: ContainerSpec, driver: Driver, asked: list[str], end: str
    ) -> None:
        hidden = f"FROM {BASE}\nRUN true {end}\n{FETCH.format(url=self.url)}"
        (spec.folder / "workspace" / "Dockerfile").write_bytes(hidden.encode())
        with pytest.raises(ImageNotBuilt, match=r"line \d: "):
            await driver.prepare(spec, unheard)
        assert asked == []

    async def test_an_image_for_another_platform(self, spec: ContainerSpec, driver: Driver) -> None:
        (spec.folder / "workspace" / "Dockerfile").write_text(f"FROM --platform=linux/other {BASE}\n")
        with pytest.raises(ImageNotBuilt, match=r"--platform=linux/other .*: it is here for linux/"):
            await driver.prepare(spec, unheard)


@pytest.mark.docker
class TestLogins:
    async def test_what_a_login_opened_is_not_given_to_others(self, driver: Driver, launch: Launch) -> None:
        login = Login(username="user", password='pa:ss"word')
        async with ImageRegistry(docker_image.base_image(), login=login) as registry:
            spec = ContainerSpec(name="n", folder=Path("/none"), lifetime=1, image=registry.reference, login=login)
            for wrong in (None, Login(username="user", password="other")):
                with pytest.raises(ImageUnusable, match="cannot be pulled"):
                    await driver.prepare(msgspec.structs.replace(spec, login=wrong), unheard)
            said: list[str] = []
            ready = await driver.prepare(spec, said.append)
            assert ready.login is None
            assert "pa:ss" not in repr(said) + repr(spec.login)
            for wrong in (None, Login(username="user", password="other")):
                with pytest.raises(ImageUnusable, match="cannot be pulled"):
                    await driver.prepare(msgspec.structs.replace(spec, login=wrong), unheard)
            asked = registry.asked["manifest"]
            assert await driver.prepare(spec, unheard) == ready
            assert registry.asked["manifest"] == asked
        job = await launch(image=ready.image)
        assert (await job.run("echo up")).log == b"up\n"
        await driver.remove(job.spec)
        docker("image", "rm", str(ready.image))
