"""Images of the Docker driver that are built of the project's own files, or pulled with a login."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import docker_image
import msgspec
import pytest
from containers import Kind, Start
from image_registry import ImageRegistry
from kinds import docker_kind
from services import Launch, docker

from buildsys.adapters.docker_dockerfile import read_dockerfile
from buildsys.core.driver import ContainerSpec, Driver, ImageBuild, Login, ServiceSpec, unheard
from buildsys.errors import ImageNotBuilt, ImageUnusable

BASE = "buildsys-test-base:1"


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Kind]:
    kind = docker_kind(tmp_path, owner=uuid4().hex)
    yield kind
    await kind.driver.close()
    shutil.rmtree(kind.jobs)


@pytest.fixture(autouse=True)
def no_image_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what a test builds; an image that somebody runs stays."""
    if request.node.get_closest_marker("docker") is None:
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


class TestDockerfile:
    @pytest.mark.parametrize(
        ("text", "images"),
        [
            ("FROM a:1", ["a:1"]),
            ("from --platform=linux/amd64 a AS x\nFROM x\nFROM b as y\nFROM Y\nFROM scratch", ["a", "b"]),
            ("ARG V=3.12\nARG B=python:$V\nFROM ${B}-slim", ["python:3.12-slim"]),
            ("ARG A=1 B=two\nFROM ${B:-one}", ["two"]),
            ("FROM ${NONE:-one}\nARG NONE=two\nFROM ${NONE:+three}one", ["one", "one"]),
            ('# a comment\n\nARG Q="q:1"\nFROM \\\n# within\n\n  $Q', ["q:1"]),
        ],
    )
    def test_the_images_that_it_starts_from(self, text: str, images: list[str]) -> None:
        assert read_dockerfile(text, {}) == images

    def test_an_argument_beats_the_default(self) -> None:
        assert read_dockerfile("ARG V=1\nARG W\nFROM a:$V$W", {"V": "2", "W": "3", "X": "4"}) == ["a:23"]

    @pytest.mark.parametrize("line", ["ADD a /a", 'ADD --chown=1:1 ["a b", "c/", "/d/"]', "ADD *.tar.gz ./x-1_2 /d"])
    def test_files_of_the_context_can_be_added(self, line: str) -> None:
        assert read_dockerfile(f"FROM a\n{line}\n", {}) == ["a"]

    @pytest.mark.parametrize(
        "line",
        [
            "ADD http://169.254.169.254/ /x",
            "add\thttps://h/ /x",
            'ADD ["ht\\u0074p://h/", "/x"]',
            'ADD "http://h/" /x',
            "ADD http:\\//h/ /x",
            "ARG U=http://h/\nADD $U /x",
            "ADD --chown=1 git@h:r.git /x",
            "ADD a \\\n http://h/ /x",
            "ADD a/\\\n# comment\n\n http://h/ /x",
            "AD\\\nD http://h/ /x",
            "ONBUILD ADD http://h/ /x",
            "ONBUILD ONBUILD add http://h/ /x",
            "# escape=`\nADD a `\nhttp://h/ /x",
            "RUN true\x0b\nADD\x0bhttp://h/ /x",
        ],
    )
    def test_nothing_else_can(self, line: str) -> None:
        with pytest.raises(ImageNotBuilt, match=r"only files of the context|escape character"):
            read_dockerfile(f"{line}\n" if line.startswith("#") else f"FROM a\n{line}\n", {})


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
