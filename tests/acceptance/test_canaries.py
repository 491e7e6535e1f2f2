"""Secrets that steps print are nowhere in the system, however they are printed and whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import functools
import json
import shlex
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import canaries
import docker_image
import git_server
import pytest
import zstandard
from ahocorasick_rs import BytesAhoCorasick, MatchKind
from system import System, until

from buildsys.postgres import running_server

FRAME = zstandard.FRAME_HEADER
SETTLED = "4"
"""Seconds that the rows of a log stay, so that they can be looked at."""

MARKS = "\"'<&>%+/\\$`#~ "


def random_secret() -> str:
    return f"{uuid.uuid4().hex[:16]}{MARKS}{uuid.uuid4().hex[:12]}"


CONTROL = random_secret()
"""What nobody says is a secret: it has to be found."""

GIVEN = random_secret()
ADDED = random_secret() + "é\N{SNOWMAN}" + uuid.uuid4().hex[:8]
LINES = (
    f"-----BEGIN {uuid.uuid4().hex}-----\n{random_secret()}\n\n}}\n{uuid.uuid4().hex}\n-----END {uuid.uuid4().hex}-----"
)


class Runner(System):
    """A runner that is nothing else."""

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return True

    @property
    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    @property
    def jobs(self) -> list[Path]:
        installation = self.folder / "installation"
        name = installation.read_text().strip() if installation.exists() else "none"
        return [self.folder / "jobs", *Path("/var/tmp").glob(f"buildsys-*-{name}")]


class Listener:
    """Keeps every byte that a follower of the log is sent."""

    def __init__(self, system: System, build: str) -> None:
        self._system = system
        self._build = build
        self.raw = bytearray()

    async def run(self) -> None:
        headers = {**self._system.headers, "Accept": "text/event-stream"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with aiohttp.ClientSession(self._system.url, headers=headers, timeout=timeout) as session:
            async with session.get(f"/api/v1/builds/{self._build}/logs") as response:
                async for piece in response.content.iter_any():
                    self.raw += piece

    @property
    def text(self) -> bytes:
        """What the events say."""
        said = [json.loads(line[6:]) for line in self.raw.decode().splitlines() if line.startswith("data: ")]
        return "\n".join(_strings(said)).encode()


def found(data: bytes, *secrets: str) -> set[str]:
    """Traces of the secrets, whatever they are mixed with; where several overlap, the first."""
    names, search = _search(secrets)
    texts = (data, data.translate(None, b"\r\n"))
    return {names[index] for text in texts for index, _, _ in search.find_matches_as_indexes(text)}


@functools.cache
def _search(secrets: tuple[str, ...]) -> tuple[list[str], BytesAhoCorasick]:
    traces = {trace: name for secret in secrets for name, trace in canaries.traces(secret).items()}
    return list(traces.values()), BytesAhoCorasick(traces, matchkind=MatchKind.LeftmostFirst)


def clean(places: dict[str, bytes]) -> None:
    """No place has a trace of a secret."""
    assert places
    for place, data in places.items():
        assert found(data, GIVEN, ADDED, LINES) == set(), place


def would_show(data: bytes) -> bool:
    """Whether the place has all of what nobody said is a secret: so it would have the others, too."""
    return all(trace in data for trace in canaries.traces(CONTROL).values())


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def driver(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "docker":
        docker_image.require_engine()
        return {"driver": "docker", "BUILDSYS_DEFAULT_IMAGE": docker_image.python_image()}
    return {"driver": "process"}


@asynccontextmanager
async def system_and_runner(folder: Path, driver: dict[str, str]) -> AsyncIterator[tuple[System, Runner]]:
    common = {"BUILDSYS_LOG_LEVEL": "debug", "BUILDSYS_ARCHIVE_AFTER": SETTLED}
    async with System(folder / "server", **driver, **common, BUILDSYS_ROLES="api,orchestrator") as system:
        token = (await system.call("POST", "/tokens", {"name": "runner", "role": "runner"}))["token"]
        given = {"BUILDSYS_ROLES": "runner", "BUILDSYS_SERVER_URL": system.url, "BUILDSYS_TOKEN": token}
        async with Runner(folder / "runner", **driver, **common, **given) as runner:
            yield system, runner


@pytest.mark.timeout(240)
async def test_a_secret_that_is_printed_is_nowhere(driver: dict[str, str], tmp_path: Path) -> None:
    project = f"control-{uuid.uuid4().hex}"
    source = git_server.Repository(tmp_path / "served" / "demo")
    words = " ".join(shlex.quote(canaries.disguised(secret)) for secret in (CONTROL, GIVEN, ADDED, LINES))
    steps = [{"run": f"python3 print.py {how} {words}"} for how in ("everywhere", "slowly")]
    workflow = json.dumps({"on": "push", "jobs": {"a": {"runs-on": "linux", "steps": steps}}})
    program = Path(canaries.__file__).read_text()
    commit = source.commit({".buildsys.yml": workflow, "print.py": program})
    async with (
        git_server.git_server(tmp_path / "served", password=GIVEN) as server,
        system_and_runner(tmp_path, driver) as (system, runner),
        asyncio.TaskGroup() as group,
    ):
        credential = {"username": "builder", "password": GIVEN}
        webhook = await system.add_project(project, f"{server.url}/demo/.git", credential=credential)
        assert await system.push(project, webhook, commit=commit) == 202
        build = await system.only_build(project)
        listener = Listener(system, build)
        listening = group.create_task(listener.run())
        seen_in_folders = b""
        for printed in (b"given 1\n", b"added 2\n", b"slowly"):
            await until(lambda printed=printed: _holds(listener, printed), what=f"{printed!r} to be shown")
            runner.kill()
            seen_in_folders += b"".join(_files(*runner.jobs).values())
            await runner.start()
        stopped = await system.stopped(build)
        assert (stopped["outcome"], stopped["reason"]) == ("success", None)
        await listening
        assert all(found(seen_in_folders, secret) for secret in (GIVEN, ADDED, LINES)), "the folders had them"

        events, rows, text = listener.raw + listener.text, await _dump(system), await system.text(build)
        clean({"events": events, "text": text, **rows})
        assert would_show(events)
        assert would_show(text)
        assert would_show(rows["log_records"])

        await until(lambda: _archived(system), what="the log to be archived")
        blobs = b"".join(_files(system.folder / "blobs").values())
        clean({"blobs": blobs, **await _dump(system)})
        assert would_show(blobs)
        await until(lambda: _gone(runner), what="the job's folder to be gone")
    logs = {name: (tmp_path / f"{name}.log").read_bytes() for name in ("server", "runner")}
    clean({**logs, **_files(system.folder, runner.folder, *runner.jobs)})
    assert all(project.encode() in log for log in logs.values())


def test_what_is_there_is_found() -> None:
    """In every form that the program prints, compressed or not."""
    for secret in (GIVEN, ADDED, LINES):
        for name, form in canaries.written(secret).items():
            assert found(f"x{form}y".encode(), secret), name
        assert all(found(f"x{form}y".encode(), secret) for form in canaries.wrapped(secret))
        assert found(b"".join(_views(zstandard.compress(secret.encode()))), secret)
        with pytest.raises(AssertionError, match="here"):
            clean({"here": secret.encode()})
    for form in canaries.written(LINES.splitlines()[0]).values():
        assert found(form.encode(), LINES)
    assert not would_show(b"nothing")


async def _holds(listener: Listener, text: bytes) -> bool:
    return text.strip() in listener.raw


async def _gone(runner: Runner) -> bool:
    return not [path for folder in runner.jobs if folder.exists() for path in folder.glob("*/runner")]


async def _dump(system: System) -> dict[str, bytes]:
    """Every table with all that its rows hold, also what is compressed in them."""
    tables = await _fetch(system, "SELECT relid::regclass::text AS name FROM pg_stat_user_tables")
    return {
        table["name"]: b"\n".join(_values(await _fetch(system, f"SELECT * FROM {table['name']}"))) for table in tables
    }


async def _archived(system: System) -> bool:
    return not await _fetch(system, "SELECT FROM log_records")


async def _fetch(system: System, query: str) -> list[asyncpg.Record]:
    server = running_server(system.folder / "postgres")
    assert server is not None
    connection = await asyncpg.connect(server.format("buildsys"))
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


def _values(rows: list[asyncpg.Record]) -> Iterator[bytes]:
    for value in (value for row in rows for value in row.values()):
        if isinstance(value, bytes):
            yield from _views(value)
        else:
            yield str(value).encode()
        if isinstance(value, str) and value.startswith(("{", "[")):  # jsonb
            yield "\n".join(_strings(json.loads(value))).encode()


def _strings(value: object) -> Iterator[str]:
    """The texts in what JSON said, without what it had to escape; neighbours in a list are lines."""
    match value:
        case str():
            yield value
        case list():
            yield "\n".join(each for part in value for each in _strings(part))
        case dict():
            for part in value.values():
                yield from _strings(part)


def _views(data: bytes) -> Iterator[bytes]:
    """The bytes, and what the frames among them unfold to."""
    yield data
    unfolded, rest = b"", data
    while (at := rest.find(FRAME)) >= 0:
        opened = zstandard.ZstdDecompressor().decompressobj()
        try:
            unfolded += opened.decompress(rest[at:])
        except zstandard.ZstdError:
            rest = rest[at + 1 :]
        else:
            rest = opened.unused_data
    yield unfolded


def _files(*folders: Path) -> dict[str, bytes]:
    """All that the files below hold."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): b"".join(_views(path.read_bytes())) for path in paths}
