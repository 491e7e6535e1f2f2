"""Every command of the README, run as it stands there: where it shows an address, ours stands in its place."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from git_server import GitServer, Repository, git, git_server
from readme import ROOT, TEXT, block, blocks
from system import free_port

from buildsys.adapters.process_users import jobs_folder
from buildsys.cli.session import TOKEN_FILE

SETUP = "python3 -m venv"
PASSWORD = "correct horse battery staple"
NO_ENGINE = "unix:///nonexistent/docker.sock"
LIMIT = 100.0

FRESH = {key: value for key, value in os.environ.items() if not key.startswith(("BUILDSYS_", "PYTEST_", "PYTHON"))}
PYTHON = Path(sys.base_prefix, "bin")
"""Where a fresh machine's `python3` is: not in this virtual environment."""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A clone of this repository in a folder whose name is not of the easy kind. It grows large, and goes."""
    folder = tmp_path / "a fresh machine" / "buildsys"
    folder.parent.mkdir()
    git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))
    yield folder
    shutil.rmtree(folder.parent)


@pytest.mark.timeout(600)
def test_one_line_leads_from_nothing_to_a_build(checkout: Path) -> None:
    printed = on_a_fresh_machine(block("sh", containing="pip install . &&"), checkout)
    for shown in block("text", containing="The demo held.").splitlines():
        varying = re.sub(r"[0-9a-f]{10}|\d+", "@", shown)
        assert re.search("^" + re.escape(varying).replace("@", "[0-9a-f]+") + "$", printed, re.MULTILINE), shown


@pytest.mark.timeout(600)
def test_one_line_leads_from_nothing_to_tests_that_pass(checkout: Path) -> None:
    """Some of them only: all would come here again."""
    some = "tests/buildsys/test_config.py tests/actors/test_database.py"
    printed = on_a_fresh_machine(block("sh", containing="pip install -e '.[dev]' &&"), checkout, PYTEST_ADDOPTS=some)
    assert " passed in " in printed


def on_a_fresh_machine(line: str, folder: Path, **environ: str) -> str:
    """What the line prints, run to its good end where there is Python and git, and no Docker engine."""
    environ = {**FRESH, "PATH": f"{PYTHON}:{FRESH['PATH']}", "BUILDSYS_DOCKER_HOST": NO_ENGINE, **environ}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=environ, stdout=PIPE, stderr=STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


class Machine:
    """A machine of the reader's: a home folder, and a terminal in which a long-running command may run."""

    def __init__(self, home: Path, **environ: str) -> None:
        home.mkdir()
        kept = {key: value for key, value in FRESH.items() if not key.startswith("XDG_")}
        self.data = home / ".local/share/buildsys"
        self._environ = {**kept, "PATH": f"{sys.prefix}/bin:{kept['PATH']}", "HOME": str(home), **environ}
        self._place = home.parent
        self._running: Process | None = None

    async def run(self, line: str) -> str:
        """Run a line to its end, which must be good, and return what it printed."""
        process = await self._start(line)
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode == 0, f"{line}\n{output.decode()}"
        return output.decode()

    async def keep(self, line: str, *, until: str) -> None:
        """Start a line that goes on until `stop`, and wait until it says that it is ready."""
        await self.stop()
        self._running = await self._start(f"exec {line}")
        assert self._running.stdout is not None
        said = b""
        async with asyncio.timeout(LIMIT):
            while until.encode() not in said:
                more = await self._running.stdout.readline()
                assert more, said.decode()
                said += more

    async def stop(self) -> None:
        """Ctrl-C, after which what ran must end well."""
        if self._running is None:
            return
        self._running.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(self._running.communicate(), LIMIT)
        assert self._running.returncode == 0, output.decode()
        self._running = None

    async def _start(self, line: str) -> Process:
        return await asyncio.create_subprocess_exec(
            "sh", "-c", line, cwd=self._place, env=self._environ, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )


@asynccontextmanager
async def machine(home: Path, **environ: str) -> AsyncIterator[Machine]:
    made = Machine(home, **environ)
    try:
        yield made
    finally:
        await made.stop()
        installation = made.data / "installation"
        if installation.exists():
            shutil.rmtree(jobs_folder(made.data / "jobs", installation=installation.read_text().strip()))


def commands() -> Iterator[tuple[str, str]]:
    """Each command that is not the set-up's or a part of `.ci/run`, and in which state it is run."""
    for state, text in blocks("sh"):
        if not text.startswith(SETUP) and state != "check":
            yield from ((state, line) for line in text.splitlines())


def repository(path: Path) -> None:
    """A repository with the README's own workflow, and the test that this one runs."""
    (workflow,) = (text for _, text in blocks("yaml"))
    Repository(path).commit({".buildsys.yml": workflow, "test.sh": "echo all is well\n"})


def ours(line: str, *, url: str, public: GitServer, private: GitServer) -> str:
    """The command with the addresses of the servers that are here."""

    def place(found: re.Match[str]) -> str:
        return f"{(private if found['name'] == 'private' else public).url}/{found['name']}/.git"

    return re.sub(r"https://github\.com/you/(?P<name>\w+)\.git", place, line).replace("https://ci.example.org", url)


@pytest.mark.timeout(400)
async def test_every_command_does_what_it_is_there_for(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    repository(tmp_path / "repositories" / "hello")
    repository(tmp_path / "repositories" / "private")
    Repository(tmp_path / "repositories" / "plain").commit({"test.sh": "echo no workflow needed\n"})
    (tmp_path / "access-token.txt").write_text(f"{PASSWORD}\n")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    settings: Mapping[str, str] = {"BUILDSYS_DRIVER": "process", "PYTHONPATH": str(ROOT)}
    async with AsyncExitStack() as stack:
        public = await stack.enter_async_context(git_server(tmp_path / "repositories"))
        private = await stack.enter_async_context(git_server(tmp_path / "repositories", password=PASSWORD))
        here = await stack.enter_async_context(
            machine(tmp_path / "home", BUILDSYS_LISTEN=f"127.0.0.1:{port}", **settings)
        )
        there = await stack.enter_async_context(machine(tmp_path / "elsewhere", **settings))
        for state, shown in commands():
            line = ours(shown, url=url, public=public, private=private)
            command = shlex.split(line)[:2]
            if state == "stopped":
                await here.stop()
            if command == ["buildsys", "up"]:
                await here.keep(line, until=f"buildsys runs at {url}")
            elif command == ["buildsys", "runner"]:
                await there.keep(line, until=f"works for {url}")
                await _built_there(here)
            else:
                await here.run(line)
    backup = await _listed(tmp_path / "buildsys-backup.tar.gz")
    assert {f"buildsys/{name}" for name in (TOKEN_FILE, "secret.key", "postgres/data/PG_VERSION")} <= backup


async def _built_there(here: Machine) -> None:
    """What was built so far is well; and where the server builds nothing, the other machine does."""
    built = await here.run("buildsys build list")
    assert len(re.findall(r"^(?:hello#1|hello#1 attempt 2|private#1|plain#1) +success ", built, re.MULTILINE)) == 4
    assert "no workflow needed" in await here.run("buildsys logs plain#1")
    alone = "--roles api,orchestrator"
    assert f"`{alone}`" in TEXT
    await here.keep(f"buildsys up {alone}", until="buildsys runs at")
    assert "all is well" in await here.run("buildsys build start hello --follow")


async def _listed(archive: Path) -> set[str]:
    process = await asyncio.create_subprocess_exec("tar", "-tzf", str(archive), stdout=PIPE)
    output, _ = await process.communicate()
    return set(output.decode().splitlines())
