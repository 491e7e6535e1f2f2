"""What makes builds: an event and a project's workflows in, queued builds out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

import msgspec
import structlog

from actors import Namespace
from buildsys.core.contexts import BuildFacts
from buildsys.core.event_kinds import DISPATCH, PULL_REQUEST
from buildsys.core.event_payloads import repository_payload
from buildsys.core.events import BRANCHES, HEAD, PULLS, TAGS, Event
from buildsys.core.forge import Ignored
from buildsys.core.forge_address import ForgeAddress, address_in, address_of
from buildsys.core.planning import PlanSettings
from buildsys.core.project import Project
from buildsys.core.project_workflow import SETTINGS, project_workflow
from buildsys.core.repository import Repository, WorkflowFiles
from buildsys.core.trigger import Commit, Wanted, branch_of, title_of
from buildsys.errors import Invalid, NoSuchCommit, SourceError
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.store.builds import Builds, NewBuild
from buildsys.store.hints import Hints
from buildsys.store.secrets import Variables

MANUAL = "manual"
"""What a build is said to come from that a person started as a push would have."""

THREADS = 2
"""Commits whose workflows are read at a time, beside the event loop: hostile ones take seconds."""

NO_FILES = WorkflowFiles(files={}, subject="")
"""What there is to read where there is no repository."""

P = ParamSpec("P")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class PlanDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the installation says where a workflow does not: what it runs on, and the time limit in seconds."""

    settings: PlanSettings
    time_limit: float


class Builder:
    """Makes queued builds for events and for people, and passes on what people want of them."""

    def __init__(
        self,
        *,
        builds: Builds,
        variables: Variables,
        buddies: Namespace[BuildBuddy],
        repository: Repository,
        hints: Hints,
        defaults: PlanDefaults,
    ) -> None:
        self._builds = builds
        self._variables = variables
        self._buddies = buddies
        self._repository = repository
        self._hints = hints
        self._defaults = defaults
        self._reading = asyncio.Semaphore(THREADS)

    async def start(
        self,
        project: Project,
        *,
        ref: str | None = None,
        commit: str | None = None,
        workflow: str = "",
        inputs: dict[str, Any] | None = None,
        by: str = "",
    ) -> list[UUID]:
        """Dispatch the workflows that take a dispatch, and queue of the others what a push to the branch would queue.

        It is of what stands at the ref, a complete one or the name of a branch or a tag (None: the default branch), or
        of the given commit; where the project has no repository, of none. With inputs only the first kind is meant;
        `workflow` names the only one that is, by its path, its file or its name. `by` is who asks. Raises `SourceError`
        where there is no such ref or commit, `Invalid` where no workflow wants it, or not with these inputs.
        """
        if not project.settings.repository and (ref or commit):
            raise Invalid(f"project {project.name} has no repository, and so no branch and no commit")
        head, ref, default = await self._find(project, ref)
        given = inputs or {}
        payload = {"inputs": given, "ref": ref, "sender": {"login": by}, "repository": _told(project, default)}
        event = Event(name=DISPATCH, ref=ref, sha=commit or head, inputs=given, payload=payload, workflow=workflow)
        made = await self._make(project, event, delivery=None, actor=by)
        if isinstance(made, Ignored):
            raise Invalid(f"nothing to build: {made.reason}")
        return made

    async def trigger(self, project: Project, event: Event, *, delivery: UUID) -> list[UUID] | Ignored:
        """Queue a build of each workflow that wants the event. Raises `SourceError`."""
        if event.ref == HEAD:
            sha, ref, default = await self._find(project, None)
            payload = {"repository": _told(project, default), **event.payload}
            event = msgspec.structs.replace(event, sha=sha, ref=ref, payload=payload)
        elif event.ref.startswith(PULLS) and project.settings.repository:
            event = await self._merged(project, event)
        return await self._make(project, event, delivery=delivery)

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

    async def _find(self, project: Project, ref: str | None) -> tuple[str | None, str, str]:
        """The commit at a ref, its complete name, and the default branch; a branch goes before a tag of the same name.

        A project without a repository has none of these, and not every repository has a default branch.
        """
        url, credential = project.settings.repository, project.settings.credential
        if not url:
            return None, "", ""
        if ref is None:
            head, branch = await self._repository.resolve(url, branch=None, credential=credential)
            return head, f"{BRANCHES}{branch}", branch
        for complete in (ref,) if ref.startswith((BRANCHES, TAGS)) else (f"{BRANCHES}{ref}", f"{TAGS}{ref}"):
            commit = await self._repository.tip(url, ref=complete, credential=credential)
            if commit is not None:
                return commit, complete, await self._default_branch(project)
        kind = "branch" if ref.startswith(BRANCHES) else "tag" if ref.startswith(TAGS) else "branch or tag"
        raise NoSuchCommit(f"there is no {kind} {ref.removeprefix(BRANCHES).removeprefix(TAGS)!r}")

    async def _default_branch(self, project: Project) -> str:
        settings = project.settings
        try:
            _, branch = await self._repository.resolve(settings.repository, branch=None, credential=settings.credential)
        except NoSuchCommit:
            return ""
        return branch

    async def _merged(self, project: Project, event: Event) -> Event:
        """A pull request's event with the merge of both branches for its commit, where the forge has made one."""
        settings = project.settings
        merge = await self._repository.tip(settings.repository, ref=event.ref, credential=settings.credential)
        if merge is None or merge == event.sha or event.sha is None:
            return event
        found = await self._read(project, merge, event.ref)
        if event.sha not in found.parents:
            raise SourceError(f"{event.ref} is not the merge of {event.sha} yet, or the two cannot be merged")
        return msgspec.structs.replace(event, sha=merge)

    async def _make(
        self, project: Project, event: Event, *, delivery: UUID | None, actor: str = ""
    ) -> list[UUID] | Ignored:
        has_repository = bool(project.settings.repository)
        if event.sha is None and has_repository:
            return Ignored(reason=f"branch {branch_of(event)!r} was deleted")
        found = await self._read(project, event.sha, event.ref) if event.sha and has_repository else NO_FILES
        if event.name == DISPATCH:
            event = msgspec.structs.replace(event, message=found.subject)
        own = None if found.files else project_workflow(project.settings)
        if not found.files and own is None:
            return Ignored(reason="the commit has no workflow file and the project no build command")
        commit = await self._aside(Commit.of_files, found.files) if own is None else Commit(workflows={SETTINGS: own})
        if event.paths is None and commit.looks_at_paths(event):
            event = msgspec.structs.replace(event, paths=await self._changed(project, event, found))
        triggered = await self._aside(commit.triggered, event)
        if not triggered.wanted:
            return Ignored(reason="; ".join(triggered.reasons))
        variables = await self._variables.of_project(project.id)
        planned = [
            await self._planned(project, wanted, variables, delivery=delivery, subject=found.subject, actor=actor)
            for wanted in triggered.wanted
        ]
        made = [await self._builds.insert(new) for new in planned if new is not None]
        queued = [id for id in made if id is not None]
        for id in queued:
            log.info("build_queued", build=str(id), project=project.name, cause=event.name, commit=event.sha)
        self._hints.send("queue")
        return queued

    async def _planned(
        self,
        project: Project,
        wanted: Wanted,
        variables: dict[str, str],
        *,
        delivery: UUID | None,
        subject: str,
        actor: str,
    ) -> NewBuild | None:
        """The build that is to be made; None where this delivery has led to it before."""
        workflow, event = wanted.workflow, wanted.event
        number = await self._builds.next_number(project.id, delivery=delivery, workflow=workflow.path)
        if number is None:
            return None
        id = uuid4()
        address = address_in(event.payload, _address(project))
        facts = BuildFacts(
            build_id=str(id),
            build_number=number,
            project=project.name,
            repository=address.repository,
            server_url=address.server,
            workflow=workflow.name,
            workflow_path=workflow.path,
            actor=actor,
        )
        settings = msgspec.structs.replace(self._defaults.settings, trusted=project.settings.trusted)
        plan = await self._aside(wanted.plan, facts, variables=variables, settings=settings)
        return NewBuild(
            id=id,
            number=number,
            project=project.id,
            workflow=workflow.path,
            event=MANUAL if delivery is None and event.name != DISPATCH else event.name,
            branch=branch_of(event),
            commit=event.sha or "",
            title=plan.run_name or title_of(event) or subject,
            plan=plan,
            time_limit=self._defaults.time_limit,
            delivery=delivery,
        )

    async def _aside(self, work: Callable[P, Result], *given: P.args, **named: P.kwargs) -> Result:
        """Do in a thread what takes as long as the commit's authors like."""
        async with self._reading:
            return await asyncio.to_thread(work, *given, **named)

    async def _read(self, project: Project, commit: str, ref: str) -> WorkflowFiles:
        settings = project.settings
        return await self._repository.read_workflows(
            settings.repository, commit=commit, ref=ref, credential=settings.credential
        )

    async def _changed(self, project: Project, event: Event, found: WorkflowFiles) -> tuple[str, ...] | None:
        """The files that a push changed, or that a pull request would; None where that cannot be told."""
        before = event.payload.get("before")
        if event.name == PULL_REQUEST:
            before = found.parents[0] if len(found.parents) == 2 else None
        if not isinstance(before, str) or not before.strip("0") or event.sha is None:
            return None
        settings = project.settings
        return await self._repository.changed(
            settings.repository, before=before, after=event.sha, ref=event.ref, credential=settings.credential
        )


def _address(project: Project) -> ForgeAddress:
    return address_of(project.settings.repository, name=project.name)


def _told(project: Project, default_branch: str) -> dict[str, Any]:
    """The repository as its forge would tell of it."""
    return repository_payload(_address(project), default_branch=default_branch)
