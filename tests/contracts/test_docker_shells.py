"""The Docker driver's init on other shells and tools than busybox, and as a user who is not root."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import docker_image
import pytest
from containers import Kind, Start, processes, until
from kinds import docker_kind

from buildsys.core.driver import Driver

pytestmark = pytest.mark.docker


@pytest.fixture(params=["user", "dash", "bash"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    image = {"user": docker_image.user_image, "dash": docker_image.dash_image, "bash": docker_image.bash_image}
    async with docker_kind(tmp_path, owner=uuid4().hex, image=image[request.param]) as kind:
        yield kind


async def test_output_order_marker_and_status(start: Start) -> None:
    job = await start()
    result = await job.run("echo out; echo err >&2; echo re >/dev/stdout; printf 'a\\000\\377'; exit 9")
    assert (result.log, result.status) == (b"out\nerr\nre\na\x00\xff", 9)
    assert (await job.run("kill -9 $$")).status == 128 + signal.SIGKILL


async def test_the_log_limit(start: Start) -> None:
    job = await start()
    result = await job.run("i=0; while [ $i -lt 300 ]; do printf '%0512d' $i; i=$((i+1)); done", log_limit=65536)
    assert (len(result.log), result.status) == (65536, 0)
    assert (job.step(1) / "truncated").exists()


async def test_children_that_go_on(start: Start, token: str) -> None:
    job = await start()
    first = job.write(f"(until [ -e gate ]; do sleep 0.05; done; echo behind; exec sleep {token}) & echo first")
    await job.order(first)
    assert (await job.result(first)).log == b"first\n"
    (job.folder / "workspace" / "gate").touch()
    await until(lambda: job.behind(first) == b"behind\n")


async def test_terminate(start: Start, driver: Driver, token: str) -> None:
    job = await start()
    step = job.write(f"setsid sh -c 'exec sleep {token}' & sleep {token}")
    await job.order(step)
    await until(lambda: len(processes(token)) >= 2)
    await driver.terminate(job.spec.name)
    assert (await job.result(step)).status == 128 + signal.SIGTERM
    await until(lambda: not processes(token))
    assert (await job.run("echo alive")).log == b"alive\n"


async def test_kill(start: Start, driver: Driver, token: str) -> None:
    job = await start()
    step = job.write(f"echo begun; trap '' TERM; setsid sh -c 'exec sleep {token}' & exec sleep {token}")
    await job.order(step)
    await until(lambda: len(processes(token)) >= 2)
    await driver.kill(job.spec.name)
    assert processes(token) == []
    result = await job.result(step)
    assert (result.log.splitlines()[0], result.status) == (b"begun", 128 + signal.SIGKILL)
    assert (await job.run("echo alive")).log == b"alive\n"


async def test_a_step_may_catch_every_signal(start: Start) -> None:
    job = await start()
    for name in ("HUP", "INT", "TERM", "USR1", "USR2"):
        assert (await job.run(f"trap 'exit 5' {name}; kill -{name} $$; exit 6")).status == 5
