"""Restarts nobody notices: whatever of ours is killed, the build ends as it would have, and its log is whole."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from drivers import DRIVERS, system_on
from system import Follower, Repository, System, until

LINES = 20000

COUNT = f"""\
on: push
jobs:
  count:
    runs-on: linux
    steps:
      - name: count
        run: |
          echo start >> starts
          i=1
          while [ $i -le {LINES} ]; do
            echo $i
            if [ $((i % 250)) = 0 ]; then sleep 0.1; fi
            i=$((i + 1))
          done
      - name: starts
        run: wc -l < starts
"""
"""Prints 1 to LINES over some eight seconds, and then how often it was started."""


@pytest.fixture(params=DRIVERS)
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with system_on(tmp_path / "data", request.param) as system:
        yield system


async def started(system: System, repository: Repository, workflow: str) -> str:
    """Push the workflow; the id of its build."""
    commit = repository.workflow(workflow)
    secret = await system.add_project("demo", str(repository.path))
    assert await system.push("demo", secret, commit=commit) == 202
    return await system.only_build("demo")


async def printed(system: System, build: str, at_least: int) -> None:
    """Wait until the first step is known to have printed so many lines, and is not over."""

    async def enough() -> bool:
        return (await system.text(build, step=1)).count(b"\n") >= at_least

    await until(enough, what="the step to print")
    assert (await system.build(build))["jobs"][0]["steps"][1]["state"] == "running", (
        "the kill must land inside the step"
    )


def expect_whole(text: bytes) -> None:
    assert text == b"".join(b"%d\n" % number for number in range(1, LINES + 1))


class TestInTheMiddleOfAStep:
    async def test_all_in_one_killed_and_started_again(self, system: System, repository: Repository) -> None:
        build = await started(system, repository, COUNT)
        follower = Follower(system, build)
        following = asyncio.create_task(follower.run())
        await printed(system, build, 2000)
        container = (await system.build(build))["jobs"][0]["container"]

        system.kill()
        await system.start()

        stopped = await system.stopped(build)
        assert (stopped["outcome"], stopped["reason"]) == ("success", None)
        assert stopped["jobs"][0]["container"] == container
        expect_whole(await system.text(build, step=1))
        assert (await system.text(build, step=2)).strip() == b"1", "the step was started once"
        await asyncio.wait_for(following, 30)
        assert follower.connections > 1
        assert follower.printed(1) == [str(number) for number in range(1, LINES + 1)]
        cursors = [cursor for cursor, *_ in follower.lines]
        assert cursors == sorted(set(cursors))

    async def test_killed_again_and_again(self, system: System, repository: Repository) -> None:
        build = await started(system, repository, COUNT)
        for share in (1000, 6000, 11000):
            await printed(system, build, share)
            system.kill()
            await system.start()
        assert (await system.stopped(build))["outcome"] == "success"
        expect_whole(await system.text(build, step=1))

    async def test_postgres_killed(self, system: System, repository: Repository) -> None:
        build = await started(system, repository, COUNT)
        await printed(system, build, 2000)
        pid = int((system.folder / "postgres").glob("**/postmaster.pid").__next__().read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        stopped = await system.stopped(build)
        assert stopped["outcome"] == "success"
        expect_whole(await system.text(build, step=1))


class TestARunnerApart:
    @pytest.fixture
    async def system(self, tmp_path: Path) -> AsyncIterator[System]:
        async with System(tmp_path / "data", BUILDSYS_ROLES="api,orchestrator") as system:
            yield system

    @pytest.fixture
    async def runner(self, system: System, tmp_path: Path) -> AsyncIterator[Callable[[], subprocess.Popen[bytes]]]:
        token = (await system.call("POST", "/tokens", {"name": "runner", "role": "runner"}))["token"]
        running: list[subprocess.Popen[bytes]] = []

        def start() -> subprocess.Popen[bytes]:
            environment = {
                **os.environ,
                "BUILDSYS_DATA_DIR": str(tmp_path / "runner"),
                "BUILDSYS_ROLES": "runner",
                "BUILDSYS_SERVER_URL": system.url,
                "BUILDSYS_TOKEN": token,
                "BUILDSYS_DRIVER": "process",
                "BUILDSYS_ALLOW_LOCAL_REPOSITORIES": "true",
            }
            with (tmp_path / "runner.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "buildsys", "up"], env=environment, stdout=log, stderr=log
                )
            running.append(process)
            return process

        yield start
        for process in running:
            process.terminate()
            process.wait(30)

    async def test_it_listens_nowhere(self, system: System, runner: Callable[[], subprocess.Popen[bytes]]) -> None:
        process = runner()

        async def polled() -> bool:
            sockets = Path(f"/proc/{process.pid}/net/tcp").read_text()
            own = {str(entry.readlink()) for entry in Path(f"/proc/{process.pid}/fd").iterdir() if entry.is_symlink()}
            established = [line.split() for line in sockets.splitlines()[1:] if line.split()[3] == "01"]
            return any(f"socket:[{fields[9]}]" in own for fields in established)

        await until(polled, what="the runner to talk to the server")
        own = {str(entry.readlink()) for entry in Path(f"/proc/{process.pid}/fd").iterdir() if entry.is_symlink()}
        for family in ("tcp", "tcp6"):
            for line in Path(f"/proc/{process.pid}/net/{family}").read_text().splitlines()[1:]:
                fields = line.split()
                assert not (fields[3] == "0A" and f"socket:[{fields[9]}]" in own), "a listening socket"

    async def test_only_the_runner_killed(
        self, system: System, repository: Repository, runner: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        process = runner()
        build = await started(system, repository, COUNT)
        await printed(system, build, 2000)
        process.kill()
        process.wait()
        runner()
        stopped = await system.stopped(build)
        assert stopped["outcome"] == "success"
        expect_whole(await system.text(build, step=1))
        assert (await system.text(build, step=2)).strip() == b"1"

    async def test_only_the_server_killed(
        self, system: System, repository: Repository, runner: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        runner()
        build = await started(system, repository, COUNT)
        await printed(system, build, 2000)
        system.kill()
        await asyncio.sleep(3)  # the step goes on meanwhile, and the runner spools
        await system.start()
        assert (await system.stopped(build))["outcome"] == "success"
        expect_whole(await system.text(build, step=1))

    async def test_a_build_nobody_can_run_says_so(self, system: System, repository: Repository) -> None:
        build = await started(system, repository, COUNT)

        async def told() -> bool:
            return "runner" in ((await system.build(build))["waiting"] or "")

        await until(told, what="the reason for waiting")


class TestAtOtherMoments:
    async def test_killed_while_queued(self, system: System, repository: Repository) -> None:
        await system.call("POST", "/projects", {"name": "held", "repository": str(repository.path), "max_running": 1})
        secret = (await system.call("GET", "/projects/held/webhook"))["secret"]
        commit = repository.workflow("on: push\njobs: {a: {runs-on: linux, steps: [{run: 'sleep 3; echo done'}]}}\n")
        for _ in range(3):
            await system.push("held", secret, commit=commit)

        async def all_there() -> bool:
            return len(await system.builds("held")) == 3

        await until(all_there)
        assert any(build["state"] == "queued" for build in await system.builds("held"))
        system.kill()
        await system.start()
        for build in await system.builds("held"):
            assert (await system.stopped(build["id"]))["outcome"] == "success"
            assert await system.text(build["id"], step=1) == b"done\n"

    async def test_killed_while_starting(self, system: System, repository: Repository) -> None:
        build = await started(system, repository, "on: push\njobs: {a: {runs-on: linux, steps: [{run: echo done}]}}\n")
        system.kill()
        await system.start()
        assert (await system.stopped(build))["outcome"] == "success"
        assert await system.text(build, step=1) == b"done\n"

    async def test_killed_between_steps(self, system: System, repository: Repository) -> None:
        steps = "".join(f"      - run: echo {number} >> order; cat order; sleep 0.3\n" for number in range(1, 9))
        build = await started(system, repository, f"on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n{steps}")
        for step in (2, 4, 6):

            async def reached(step: int = step) -> bool:
                steps = (await system.build(build))["jobs"][0]["steps"]
                return len(steps) > step and bool(steps[step]["state"] == "stopped")

            await until(reached)
            system.kill()
            await system.start()
        assert (await system.stopped(build))["outcome"] == "success"
        assert await system.text(build, step=8) == b"".join(b"%d\n" % n for n in range(1, 9)), "each step ran once"

    async def test_killed_while_canceling(self, system: System, repository: Repository) -> None:
        build = await started(
            system,
            repository,
            "on: push\njobs: {a: {runs-on: linux, steps: [{run: \"trap '' TERM; echo up; sleep 600\"}]}}\n",
        )

        async def up() -> bool:
            return b"up" in await system.text(build, step=1)

        await until(up)
        await system.call("POST", f"/builds/{build}/cancel")
        system.kill()
        await system.start()
        stopped = await system.stopped(build)
        assert stopped["outcome"] == "canceled"
        assert await nothing_runs(build)

    async def test_output_to_the_devices_is_not_lost(self, system: System, repository: Repository) -> None:
        build = await started(
            system,
            repository,
            "on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: |\n"
            "          echo one\n          echo two > /dev/stdout\n          echo three > /dev/stderr\n"
            "          echo four | tee /dev/stderr\n          echo five\n",
        )
        assert (await system.stopped(build))["outcome"] == "success"
        text = await system.text(build, step=1)
        assert re.fullmatch(rb"one\ntwo\nthree\nfour\nfour\nfive\n", text), text


async def nothing_runs(build: str) -> bool:
    """Seen from outside: no process carries the build's id in its environment."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if build.encode() in environ.read_bytes():
                return False
        except OSError:
            continue
    return True
