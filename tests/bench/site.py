"""The product under measurement: `buildsys up` in a process of its own, on a Postgres that we can look into."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from actors import Database
from buildsys.postgres import EmbeddedPostgres
from tests.acceptance.system import System


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A running system, its database, a folder for whatever else is needed, and the processes.

    `server` and `runner` are one process unless the runner is apart.
    """

    system: System
    database: Database
    folder: Path
    server: int
    runner: int
    postgres: int


@asynccontextmanager
async def site(*, driver: str, sandbox: bool = True, apart: bool = False, **settings: str) -> AsyncIterator[Site]:
    """A fresh installation with a Postgres as durable as any. Without `sandbox`, the bubblewrap on its path fails."""
    async with AsyncExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="buildsys-bench-", ignore_cleanup_errors=True))
        )
        if not sandbox:
            settings["PATH"] = f"{_no_bubblewrap(folder)}:/usr/local/bin:/usr/bin:/bin"
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        server = {"BUILDSYS_DATABASE_URL": postgres.dsn, **({"BUILDSYS_ROLES": "api,orchestrator"} if apart else {})}
        system = await stack.enter_async_context(System(folder / "data", driver=driver, **server, **settings))
        database = await stack.enter_async_context(Database(postgres.dsn, size=4))
        runner = system
        if apart:
            token = (await system.call("POST", "/tokens", {"name": "runner", "role": "runner"}))["token"]
            reached = {"BUILDSYS_SERVER_URL": system.url, "BUILDSYS_TOKEN": token}
            runner = await stack.enter_async_context(_Runner(folder / "runner", driver=driver, **reached, **settings))
        yield Site(
            system=system,
            database=database,
            folder=folder,
            server=_pid(system),
            runner=_pid(runner),
            postgres=postgres_pid(folder / "postgres"),
        )


def postgres_pid(folder: Path) -> int:
    """The first process of the server that runs in the folder of an `EmbeddedPostgres`."""
    (file,) = folder.glob("**/postmaster.pid")
    return int(file.read_text().splitlines()[0])


class _Runner(System):
    """A runner apart, which listens nowhere."""

    def __init__(self, folder: Path, *, driver: str, **environment: str) -> None:
        super().__init__(folder, driver=driver, BUILDSYS_ROLES="runner", **environment)

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the runner ended by itself, see {self.folder}.log"
        return (self.folder / "installation").exists()


def _pid(system: System) -> int:
    assert system.process is not None
    return system.process.pid


def _no_bubblewrap(folder: Path) -> Path:
    programs = folder / "programs"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    return programs
