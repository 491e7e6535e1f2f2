"""A site under test: the web application on a real database behind a real port, and those who write builds and logs."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import zstandard
from aiohttp.test_utils import TestServer

from actors import Database
from buildsys.adapters.github import GitHub
from buildsys.core.assignment import Poll, PollReply, Position, Report, ReportReply
from buildsys.core.logs import END, LINES, LogChange
from buildsys.core.project import Project, ProjectSettings
from buildsys.core.seal import Chain
from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import NoSuchCommit, SourceError
from buildsys.objects.log_verification import LogVerification
from buildsys.store.archives import Archives
from buildsys.store.builds import Builds
from buildsys.store.cipher import Cipher
from buildsys.store.deliveries import Deliveries
from buildsys.store.hints import Hints
from buildsys.store.logs import Logs, log_columns
from buildsys.store.projects import Projects
from buildsys.store.queries import QUERIES
from buildsys.store.secrets import Secrets, Variables
from buildsys.store.tokens import Tokens
from buildsys.testing import queue_build
from buildsys.web.app import Services, create_app
from buildsys.web.log_feed import HEARTBEAT
from buildsys.web.services import Stores, WebSettings

WORKFLOW = decode_workflow("on: push\njobs: {j: {runs-on: linux, steps: [{name: s, run: 'true'}]}}", file="ci.yml")
COMMIT = "c" * 40
SEAL_KEY = b"a seal"


def sign(body: bytes, secret: str) -> str:
    """The signature as GitHub makes it."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Builder:
    """Makes and ends builds in the database at once, as the builds' own actors would in time."""

    def __init__(self, database: Database, builds: Builds) -> None:
        self._database = database
        self._builds = builds
        self.canceled: list[tuple[UUID, str]] = []
        self.inputs: list[dict[str, Any]] = []

    async def start(
        self,
        project: Project,
        *,
        ref: str | None,
        commit: str | None,
        workflow: str = "",
        inputs: dict[str, Any],
        by: str,
    ) -> list[UUID]:
        branch = None if ref is None else ref.removeprefix("refs/heads/")
        if branch == "burst":
            raise RuntimeError("a pipe burst behind the wall")
        if branch == "slow":
            await asyncio.sleep(1.0)  # as a repository may be
        if branch == "nowhere":
            raise NoSuchCommit("there is no branch 'nowhere'")
        if branch == "hostile":
            raise SourceError("fatal: remote says\n\x1b]0;owned\x07hello\x9b2J \x1b[31mand\x7f bye")
        self.inputs.append(inputs)
        made = await queue_build(
            self._builds, project.id, WORKFLOW, commit=commit or COMMIT, title="Change", time_limit=60.0, branch=branch
        )
        await self._database.pool.execute(
            "INSERT INTO steps (build, job, number, name) VALUES ($1, 'j', 0, 'Set up job'), ($1, 'j', 1, 's')", made
        )
        return [made]

    async def cancel(self, build: UUID, *, by: str) -> None:
        self.canceled.append((build, by))
        await self.stop(build, "canceled")

    async def stop(self, build: UUID, outcome: str) -> None:
        await self._database.pool.execute(
            "UPDATE builds SET state = 'stopped', outcome = $2, stopped_at = now() WHERE id = $1", build, outcome
        )

    async def retry(self, build: UUID) -> UUID:
        return await self._builds.retry(build)


class Dispatcher:
    """Has no work, and takes every report."""

    async def poll(self, poll: Poll, *, token: UUID | None = None) -> PollReply:
        return PollReply(revoked=poll.holding)

    async def report(self, report: Report, *, token: UUID | None = None) -> ReportReply:
        return ReportReply(position=Position(step=len(report.items)))


class Log:
    """Writes a build's log as its actor does, and remembers what was printed."""

    def __init__(self, database: Database, hints: Hints, build: UUID) -> None:
        self._database = database
        self._hints = hints
        self.build = build
        self._chain = Chain(key=SEAL_KEY, build=build)
        self._batches: list[bytes] = []

    @property
    def last(self) -> int:
        return self._chain.last

    @property
    def printed(self) -> bytes:
        return b"".join(self._batches)

    @property
    def readable(self) -> str:
        """What was printed as text; batches are decoded one by one."""
        return "".join(batch.decode("utf-8", "replace") for batch in self._batches)

    async def lines(self, text: bytes, *, job: str = "j", step: int = 1) -> None:
        count = text.count(b"\n") + (not text.endswith(b"\n"))
        await self._append(LINES, lines=count, job=job, step=step, frame=zstandard.compress(text), size=len(text))
        self._batches.append(text)

    async def event(self, kind: str, *, job: str | None = None, step: int | None = None, **data: Any) -> None:
        await self._append(kind, job=job, step=step, data=data)

    async def end(self) -> None:
        await self.event(END, outcome="success")

    async def _append(self, kind: str, **rest: Any) -> None:
        record = self._chain.append(LogChange(kind=kind, at=datetime.now(UTC), **rest))
        async with self._database.transaction() as transaction:
            await transaction.connection.execute("SET LOCAL synchronous_commit = off")  # no crash is tested here
            await transaction.execute(QUERIES["log_append"], **log_columns(self.build, record))
        self._hints.send(f"log:{self.build}")


@dataclass
class ServerSentEvent:
    """An event as an EventSource hands it to its page."""

    id: int
    kind: str
    data: dict[str, Any]


class Site:
    """The served application, with sessions of an administrator, a runner and nobody."""

    server: TestServer
    url: str
    admin_id: UUID
    admin_token: str
    admin: aiohttp.ClientSession
    runner: aiohttp.ClientSession
    nobody: aiohttp.ClientSession

    def __init__(self, database: Database, hints: Hints) -> None:
        self.database = database
        self.hints = hints
        builds = Builds(database=database)
        self.stores = Stores(
            projects=Projects(database=database, cipher=Cipher(key=bytes(32))),
            builds=builds,
            deliveries=Deliveries(database=database),
            logs=Logs(database=database),
            tokens=Tokens(database=database),
            secrets=Secrets(database=database, cipher=Cipher(key=bytes(32))),
            variables=Variables(database=database, cipher=Cipher(key=bytes(32))),
        )
        self.builder = Builder(database, builds)
        self.unready: Exception | None = None
        self.learned: list[UUID] = []
        self.services = Services(
            builder=self.builder,
            dispatcher=Dispatcher(),
            hints=hints,
            forge=GitHub(),
            ready=self._ready,
            learn_schedules=self._learn_schedules,
            verification=LogVerification(
                builds=builds,
                logs=self.stores.logs,
                archives=Archives(database=database, key=SEAL_KEY),
                blobs=None,
                key=SEAL_KEY,
            ),
        )
        self.settings = WebSettings(public_url="http://ci.example:8080", session_key=bytes(32))

    async def project(self, name: str = "shop") -> Project:
        return await self.stores.projects.create(name, ProjectSettings(repository="https://git.example/shop.git"))

    async def build(self, project: Project) -> UUID:
        return (await self.builder.start(project, ref=None, commit=None, inputs={}, by=""))[0]

    async def log(self) -> Log:
        """The log of a new build of a new project."""
        return Log(self.database, self.hints, await self.build(await self.project()))

    async def _learn_schedules(self, project: UUID) -> None:
        self.learned.append(project)

    async def _ready(self) -> None:
        if self.unready is not None:
            raise self.unready


@asynccontextmanager
async def serve(database: Database, *, heartbeat: float = HEARTBEAT) -> AsyncIterator[Site]:
    async with Hints(database=database) as hints:
        site = Site(database, hints)
        site.admin_id, site.admin_token = await site.stores.tokens.create("alice", role="admin")
        _, runner_token = await site.stores.tokens.create("runner-1", role="runner")
        app = create_app(stores=site.stores, services=site.services, settings=site.settings, heartbeat=heartbeat)
        async with TestServer(app) as site.server:
            site.url = str(site.server.make_url("/")).rstrip("/")
            async with (
                _session(site.url, site.admin_token) as site.admin,
                _session(site.url, runner_token) as site.runner,
                _session(site.url, None) as site.nobody,
            ):
                yield site


def _session(url: str, token: str | None) -> aiohttp.ClientSession:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return aiohttp.ClientSession(
        url, headers=headers, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    )


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[ServerSentEvent]:
    """The events of a stream, read as the standard says."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield ServerSentEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


def printed(event: ServerSentEvent) -> bytes:
    """The bytes that an event of lines stands for."""
    if event.kind != LINES:
        return b""
    return ("\n".join(event.data["lines"]) + ("" if event.data.get("partial") else "\n")).encode()
