"""An installation started, used and stopped from the command line, whole."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest
from cli_command import Command

OPTIONS = ("--listen", "127.0.0.1:0", "--driver", "process", "--allow-local-repositories", "--json")
GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@localhost")


@pytest.fixture
def buildsys(tmp_path: Path) -> Command:
    return Command(BUILDSYS_DATA_DIR=str(tmp_path / "data of ours"))


@asynccontextmanager
async def running(buildsys: Command, *options: str, stderr: IO[bytes] | None = None) -> AsyncIterator[Process]:
    """`buildsys up` from its first line to its clean end."""
    process = await buildsys.start("up", *OPTIONS, *options, stderr=stderr)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert json.loads(line)["pid"] == process.pid
        yield process
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def repository(path: Path, script: str) -> Path:
    """A git repository whose one step runs the script."""
    workflow = path / ".buildsys.yml"
    path.mkdir()
    steps = [{"name": "Run", "run": script}]
    workflow.write_text(json.dumps({"on": "push", "jobs": {"main": {"runs-on": "ubuntu-latest", "steps": steps}}}))
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Add a workflow"]):
        subprocess.run([*GIT, *command], cwd=path, check=True)
    return path


@pytest.mark.parametrize(
    ("script", "code", "output"), [("echo 'it is ü'", 0, "it is ü\n"), ("echo no >&2; exit 7", 1, "no\n")]
)
async def test_a_build_from_start_to_end(
    buildsys: Command, tmp_path: Path, script: str, code: int, output: str
) -> None:
    async with running(buildsys):
        added = await buildsys("project", "add", "one", "--repo", str(repository(tmp_path / "one", script)))
        assert added.code == 0, added.errors
        built = await buildsys("build", "start", "one", "--follow")
        assert built.code == code, built.errors
        assert output in built.text
        assert "main / Run" in built.errors
        assert (await buildsys("logs", "one#1", "--step", "1")).text == output
        shown = (await buildsys("build", "show", "one#1", "--json")).json
        assert [step["exit_code"] or 0 for step in shown["jobs"][0]["steps"]][1] == (7 if code else 0)
    async with running(buildsys):
        assert (await buildsys("logs", "one#1", "--step", "1")).text == output


async def test_the_servers_log_tells_each_builds_life_once(buildsys: Command, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        async with running(buildsys, "--log-format", "json", stderr=log):
            await buildsys("project", "add", "one", "--repo", str(repository(tmp_path / "one", "echo hush; exit 1")))
            assert (await buildsys("build", "start", "one", "--follow")).code == 1
            assert (await buildsys("build", "retry", "one#1", "--follow")).code == 1
            builds = (await buildsys("build", "list", "--json")).json
            async with asyncio.timeout(30):
                while (tmp_path / "log").read_text().count("job_ended") < 2:
                    await asyncio.sleep(0.05)
    written = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    for build in builds:
        (queued, started, taken, *ends) = (line for line in lines if line.get("build") == build["id"])
        stopped, ended = sorted(ends, key=lambda line: str(line["event"]))
        events = [line["event"] for line in (queued, started, taken, stopped, ended)]
        assert events == ["build_queued", "build_started", "job_taken", "build_stopped", "job_ended"]
        assert {line["project"] for line in (queued, started, taken, stopped, ended)} == {"one"}
        assert stopped["outcome"] == "failed"
        assert 0 < stopped["seconds"] < 60
    assert len(builds) == 2
    assert "hush" not in written


async def test_a_running_build_is_canceled_from_beside(buildsys: Command, tmp_path: Path) -> None:
    async with running(buildsys):
        await buildsys("project", "add", "one", "--repo", str(repository(tmp_path / "one", "echo ready; sleep 600")))
        process = await buildsys.start("build", "start", "one", "--follow")
        assert process.stdout is not None
        line = b""
        async with asyncio.timeout(60):
            while line != b"ready\n":
                line = await process.stdout.readline()
                assert line, "it ended before the step was ready"
        assert (await buildsys("build", "cancel", "one#1")).code == 0
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 3, errors.decode()


async def test_a_terminal_is_told_the_new_administrators_token_once_and_a_log_never(
    buildsys: Command, tmp_path: Path
) -> None:
    file = tmp_path / "data of ours" / "admin.token"
    for has_terminal, is_told in ((True, True), (True, False), (False, False)):
        if not has_terminal:
            file.unlink()
        ours, theirs = os.openpty() if has_terminal else os.pipe()
        process = await buildsys.start("up", *(option for option in OPTIONS if option != "--json"), stdout=theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as output:
            said = ""
            async with asyncio.timeout(60):
                while str(file) not in said:
                    line = await asyncio.to_thread(output.readline)
                    assert line, said
                    said += line.decode()
            process.send_signal(signal.SIGTERM)
            _, errors = await asyncio.wait_for(process.communicate(), 30)
        token = file.read_text().strip()
        assert (token in said) == is_told
        assert token not in errors.decode()


async def test_a_second_up_on_the_folder_refuses_and_names_the_first(buildsys: Command) -> None:
    async with running(buildsys) as first:
        second = await buildsys("up", *OPTIONS)
    assert second.code == 5
    assert f"process {first.pid}" in second.errors
    assert "Traceback" not in second.errors


async def test_a_runner_apart_does_the_work(buildsys: Command, tmp_path: Path) -> None:
    async with running(buildsys, "--roles", "api,orchestrator"):
        await buildsys("project", "add", "one", "--repo", str(repository(tmp_path / "one", "echo hello")))
        token = tmp_path / "runner.token"
        token.write_text((await buildsys("token", "create", "apart", "--role", "runner")).text)
        token.chmod(0o600)
        url = (tmp_path / "data of ours" / "server.url").read_text().strip()
        options = ("--driver", "process", "--allow-local-repositories", "--data-dir", str(tmp_path / "runner"))
        runner = await buildsys.start("runner", "--server", url, "--token-file", str(token), *options, stderr=None)
        try:
            built = await buildsys("build", "start", "one", "--follow")
            assert (built.code, "hello\n" in built.text) == (0, True), built.errors
        finally:
            runner.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(runner.wait(), 30) == 0


async def test_migrate_makes_the_database_once(buildsys: Command, tmp_path: Path) -> None:
    first = (await buildsys("migrate", "--json")).json["applied"]
    assert "buildsys/0001_initial" in first
    assert (await buildsys("migrate", "--json")).json["applied"] == []


async def test_migrate_says_what_is_wrong_with_the_database(buildsys: Command, tmp_path: Path) -> None:
    missing = await buildsys("migrate", "--database-url", f"postgresql://x@/x?host={tmp_path}", limit=100)
    assert missing.code == 5
    assert "Traceback" not in missing.errors
    assert "buildsys doctor" in missing.errors
    assert list(tmp_path.iterdir()) == []
