"""What makes builds: a commit and a project's workflow in, queued builds out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from actors import Namespace
from buildsys.core.assignment import Credential
from buildsys.core.forge import Push
from buildsys.core.plan import Plan
from buildsys.core.project import Project
from buildsys.core.trigger import match
from buildsys.core.workflow import WorkflowFiles, decode, freestyle, plan
from buildsys.errors import Invalid
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.store.builds import Builds, NewBuild
from buildsys.store.hints import Hints

SETTINGS = "project settings"
"""Stands for the workflow's path where the project's own settings say how to build."""


log = structlog.get_logger(__name__)


class Repository(Protocol):
    """Reads a repository without a checkout. Raises `SourceError`."""

    async def resolve(self, url: str, *, branch: str | None, credential: Credential | None) -> tuple[str, str]:
        """The commit at a branch's head (None: the default branch) and the branch's name."""

    async def read_workflows(
        self, url: str, *, commit: str, ref: str | None, credential: Credential | None
    ) -> WorkflowFiles:
        """The workflow files at a commit, and its subject line."""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was built, and why."""

    reason: str


class PlanDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the installation says where a workflow does not: images by runner label, and the time limit in seconds."""

    images: Mapping[str, str]
    image: str | None
    time_limit: float


class Builder:
    """Makes queued builds for pushes and for people, and passes on what people want of them."""

    def __init__(
        self,
        *,
        builds: Builds,
        buddies: Namespace[BuildBuddy],
        repository: Repository,
        hints: Hints,
        defaults: PlanDefaults,
    ) -> None:
        self._builds = builds
        self._buddies = buddies
        self._repository = repository
        self._hints = hints
        self._defaults = defaults

    async def start(self, project: Project, *, branch: str | None = None, commit: str | None = None) -> list[UUID]:
        """Queue what a push to the branch (None: the default branch) would queue, of its head or of the given commit.

        Raises `SourceError` where there is no such branch or commit, `Invalid` where no workflow wants it.
        """
        head, branch = await self._repository.resolve(
            project.settings.repository, branch=branch, credential=project.settings.credential
        )
        push = Push(branch=branch, commit=commit or head, title="", repository="")
        made = await self._make(project, push, event="manual", delivery=None)
        if isinstance(made, Skipped):
            raise Invalid(f"nothing to build: {made.reason}")
        return made

    async def push(self, project: Project, push: Push, *, delivery: UUID) -> list[UUID] | Skipped:
        """Queue a build of each workflow that wants the push. Raises `SourceError` and `WorkflowError`."""
        if push.commit is None:
            return Skipped(reason=f"branch {push.branch!r} was deleted")
        return await self._make(project, push, event="push", delivery=delivery)

    async def cancel(self, build: UUID, *, by: str) -> None:
        """Order a build to end; returns once the order is stored. A stopped build stays as it is."""
        await self._buddies.get(str(build)).cancel_build(by)

    async def retry(self, build: UUID) -> UUID:
        """Queue a stopped build's next attempt. Raises `NotFound`, `Conflict`."""
        project = (await self._builds.get(build)).project
        retried = await self._builds.retry(build)
        log.info("build_queued", build=str(retried), project=project, cause="retry", retry_of=str(build))
        self._hints.send("queue")
        return retried

    async def _make(self, project: Project, push: Push, *, event: str, delivery: UUID | None) -> list[UUID] | Skipped:
        assert push.commit is not None
        found = await self._repository.read_workflows(
            project.settings.repository,
            commit=push.commit,
            ref=f"refs/heads/{push.branch}",
            credential=project.settings.credential,
        )
        plans = self._plans(project, push, found)
        if isinstance(plans, Skipped):
            return plans
        made = [
            await self._builds.insert(
                NewBuild(
                    project=project.id,
                    workflow=workflow,
                    event=event,
                    branch=push.branch,
                    commit=push.commit,
                    title=push.title or found.subject,
                    plan=wanted,
                    time_limit=self._defaults.time_limit,
                    delivery=delivery,
                )
            )
            for workflow, wanted in plans.items()
        ]
        queued = [id for id in made if id is not None]
        for id in queued:
            log.info("build_queued", build=str(id), project=project.name, cause=event, commit=push.commit)
        self._hints.send("queue")
        return queued

    def _plans(self, project: Project, push: Push, found: WorkflowFiles) -> dict[str, Plan] | Skipped:
        if not found.files:
            return self._settings_plan(project)
        plans, unwanted = dict[str, Plan](), list[str]()
        for path, text in sorted(found.files.items()):
            workflow = decode(text, file=path)
            reason = match(workflow, push)
            if reason is None:
                plans[path] = plan(workflow, images=self._defaults.images, default_image=self._defaults.image)
            else:
                unwanted.append(f"{path}: {reason}")
        return plans or Skipped(reason="; ".join(unwanted))

    def _settings_plan(self, project: Project) -> dict[str, Plan] | Skipped:
        settings = project.settings
        if settings.build_command is None:
            return Skipped(reason="the commit has no workflow file and the project no build command")
        return {SETTINGS: freestyle(settings, default_image=self._defaults.image)}
