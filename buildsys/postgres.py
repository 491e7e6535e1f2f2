"""A Postgres of our own: started with us, looked after while we live, waiting for us when we are killed.

    FOLDER/owner.lock        held by the process that uses the server
    FOLDER/supervisor.lock   held by the process that keeps it running (`postgres_supervisor`)
    FOLDER/data/             the cluster
    FOLDER/run/              its unix socket, when the path is short and plain enough
    FOLDER/postgres.log      what server and supervisor print; at 10 MiB it moves to postgres.log.1

The server listens on a unix socket alone and asks for no password. That is safe for one reason: the socket's folder is
open to nobody but its owner (0700, checked), and whoever can enter it could read the data files as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from buildsys.errors import SetupError
from buildsys.postgres_binaries import Postgres, bare_environment, find_postgres, run
from buildsys.private_files import (
    FileLock,
    FolderError,
    FolderFull,
    FolderReadOnly,
    named_errors,
    private_folder,
    sync_folder,
)

PORT = 5432  # the name of the socket only: no TCP port is opened
LONGEST_SOCKET_PATH = 107  # bytes: sockaddr_un holds 108 with the final zero, unix(7)
POLL = 0.01  # seconds
WATCH = 0.5  # seconds between two looks at the supervisor
STOP_LIMIT = 45.0  # seconds; the supervisor needs at most 40

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "jit": "off",  # our queries are short: compiling costs more than it saves
    "max_parallel_workers_per_gather": "0",  # they share memory through /dev/shm, which Docker keeps at 64 MB
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",  # the supervisor keeps the log small
}


class PostgresInUse(SetupError):
    code = "postgres_in_use"

    def __init__(self, folder: Path, pid: int) -> None:
        super().__init__(f"The Postgres in {folder} is in use by process {pid}: stop that, or use another --data-dir.")
        self.pid = pid


class PostgresVersionMismatch(SetupError):
    code = "postgres_version_mismatch"

    def __init__(self, data: Path, found: str, expected: str) -> None:
        super().__init__(
            f"{data} was written by Postgres {found}, which Postgres {expected} cannot read: start the buildsys "
            f"release that wrote it and take a pg_dumpall into a new folder, or serve {data} with a Postgres {found} "
            "of your own and give its --database-url."
        )


class PostgresStartFailed(SetupError):
    """The server did not come up; the message ends with the last lines of its log."""

    code = "postgres_start_failed"


class UserUnknown(SetupError):
    code = "user_unknown"

    def __init__(self, uid: int) -> None:
        super().__init__(
            f"User {uid} has no entry in /etc/passwd, and Postgres does not start without: add one, run as another "
            "user, or give a Postgres of your own by --database-url."
        )
        self.uid = uid


class PostgresStopFailed(SetupError):
    code = "postgres_stop_failed"

    def __init__(self, pid: int) -> None:
        super().__init__(f"The supervisor of the embedded Postgres, process {pid}, did not end in {STOP_LIMIT:g} s.")


class SocketPathTooLong(FolderError):
    code = "socket_path_too_long"

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"The socket path {path} is longer than the {LONGEST_SOCKET_PATH} bytes the kernel allows: set "
            "XDG_RUNTIME_DIR to a short folder of your own, or choose a shorter --data-dir.",
        )


class EmbeddedPostgres:
    """`async with EmbeddedPostgres(folder) as postgres: postgres.dsn`.

    Entering makes the cluster on first use and returns when the server takes connections. A server that dies is
    running again within about a second. Leaving shuts it down. If we are killed instead, server and supervisor go on
    and the next start on the folder adopts them as they are; with no next start within `orphan_limit` seconds they
    shut down cleanly. `start_limit` is in seconds too. `durable=False` is for tests: a crash of the machine may lose
    the data. Raises a SetupError with the way out, PostgresStartFailed with the server's own words.
    """

    dsn: str

    def __init__(
        self,
        folder: Path,
        *,
        runtime_dir: Path | None = None,
        orphan_limit: float = 900.0,
        start_limit: float = 60.0,
        durable: bool = True,
    ) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._log = self._folder / "postgres.log"
        self._runtime_dir = runtime_dir
        self._orphan_limit = orphan_limit
        self._start_limit = start_limit
        self._durable = durable
        self._owner = FileLock(self._folder / "owner.lock")
        self._supervisor = FileLock(self._folder / "supervisor.lock")
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        private_folder(self._folder)
        if not self._owner.acquire():
            raise PostgresInUse(self._folder, self._owner.holder() or 0)
        try:
            self._log_start = self._log.stat().st_size if self._log.exists() else 0
            try:
                async with asyncio.timeout(self._start_limit):
                    await self._start()
            except TimeoutError:
                raise self._start_failed(f"did not take connections within {self._start_limit:g} s") from None
        except BaseException:
            await self._stop()
            raise
        self._watching = asyncio.create_task(self._watch(), name="embedded postgres")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self._stop()
        if self._watching is not None and not self._watching.cancelled():
            self._watching.result()  # what ended it is not lost

    async def _start(self) -> None:
        postgres = await find_postgres()
        await self._make_cluster(postgres)
        self._command = self._server_command(postgres)
        while not await self._connects():
            if not self._is_supervised():
                if self._process is not None:
                    raise self._start_failed("does not start")
                await self._start_supervisor()
            await asyncio.sleep(POLL)

    async def _make_cluster(self, postgres: Postgres) -> None:
        """Make the cluster whole or not at all, or see that the one that is there can be used."""
        with named_errors(self._data):
            if self._data.exists():
                found = self._version_on_disk()
                if found != postgres.major:
                    raise PostgresVersionMismatch(self._data, found, postgres.major)
                if self._supervisor.holder() is None:
                    _give(self._data, postgres.uid)
                return
            unfinished = self._folder / "data.new"
            if unfinished.exists():
                shutil.rmtree(unfinished)
            options = "-A trust -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 --no-instructions"
            syncing = [] if self._durable else ["--no-sync"]
            initdb = postgres.command("initdb", "-D", str(unfinished), "-U", "buildsys", *options.split(), *syncing)
            status, output = await run(initdb)
            if status != 0:
                raise self._named(f"The cluster could not be made (initdb, status {status}):", output)
            unfinished.rename(self._data)
            sync_folder(self._folder)

    def _version_on_disk(self) -> str:
        try:
            return (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise PostgresStartFailed(
                f"{self._data} is no Postgres cluster, it has no PG_VERSION: move it away."
            ) from None

    def _server_command(self, postgres: Postgres) -> list[str]:
        settings = SETTINGS | ({} if self._durable else {"fsync": "off"})
        options = [f"--{name}={value}" for name, value in settings.items()]
        sockets = socket_folder(self._folder, self._runtime_dir)
        if sockets.parent != self._folder:
            private_folder(sockets.parent)
        private_folder(sockets)
        return postgres.command("postgres", "-D", str(self._data), "-k", str(sockets), "-p", str(PORT), *options)

    def _is_supervised(self) -> bool:
        starting = self._process is not None and self._process.returncode is None
        return starting or self._supervisor.holder() is not None

    async def _start_supervisor(self) -> None:
        program = str(Path(__file__).with_name("postgres_supervisor.py"))
        with named_errors(self._log):
            log = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", program, str(self._folder), str(self._orphan_limit), *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=bare_environment(),
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(log)

    async def _watch(self) -> None:
        """Replace a supervisor that was killed; when even that fails, the next look tries again."""
        while True:
            await asyncio.sleep(WATCH)
            if not self._is_supervised():
                with contextlib.suppress(OSError, SetupError):
                    await self._start_supervisor()

    async def _connects(self) -> bool:
        """Whether the server takes connections to our database, which is made on first use; sets `dsn`."""
        server = running_server(self._folder)
        if server is None:
            return False
        try:
            try:
                connection = await asyncpg.connect(server.format("buildsys"))
            except asyncpg.InvalidCatalogNameError:
                connection = await asyncpg.connect(server.format("postgres"))
                await connection.execute("CREATE DATABASE buildsys")
            await connection.close()
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError):
            return False
        self.dsn = server.format("buildsys")
        return True

    async def _stop(self) -> None:
        """Shut down server and supervisor and let go of the folder."""
        try:
            async with asyncio.timeout(STOP_LIMIT):
                while self._is_supervised():
                    if pid := self._supervisor.holder():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGTERM)
                    await asyncio.sleep(POLL)
                if self._process is not None:
                    await self._process.wait()
        except TimeoutError:
            raise PostgresStopFailed(self._supervisor.holder() or 0) from None
        finally:
            self._owner.release()

    def _start_failed(self, what: str) -> SetupError:
        try:
            with self._log.open("rb") as file:
                file.seek(self._log_start)
                printed = file.read(1 << 20).decode(errors="replace")
        except OSError as error:
            printed = str(error)
        return self._named(f"The embedded Postgres in {self._folder} {what}. It says, in {self._log}:", printed)

    def _named(self, message: str, printed: str) -> SetupError:
        """The error for what Postgres printed; it says the operating system's errors in words."""
        if "No space left on device" in printed or "Disk quota exceeded" in printed:
            return FolderFull(self._folder)
        if "Read-only file system" in printed:
            return FolderReadOnly(self._folder)
        if "could not look up effective user ID" in printed:
            return UserUnknown(os.geteuid())
        return PostgresStartFailed("\n    ".join([message, *printed.strip().splitlines()[-10:]]))


def socket_folder(folder: Path, runtime_dir: Path | None = None) -> Path:
    """Where the server of `folder` has its socket: the first place with a path that is short, and plain enough that
    neither a server option nor a URL has to quote it. Raises SocketPathTooLong.
    """
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    bases = _runtime_dirs() if runtime_dir is None else [runtime_dir]
    for candidate in (folder / "run", *(base / name for base in bases)):
        path = candidate / f".s.PGSQL.{PORT}"
        if re.fullmatch(r"[\w./+-]+", str(path), re.ASCII) and len(str(path)) <= LONGEST_SOCKET_PATH:
            return candidate
    raise SocketPathTooLong(path)


def running_server(folder: Path) -> str | None:
    """The URL of the server that says it is ready in `folder`, with `{}` for the database; None where there is none.

    A server that was killed has said so too: only a connection proves it.
    """
    try:
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    return f"postgresql://buildsys@/{{}}?host={quote(lines[4])}&port={lines[3]}"


def _runtime_dirs() -> Iterator[Path]:
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        if given and Path(given).stat().st_uid == os.geteuid():
            yield Path(given) / "buildsys"
    yield Path(f"/tmp/buildsys-{os.geteuid()}")  # noqa: S108 - ours, closed and no link, or refused


def _give(data: Path, uid: int) -> None:
    """Make `uid` the owner of the whole cluster: what `unshare` wrote `setpriv` cannot use, and the other way round."""
    if stat.S_ISDIR(data.lstat().st_mode) and data.lstat().st_uid != uid:
        for folder, _, files in os.walk(data):
            for path in (folder, *(os.path.join(folder, file) for file in files)):  # noqa: PTH118 - thousands of files
                os.chown(path, uid, uid, follow_symlinks=False)
