"""The whole system inside a test: `async with BuildSystem() as system`.

    async with BuildSystem() as system:
        await system.add_project("shop", repository=path)
        delivery = await system.push("shop", branch="main")
        build = await system.wait(delivery.builds[0])
        assert build.outcome == "success"
        assert "12 passed" in await system.log(build.id)

With `actors.testing` one looks into its durable objects: `run_in_actor(system.buddy(id), fn)`, `run_alarm`, `evict`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import aiohttp
import msgspec

from actors.testing import run_alarm, run_in_actor
from buildsys.adapters.git import GitReader
from buildsys.adapters.process_users import jobs_folder
from buildsys.app import App
from buildsys.cli.client import Client
from buildsys.config import Config, DriverName
from buildsys.core.build import Build, State
from buildsys.core.contexts import BuildFacts, build_contexts
from buildsys.core.definition import Workflow
from buildsys.core.events import Event
from buildsys.core.planning import PlanSettings, plan_build
from buildsys.core.project import Delivery, Project
from buildsys.core.trigger import branch_of
from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import NotFound
from buildsys.objects import scheduler
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.objects.scheduler import Scheduler
from buildsys.postgres import EmbeddedPostgres
from buildsys.store.builds import Builds, NewBuild

POLL = 0.02
"""Seconds between two looks at what is waited for."""

ORPHANED = 30.0
"""Seconds after which a Postgres ends whose test was killed."""

ONE_STEP = "on: push\njobs: {only: {runs-on: linux, steps: [{name: say, run: echo hi}]}}"
"""The workflow of builds that come from no repository."""


class BuildSystem:
    """Postgres, API, orchestrator and runner in this process, on a temporary folder; at the end nothing is left.

    `driver` isolates the builds. With `start_scheduler=False` builds stay queued until `start_scheduler` is called.
    `settings` are fields of `Config`: a `database_url` of a database of one's own saves the start of a Postgres.
    Repositories may be paths. What is still on its way at the end is canceled. `folder` is the temporary one, `api` a
    client of the HTTP API with the administrator's token.
    """

    folder: Path
    api: Client

    def __init__(self, *, driver: DriverName = "process", start_scheduler: bool = True, **settings: Any) -> None:
        self._start_scheduler = start_scheduler
        self._settings: dict[str, Any] = {
            "driver": driver,
            "listen": "127.0.0.1:0",
            "allow_local_repositories": True,
            "grace": 1.0,
        } | settings

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="buildsys-test-"))
            stack.callback(_remove, self.folder)
            if "database_url" not in self._settings:
                postgres = EmbeddedPostgres(self.folder / "postgres", orphan_limit=ORPHANED, durable=False)
                self._settings["database_url"] = (await stack.enter_async_context(postgres)).dsn
            afterwards = stack.enter_context(ExitStack())
            config = Config(data_dir=self.folder / "data", **self._settings)
            self._app = await stack.enter_async_context(App(config, start_scheduler=self._start_scheduler))
            data = self._app.folder
            afterwards.callback(_remove, jobs_folder(data.part("jobs"), installation=data.installation))
            self.api = await stack.enter_async_context(Client(self.url, self.token))
            stack.push_async_callback(self._cancel_all)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where the API answers."""
        return self._app.url

    @property
    def token(self) -> str:
        """An administrator's token."""
        return self._app.admin_token

    @property
    def scheduler(self) -> Scheduler:
        """A stub of the Scheduler."""
        return self._app.namespaces.schedulers.get(scheduler.SINGLETON)

    async def start_scheduler(self) -> None:
        """Let the Scheduler take its first look at the queue; returns when it has. From then on it ticks."""
        await run_in_actor(self.scheduler, _set_alarm)
        await run_alarm(self.scheduler)

    def buddy(self, build: UUID) -> BuildBuddy:
        """A stub of the build's BuildBuddy."""
        return self._app.namespaces.builds.get(str(build))

    async def add_project(self, name: str, *, repository: str | Path, **settings: Any) -> Project:
        """Make a project; `settings` are those of `POST /projects`. Raises `Invalid` and `Conflict`."""
        await self.api.post("/projects", {"name": name, "repository": str(repository), **settings})
        return await self._app.stores.projects.get(name)

    async def push(self, name: str, *, branch: str | None = None, id: str | None = None) -> Delivery:
        """Deliver what GitHub would for the head of the project's branch (None: the default one), and what came of it.

        `id` is the delivery's own, a new one unless given. Raises `SourceError` where there is no such branch.
        """
        project = await self._app.stores.projects.get(name)
        reader = GitReader(cache=self.folder / "reader", allow_local=True)
        commit, branch = await reader.resolve(
            project.settings.repository, branch=branch, credential=project.settings.credential
        )
        id = id or str(uuid4())
        body = msgspec.json.encode(
            {"ref": f"refs/heads/{branch}", "after": commit, "repository": {"full_name": f"tests/{name}"}}
        )
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": id,
            "X-Hub-Signature-256": "sha256="
            + hmac.new(project.webhook_secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        async with aiohttp.ClientSession(self.url, raise_for_status=True) as forge:
            await forge.post(f"/hooks/github/{name}", data=body, headers=headers)
        return await self._settled(project, id)

    async def start(
        self, name: str, *, branch: str | None = None, commit: str | None = None, **inputs: str
    ) -> list[UUID]:
        """Start builds of a branch or a commit as a person does, with inputs. Raises `SourceError` and `Invalid`."""
        wanted = {"branch": branch, "commit": commit, "inputs": inputs or None}
        made = await self.api.post(
            f"/projects/{name}/builds", {key: value for key, value in wanted.items() if value is not None}
        )
        return [UUID(build["id"]) for build in made["builds"]]

    async def create_build(self, project: str = "created", *, workflow: str = ONE_STEP, priority: int = 0) -> Build:
        """A queued build of no repository's, made without a hint to anyone. Once it runs, its fetch fails."""
        made = await queue_build(
            self._app.stores.builds,
            (await self._project(project)).id,
            decode_workflow(workflow, file="created.yml"),
            commit=uuid4().hex + "00000000",
            title="Created by a test",
            priority=priority,
        )
        return await self.get(made)

    async def get(self, build: UUID) -> Build:
        """The build as it is now, with its jobs and steps. Raises `NotFound`."""
        return await self._app.stores.builds.get(build)

    async def wait(self, build: UUID, *, seconds: float = 60.0) -> Build:
        """The build once it is stopped. Raises `TimeoutError` that says where it was instead."""
        found = await self.get(build)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if found.state == State.STOPPED:
                        return found
                    await asyncio.sleep(POLL)
                    found = await self.get(build)
        except TimeoutError:
            why = f": it {found.waiting}" if found.waiting else ""
            raise TimeoutError(f"build {build} is still {found.state} after {seconds:g} s{why}") from None

    async def log(self, build: UUID, *, job: str | None = None, step: int | None = None) -> str:
        """All that the build has printed so far, or one of its jobs or steps."""
        parts = [part async for part in self.api.text(f"/builds/{build}/logs", job=job, step=step)]
        return b"".join(parts).decode()

    async def _project(self, name: str) -> Project:
        try:
            return await self._app.stores.projects.get(name)
        except NotFound:
            return await self.add_project(name, repository=self.folder / "no-repository")

    async def _settled(self, project: Project, id: str) -> Delivery:
        async with asyncio.timeout(60):
            while True:
                for delivery in await self._app.stores.deliveries.list(project.id):
                    if delivery.delivery == id and delivery.outcome is not None:
                        return delivery
                await asyncio.sleep(POLL)

    async def _cancel_all(self) -> None:
        """End what is on its way, so that no process of a build outlives the test."""
        while builds := [
            build
            for state in (State.QUEUED, State.STARTING, State.RUNNING)
            for build in await self._app.stores.builds.list(state=state, size=200)
        ]:
            for build in builds:
                await self.api.post(f"/builds/{build.id}/cancel")
            for build in builds:
                await self.wait(build.id)


async def queue_build(
    builds: Builds,
    project: UUID,
    workflow: Workflow,
    *,
    called: Mapping[str, Workflow] | None = None,
    event: Event | None = None,
    branch: str | None = None,
    settings: PlanSettings | None = None,
    commit: str = "",
    title: str = "",
    time_limit: float = 1200.0,
    priority: int = 0,
) -> UUID:
    """Queue a build of a workflow as it is, whatever it is triggered by, without a hint to anyone.

    Without a commit it is run in an empty workspace. `event` is a push to the branch, or to `main`.
    """
    event = event or Event(name="push", ref=f"refs/heads/{branch or 'main'}", sha=commit or None)
    id, number = uuid4(), await builds.next_number(project, delivery=None, workflow=workflow.path)
    assert number is not None
    facts = BuildFacts(
        build_id=str(id),
        build_number=number,
        project="tests",
        repository="tests/tests",
        workflow=workflow.name,
        workflow_path=workflow.path,
    )
    made = await builds.insert(
        NewBuild(
            id=id,
            number=number,
            project=project,
            workflow=workflow.path,
            event=event.name,
            branch=branch_of(event),
            commit=commit,
            title=title,
            plan=plan_build(
                workflow,
                called=called or {},
                contexts=build_contexts(event, facts, inputs={}, variables={}),
                settings=settings or PlanSettings(),
                secretless=event.from_fork,
            ),
            time_limit=time_limit,
            priority=priority,
        )
    )
    assert made is not None
    return made


async def _set_alarm(scheduler: Scheduler) -> None:
    """Set it late enough for `run_alarm` to be the one that rings."""
    scheduler.ctx.set_alarm(scheduler.ctx.clock.now() + timedelta(hours=1))


def _remove(folder: Path) -> None:
    """Remove it all; the runner's last thread may still be about the same."""

    def failed(_function: object, _path: str, error: Any) -> None:
        if not isinstance(error[1], FileNotFoundError):
            raise error[1]

    shutil.rmtree(folder, onerror=failed)
