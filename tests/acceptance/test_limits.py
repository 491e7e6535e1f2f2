"""Every limit ends what it is there to end, as the outcome that says whose doing it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import docker_image
import outside
import pytest
from aiohttp import web
from system import Repository, System, until

LIMIT = 6
LATE = 15.0
"""Seconds behind a limit, start and grace included, within which a build must have ended on a busy machine."""


async def started(system: System, repository: Repository, *steps: str, job: str = "") -> str:
    """Push a workflow of one job; the id of its build."""
    lines = "".join(f"      - run: {step}\n" for step in steps)
    commit = repository.workflow(f"on: push\njobs:\n  a:\n    runs-on: linux\n{job}    steps:\n{lines}")
    secret = await system.add_project("demo", str(repository.path))
    assert await system.push("demo", secret, commit=commit) == 202
    return await system.only_build("demo")


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def driver(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "process":
        return {"driver": "process"}
    docker_image.require_engine()
    return {"driver": "docker", "BUILDSYS_DEFAULT_IMAGE": docker_image.base_image()}


class TestTime:
    async def test_a_build_ends_at_the_systems_limit(
        self, driver: dict[str, str], tmp_path: Path, repository: Repository
    ) -> None:
        limits = {"BUILDSYS_TIME_LIMIT": f"{LIMIT}", "BUILDSYS_GRACE": "1"}
        async with System(tmp_path / "data", **driver, **limits) as system:
            build = await started(system, repository, "echo before; sleep 60; echo after", "echo never")
            began = time.monotonic()
            stopped = await system.stopped(build)
            assert time.monotonic() - began < LIMIT + LATE
            assert stopped["outcome"] == "timed_out"
            assert f"time limit of {LIMIT:g} s" in stopped["reason"]
            outcomes = [step["outcome"] for step in stopped["jobs"][0]["steps"]]
            assert outcomes == ["success", "timed_out", "skipped"]
            assert (await system.text(build)).endswith(b"before\n")
            assert outside.marked(build) == []

    async def test_a_job_ends_at_its_own_limit_of_a_part_of_a_minute(
        self, driver: dict[str, str], tmp_path: Path, repository: Repository
    ) -> None:
        async with System(tmp_path / "data", **driver, BUILDSYS_GRACE="1") as system:
            minutes = f"    timeout-minutes: {LIMIT / 60}\n"
            build = await started(system, repository, "echo before; sleep 60; echo after", job=minutes)
            began = time.monotonic()
            stopped = await system.stopped(build)
            assert time.monotonic() - began < LIMIT + LATE
            assert (stopped["outcome"], stopped["jobs"][0]["outcome"]) == ("timed_out", "timed_out")
            assert await system.text(build, step=1) == b"before\n"
            assert outside.marked(build) == []

    async def test_the_limit_counts_on_while_the_system_is_down(
        self, driver: dict[str, str], tmp_path: Path, repository: Repository
    ) -> None:
        limits = {"BUILDSYS_TIME_LIMIT": "9", "BUILDSYS_GRACE": "1"}
        async with System(tmp_path / "data", **driver, **limits) as system:
            build = await started(system, repository, "echo before; sleep 60")
            began = time.monotonic()

            async def printed() -> bool:
                return b"before" in await system.text(build, step=1)

            await until(printed)
            system.kill()
            await system.start()
            assert (await system.stopped(build))["outcome"] == "timed_out"
            assert time.monotonic() - began < 9 + LATE + LATE, "the clock was not started again"


class TestStart:
    async def test_a_container_that_never_starts_is_an_error_of_ours(
        self, tmp_path: Path, repository: Repository
    ) -> None:
        limits = {"BUILDSYS_STARTUP_LIMIT": f"{LIMIT}", "BUILDSYS_DEFAULT_IMAGE": "none:1"}
        async with _stuck_engine(tmp_path / "engine.sock") as engine:
            async with System(tmp_path / "data", driver="docker", BUILDSYS_DOCKER_HOST=engine, **limits) as system:
                build = await started(system, repository, "echo never")
                stopped = await system.stopped(build)
                assert stopped["outcome"] == "errored"
                assert stopped["reason"].startswith("startup_timeout: ")
                history = {past["state"]: past["at"] for past in stopped["history"]}
                assert "running" not in history
                assert await system.text(build, step=1) == b""


class TestSilence:
    @pytest.fixture
    async def system(self, tmp_path: Path) -> AsyncIterator[System]:
        limits = {"BUILDSYS_RUNNER_LOST_AFTER": f"{LIMIT}", "BUILDSYS_ROLES": "api,orchestrator"}
        async with System(tmp_path / "data", **limits) as system:
            yield system

    @pytest.fixture
    async def runner(self, system: System, tmp_path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
        token = (await system.call("POST", "/tokens", {"name": "runner", "role": "runner"}))["token"]
        with _runner(system, token, tmp_path / "runner") as process:
            yield process

    async def test_a_silent_runner_loses_its_job_and_kills_it_when_it_is_back(
        self, system: System, repository: Repository, runner: subprocess.Popen[bytes]
    ) -> None:
        marker = f"silent-{uuid4().hex}"
        build = await started(system, repository, f"echo up; {outside.STUBBORN} {marker}".replace('"', '\\"'))

        async def up() -> bool:
            return b"up\n" in await system.text(build, step=1)

        await until(up)
        runner.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            stopped = await system.stopped(build)
            assert time.monotonic() - began + 1 >= LIMIT
            assert time.monotonic() - began < LIMIT + LATE
            assert stopped["outcome"] == "errored"
            assert stopped["reason"].startswith("runner_lost: ")
            assert outside.marked(marker), "it still runs: this is what the runner must end"
        finally:
            runner.send_signal(signal.SIGCONT)

        async def gone() -> bool:
            return not outside.marked(marker)

        await until(gone, what="the revoked job to be killed")
        assert await system.build(build) == stopped, "what a revoked runner reports changes nothing"

    async def test_a_runner_that_has_nothing_to_say_is_not_lost(
        self, system: System, repository: Repository, runner: subprocess.Popen[bytes]
    ) -> None:
        build = await started(system, repository, f"sleep {3 * LIMIT}; echo done")
        assert (await system.stopped(build))["outcome"] == "success"
        assert await system.text(build, step=1) == b"done\n"


@contextlib.asynccontextmanager
async def _stuck_engine(path: Path) -> AsyncIterator[str]:
    """The DOCKER_HOST of an engine that tells what it has, which is nothing, takes every order, and answers none."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith(("/_ping", "/version", "/info")):
            return web.json_response({"ApiVersion": "1.41", "Version": "20.10.0", "OSType": "linux"})
        if request.method == "GET" and request.path.endswith(("/containers/json", "/networks")):
            return web.json_response([])
        if request.method == "GET" and "/containers/" in request.path:
            return web.json_response({"message": "No such container"}, status=404)
        await asyncio.Event().wait()
        raise AssertionError

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    serving = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await serving.setup()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        await web.SockSite(serving, listener).start()
        try:
            yield f"unix://{path}"
        finally:
            await serving.cleanup()


@contextlib.contextmanager
def _runner(system: System, token: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "BUILDSYS_DATA_DIR": str(folder),
        "BUILDSYS_ROLES": "runner",
        "BUILDSYS_SERVER_URL": system.url,
        "BUILDSYS_TOKEN": token,
        "BUILDSYS_DRIVER": "process",
        "BUILDSYS_ALLOW_LOCAL_REPOSITORIES": "true",
    }
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "buildsys", "up"], env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
