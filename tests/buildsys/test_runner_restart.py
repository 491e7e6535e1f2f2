"""A runner that is a process, spoken to over HTTP, and killed at the worst moments: nobody notices."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from runner_orchestrator import MemoryOrchestrator, assignment, until

from buildsys.adapters.process import ProcessDriver, jobs_folder
from buildsys.core.assignment import Poll, Report
from buildsys.core.build import Outcome
from buildsys.core.driver import ContainerSpec
from buildsys.errors import SetupError, Unauthorized, Unavailable
from buildsys.runner import HttpOrchestrator
from buildsys.runner.identity import Identity

TOKEN = "runner-token"


@asynccontextmanager
async def served(orchestrator: MemoryOrchestrator) -> AsyncIterator[str]:
    """The orchestrator over HTTP, as its URL."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        assert request.content_type == "application/msgpack"
        body = await request.read()
        try:
            if request.path.endswith("/poll"):
                reply: object = await orchestrator.poll(msgspec.msgpack.decode(body, type=Poll))
            else:
                reply = await orchestrator.report(msgspec.msgpack.decode(body, type=Report))
        except Unavailable as error:
            return web.Response(status=503, text=str(error))
        return web.Response(body=msgspec.msgpack.encode(reply), content_type="application/msgpack")

    application = web.Application(client_max_size=8 << 20)
    application.router.add_post("/api/v1/runner/poll", answer)
    application.router.add_post("/api/v1/runner/report", answer)
    server = TestServer(application)
    await server.start_server()
    try:
        yield str(server.make_url("/"))
    finally:
        await server.close()


class Child:
    """The runner's process, started anew after each kill."""

    def __init__(self, url: str, folder: Path) -> None:
        self.installation = f"test{uuid4().hex[:12]}"
        self.jobs = jobs_folder(folder / "jobs", installation=self.installation)
        self.driver = ProcessDriver(state=folder / "state")
        self._arguments = (url, TOKEN, self.installation, str(folder), str(self.jobs))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        program = Path(__file__).with_name("runner_process.py")
        self._process = await asyncio.create_subprocess_exec(sys.executable, str(program), *self._arguments)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def sweep(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()
        for container in await self.driver.list({"buildsys.installation": self.installation}):
            folder = self.jobs / container.labels["buildsys.assignment"] / "folder"
            await self.driver.remove(ContainerSpec(name=container.name, folder=folder, lifetime=0))
        await self.driver.close()
        shutil.rmtree(self.jobs, ignore_errors=True)


@pytest.fixture
async def orchestrator() -> MemoryOrchestrator:
    return MemoryOrchestrator()


@pytest.fixture
async def child(orchestrator: MemoryOrchestrator, tmp_path: Path) -> AsyncIterator[Child]:
    async with served(orchestrator) as url:
        child = Child(url, tmp_path)
        yield child
        await child.sweep()


async def test_killed_in_the_middle_of_a_step(child: Child, orchestrator: MemoryOrchestrator, tmp_path: Path) -> None:
    """The log is exact and each step ran once, however often its runner died."""
    await child.start()
    count = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; sleep 0.01; done"
    job = orchestrator.offer(assignment(f"echo once >> ran; {count}", f"echo twice >> ran; {count}", "cat ran"))
    await until(lambda: job.logs.get(1))
    for stored in (50, 500, 1100, 1500):
        await until(lambda stored=stored: sum(len(job.logs.get(step, b"")) for step in (1, 2)) > stored)  # type: ignore[misc]
        await child.kill()
        await child.start()
    await until(lambda: job.stopped, 60)
    exact = b"".join(b"%d\n" % number for number in range(1, 301))
    assert job.logs[1] == exact
    assert job.logs[2] == exact
    assert job.logs[3] == b"once\ntwice\n"
    assert job.outcomes == dict.fromkeys(range(4), Outcome.SUCCESS)
    assert {poll.incarnation for poll in orchestrator.polls} <= {1, 2, 3, 4, 5}
    assert len({poll.runner for poll in orchestrator.polls}) == 1


async def test_what_ended_while_the_runner_was_dead(
    child: Child, orchestrator: MemoryOrchestrator, tmp_path: Path
) -> None:
    await child.start()
    job = orchestrator.offer(assignment("echo begun; sleep 0.7; echo ended; exit 7"))
    await until(lambda: job.logs.get(1))
    await child.kill()
    status = child.jobs / str(job.assignment.id) / "folder" / "steps" / "1" / "status"
    await until(status.exists)
    await child.start()
    await until(lambda: job.stopped)
    assert job.logs[1] == b"begun\nended\n"
    assert job.codes[1] == 7
    assert job.outcomes[1] is Outcome.FAILED


async def test_a_job_that_ended_while_nobody_listened_to_its_runner(
    child: Child, orchestrator: MemoryOrchestrator
) -> None:
    """The orchestrator was away and then the runner died: what the folder says is reported, and nothing runs twice."""
    await child.start()
    job = orchestrator.offer(assignment("echo begun; sleep 0.5; echo ended", "echo again >> ran; cat ran"))
    await until(lambda: job.logs.get(1))
    orchestrator.away = True
    status = child.jobs / str(job.assignment.id) / "folder" / "steps" / "2" / "status"
    await until(status.exists)
    async with asyncio.timeout(20):
        while await child.driver.list({"buildsys.installation": child.installation}):
            await asyncio.sleep(0.01)
    await child.kill()
    orchestrator.away = False
    await child.start()
    await until(lambda: job.stopped)
    assert (job.logs[1], job.logs[2]) == (b"begun\nended\n", b"again\n")
    assert job.outcomes == dict.fromkeys(range(3), Outcome.SUCCESS)


async def test_a_folder_that_is_gone_is_a_lost_container(
    child: Child, orchestrator: MemoryOrchestrator, tmp_path: Path
) -> None:
    await child.start()
    job = orchestrator.offer(assignment("echo begun; sleep 60", "echo no"))
    await until(lambda: job.logs.get(1))
    await child.kill()
    folder = child.jobs / str(job.assignment.id)
    folder.rename(tmp_path / "elsewhere")
    await child.start()
    await until(lambda: job.stopped)
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.ERRORED
    assert "container lost" in (job.stopped.reason or "")
    assert job.outcomes == {0: Outcome.SUCCESS, 1: Outcome.ERRORED, 2: Outcome.SKIPPED}
    assert await child.driver.list({"buildsys.installation": child.installation}) == []


async def test_a_refused_token() -> None:
    async with served(MemoryOrchestrator()) as url, HttpOrchestrator(url=url, token="wrong") as orchestrator:
        with pytest.raises(Unauthorized):
            await orchestrator.poll(poll())


async def test_nobody_there() -> None:
    async with HttpOrchestrator(url="http://127.0.0.1:9", token=TOKEN) as orchestrator:
        with pytest.raises(Unavailable, match="does not answer"):
            await orchestrator.poll(poll())


async def test_away_is_unavailable() -> None:
    memory = MemoryOrchestrator()
    memory.away = True
    async with served(memory) as url, HttpOrchestrator(url=url, token=TOKEN) as orchestrator:
        with pytest.raises(Unavailable, match="503"):
            await orchestrator.poll(poll())


def test_a_life_of_its_own_every_time(tmp_path: Path) -> None:
    lives = []
    for _ in range(3):
        identity = Identity.claim(tmp_path)
        with pytest.raises(SetupError, match="another runner"):
            Identity.claim(tmp_path)
        lives.append((identity.id, identity.incarnation))
        identity.release()
    assert lives == [(lives[0][0], number) for number in (1, 2, 3)]


def poll() -> Poll:
    return Poll(runner="r", name="r", incarnation=1, drivers=(), labels=(), slots=1, holding=(), wait=0.0)
