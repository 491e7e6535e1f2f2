"""What a look at this machine says about running buildsys on it: `buildsys doctor`.

Each check is a function of what it looks at, and tries the real thing: it writes the file, binds the port, asks the
engine. None changes anything that stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec

from actors.database import TROUBLE
from actors.migrations import load_migrations
from buildsys.adapters.docker_engine import Engine, engine_socket
from buildsys.adapters.s3 import Bucket, S3Blobs
from buildsys.config import Config
from buildsys.core.blobs import Blobs, BlobsUnavailable
from buildsys.data_folder import DataFolder, holder_of
from buildsys.errors import BuildsysError, DriverError, SetupError
from buildsys.postgres import PostgresVersionMismatch, running_server, socket_folder
from buildsys.postgres_binaries import find_postgres, run
from buildsys.private_files import named_errors

LIMIT = 10.0  # seconds a check may take
SPACE_NEEDED = 256 << 20  # bytes: a new cluster takes 40 MB and its log of changes more
SPACE_WANTED = 5 << 30
SKEW = 2.0  # seconds
OLDEST_GIT = (2, 25)  # its fetch takes credentials from a helper and filters blobs
OLDEST_POSTGRES = 15
UNREACHED = (*TROUBLE, ValueError)  # what connecting raises; the last one for a URL that is none


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found. `warn`: it runs, but not as well or as safely as it could; `fail`: it does not."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    way_out: str = ""


async def examine(config: Config) -> list[Check]:
    """Every check that concerns these settings, in the order in which a start would need them."""
    in_use = _user_of(config.data_dir)
    checks: list[tuple[str, Callable[[], Awaitable[Check] | Check]]] = [
        ("python", lambda: check_python(sys.version_info[:3])),
        ("platform", lambda: check_platform(platform.system(), platform.machine(), platform.libc_ver()[0])),
        ("data folder", lambda: check_data_folder(config.data_dir, config.secret_key_file)),
        ("disk space", lambda: check_space(config.data_dir)),
    ]
    database = config.database_url
    if config.server_url is not None:
        server = config.server_url
        checks.append(("server", lambda: check_server(server)))
    elif database is None:
        folder = config.data_dir / "postgres"
        checks.append(("postgres", lambda: check_postgres(folder)))
        checks.append(("postgres socket", lambda: check_socket(folder)))
        if in_use and (running := running_server(folder)):
            database = running.format("buildsys")
    if database is not None:
        url = database
        checks.append(("database", lambda: check_database(url)))
        checks.append(("clock", lambda: check_clock(url)))
    if (blobs := config.blobs) is not None and config.roles & {"api", "orchestrator"}:
        checks.append(("blobs", lambda: check_blobs(blobs)))
    if "api" in config.roles:
        checks.append(("port", lambda: check_port(config.host, config.port, in_use)))
    checks.append(("git", check_git))
    if "runner" in config.roles and config.driver != "process":
        checks.append(("docker", lambda: check_docker(config.docker_host, needed=config.driver == "docker")))
    if "runner" in config.roles and config.driver != "docker":
        checks.append(("bubblewrap", check_bubblewrap))
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(_look(name, check)) for name, check in checks]
    return [look.result() for look in looks]


async def _look(name: str, check: Callable[[], Awaitable[Check] | Check]) -> Check:
    """The check's result; an error, which says `what happened: the way out`, and silence are results too."""
    try:
        async with asyncio.timeout(LIMIT):
            found = check()
            return found if isinstance(found, Check) else await found
    except SetupError as error:
        what, _, way_out = str(error).partition(": ")
        return Check(name=name, status="fail", detail=what, way_out=way_out)
    except TimeoutError:
        return Check(name=name, status="fail", detail=f"no answer within {LIMIT:g} s")


def check_python(version: tuple[int, ...]) -> Check:
    good = version >= (3, 11)
    return Check(
        name="python",
        status="ok" if good else "fail",
        detail=f"Python {'.'.join(map(str, version))}",
        way_out="" if good else "Install Python 3.11 or newer.",
    )


def check_platform(system: str, machine: str, libc: str) -> Check:
    """`libc` as `platform.libc_ver()` names it: empty for musl."""
    good = system == "Linux" and machine in ("x86_64", "aarch64") and libc == "glibc"
    return Check(
        name="platform",
        status="ok" if good else "fail",
        detail=f"{system} {machine}, {libc or 'no glibc'}",
        way_out="" if good else "Use Linux with glibc on x86-64 or arm64; elsewhere only --database-url may serve.",
    )


def check_data_folder(path: Path, secret_key_file: Path | None) -> Check:
    """Looks at what is in the folder as a start does, and writes a file into it or the nearest; says who uses it."""
    DataFolder(path, secret_key_file=secret_key_file).inspect()
    if pid := holder_of(path):
        return Check(name="data folder", status="ok", detail=f"{path} is in use by process {pid}")
    place = _existing(path)
    with named_errors(path), tempfile.TemporaryFile(dir=place) as file:
        file.write(b"\0" * 4096)
        file.flush()
        os.fsync(file.fileno())
    return Check(name="data folder", status="ok", detail=f"{path} {'is free' if path == place else 'can be made'}")


def check_space(path: Path) -> Check:
    free = shutil.disk_usage(_existing(path)).free
    status: Literal["ok", "warn", "fail"] = "ok" if free >= SPACE_WANTED else "warn" if free >= SPACE_NEEDED else "fail"
    return Check(
        name="disk space",
        status=status,
        detail=f"{free / (1 << 30):.1f} GiB free for {path}",
        way_out="" if status == "ok" else f"Free some: {SPACE_WANTED >> 30} GiB give room for logs and artifacts.",
    )


async def check_server(url: str) -> Check:
    """Asks the API that a runner apart works for; any answer of HTTP will do."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
            return Check(name="server", status="ok", detail=f"{url} answers, status {response.status}")
    except (aiohttp.ClientError, OSError) as error:
        way_out = "See that it runs, that --server-url is right and that no firewall is between."
        return Check(name="server", status="fail", detail=f"{url} does not answer: {error}", way_out=way_out)


async def check_postgres(folder: Path) -> Check:
    postgres = await find_postgres()
    version = folder / "data" / "PG_VERSION"
    if version.exists() and (found := version.read_text().strip()) != postgres.major:
        raise PostgresVersionMismatch(folder / "data", found, postgres.major)
    way = "as this user" if postgres.way == "plain" else f"through {postgres.way}, as nobody"
    return Check(name="postgres", status="ok", detail=f"embedded Postgres {postgres.version}, runs {way}")


def check_socket(folder: Path) -> Check:
    return Check(name="postgres socket", status="ok", detail=f"in {socket_folder(folder)}")


async def check_database(url: str) -> Check:
    """Connects, and looks at the server's version and which migrations it has."""
    name = "database"
    try:
        connection = await asyncpg.connect(url, timeout=LIMIT / 2)
    except UNREACHED as error:
        way_out = "See that the server runs and that host, user and password in --database-url are right."
        return Check(
            name=name, status="fail", detail=f"it cannot be reached: {str(error) or 'no answer'}", way_out=way_out
        )
    try:
        version = connection.get_server_version()
        if version.major < OLDEST_POSTGRES:
            way_out = f"Use Postgres {OLDEST_POSTGRES} or newer."
            return Check(name=name, status="fail", detail=f"Postgres {version.major}.{version.minor}", way_out=way_out)
        applied: dict[str, int] = {}
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is not None:
            applied = dict(
                await connection.fetch("SELECT package, max(number) FROM schema_migrations GROUP BY package")
            )
    finally:
        await connection.close(timeout=LIMIT / 2)
    known = {package: len(load_migrations(package)) for package in ("actors", "buildsys")}
    if any(applied.get(package, 0) > count for package, count in known.items()):
        way_out = "Start the newer release that migrated it, or restore the backup from before the upgrade."
        return Check(name=name, status="fail", detail="its tables are from a newer release", way_out=way_out)
    missing = sum(count - applied.get(package, 0) for package, count in known.items())
    state = f"{missing} migrations to apply at the next start" if missing else "its tables are up to date"
    return Check(name=name, status="ok", detail=f"Postgres {version.major}.{version.minor}, {state}")


async def check_clock(url: str) -> Check:
    """Compares our clock with the database's, which decides who owns what; half the round trip is forgiven."""
    try:
        connection = await asyncpg.connect(url, timeout=LIMIT / 2)
    except UNREACHED:
        return Check(name="clock", status="warn", detail="not compared, the database cannot be reached")
    try:
        before = time.time()
        theirs = (await connection.fetchval("SELECT clock_timestamp()")).timestamp()
        after = time.time()
    finally:
        await connection.close(timeout=LIMIT / 2)
    return judge_clock(skew=(before + after) / 2 - theirs, uncertainty=(after - before) / 2)


def judge_clock(*, skew: float, uncertainty: float) -> Check:
    good = abs(skew) - uncertainty <= SKEW
    return Check(
        name="clock",
        status="ok" if good else "warn",
        detail=f"{abs(skew):.3f} s {'ahead of' if skew > 0 else 'behind'} the database",
        way_out="" if good else "Keep the clocks of all hosts right (NTP): times in logs will not agree.",
    )


async def check_blobs(url: str) -> Check:
    """Writes an object into the bucket, reads it back and deletes it; a folder is looked at as the data folder is."""
    if not url.startswith("s3://"):
        path = Path(url)
        with named_errors(path), tempfile.TemporaryFile(dir=_existing(path)):
            return Check(name="blobs", status="ok", detail=f"{path} takes objects")
    try:
        async with S3Blobs(Bucket.parse(url)) as bucket:
            await _try_blobs(bucket)
    except (BuildsysError, ValueError) as error:
        return Check(
            name="blobs", status="fail", detail=str(error), way_out="Until it is mended logs stay in the database."
        )
    return Check(name="blobs", status="ok", detail=f"{bucket!r} takes and gives objects")


async def _try_blobs(blobs: Blobs) -> None:
    key, content = f"doctor/{uuid4().hex}", b"an object of buildsys doctor"

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    await blobs.put(key, pieces())
    try:
        if await blobs.read(key, 0, len(content)) != content:
            raise BlobsUnavailable(f"{blobs!r} gives back other bytes than it took")
    finally:
        await blobs.delete(key)


def check_port(host: str, port: int, in_use: int | None) -> Check:
    """Binds the port for an instant. `in_use` is the process that runs on the data folder now and may well have it."""
    name, address = "port", f"{host}:{port}"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and in_use:
            return Check(name=name, status="ok", detail=f"{address} is taken, and process {in_use} of ours runs")
        way_out = "Stop what listens there, or choose another with --listen."
        return Check(name=name, status="fail", detail=f"{address}: {error.strerror}", way_out=way_out)
    return Check(name=name, status="ok", detail=f"{address} is free")


async def check_git() -> Check:
    status, output = await run(["git", "--version"])
    found = re.search(r"(\d+)\.(\d+)\S*", output)
    if status != 0 or found is None:
        return Check(name="git", status="fail", detail="git does not run", way_out="Install git.")
    good = (int(found[1]), int(found[2])) >= OLDEST_GIT
    return Check(
        name="git",
        status="ok" if good else "fail",
        detail=f"git {found[0]}",
        way_out="" if good else f"Install git {'.'.join(map(str, OLDEST_GIT))} or newer.",
    )


async def check_docker(host: str | None, *, needed: bool) -> Check:
    """Asks the engine who it is; `needed` says whether builds wait for it or something else may run them."""
    engine = Engine(socket=engine_socket(host))
    try:
        version = await engine.ask(engine.client.version())
        info = await engine.ask(engine.client.system.info())
    except DriverError as error:
        what, _, way_out = str(error).partition(": ")
        return Check(name="docker", status="fail" if needed else "warn", detail=what, way_out=way_out)
    finally:
        await engine.close()
    return Check(
        name="docker",
        status="ok",
        detail=f"engine {version['Version']}, API {version['ApiVersion']}, storage {info['Driver']}, "
        f"cgroup v{info.get('CgroupVersion', '1')}",
    )


async def check_bubblewrap() -> Check:
    """Starts a sandbox: whether bwrap is there says nothing about whether the kernel lets it."""
    status, output = await run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"])
    if status == 0:
        return Check(name="bubblewrap", status="ok", detail="process builds run in a sandbox of their own")
    way_out = (
        "Install bubblewrap and allow user namespaces; without it build only code you trust with --driver process."
    )
    return Check(name="bubblewrap", status="warn", detail=" ".join(output.split()) or f"exit {status}", way_out=way_out)


def _user_of(path: Path) -> int | None:
    """The process that uses the data folder; None also where we may not look, which its own check then says."""
    with contextlib.suppress(SetupError):
        return holder_of(path)
    return None


def _existing(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    with named_errors(path):
        return next(place for place in (path, *path.parents) if place.exists())
