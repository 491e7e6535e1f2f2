"""/projects: what is built, and what its forge has told us."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from buildsys.core.assignment import Credential
from buildsys.core.build import Build
from buildsys.core.git import check_url, credential_lines
from buildsys.core.project import Project, ProjectSettings
from buildsys.errors import Invalid, NotFound, SourceError
from buildsys.store.projects import Projects
from buildsys.web.codec import Limit, Text, decode_body, decode_query, json_response
from buildsys.web.services import LearnSchedules, Stores, WebSettings

NAME = r"\A[a-z0-9][a-z0-9_.-]{0,62}\Z"
Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Running = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class CredentialInput(Credential, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user name and a password or token, as they are sent."""


class NewProject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Text
    repository: Text = ""
    image: Text | None = None
    build_command: Text | None = None
    deploy_command: Text | None = None
    max_running: Running | None = None
    trusted: bool = False
    credential: CredentialInput | None = None


class ProjectChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is absent stays as it is; null clears."""

    repository: Text | UnsetType = UNSET
    image: Text | UnsetType | None = UNSET
    build_command: Text | UnsetType | None = UNSET
    deploy_command: Text | UnsetType | None = UNSET
    max_running: Running | UnsetType | None = UNSET
    trusted: bool | UnsetType = UNSET
    credential: CredentialInput | UnsetType | None = UNSET


class ProjectPage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: Text = ""
    limit: Limit = 100


class Webhook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the forge sends its deliveries, and what signs them where that is asked for."""

    url: str
    secret: str | None = None


class ProjectView(msgspec.Struct, frozen=True, kw_only=True):
    """A project without its secrets."""

    id: UUID
    name: str
    repository: str
    image: str | None
    build_command: str | None
    deploy_command: str | None
    max_running: int | None
    trusted: bool
    has_credential: bool
    webhook: Webhook
    created_at: datetime
    updated_at: datetime
    latest_build: dict[str, Any] | None


class ProjectRoutes:
    def __init__(self, *, stores: Stores, settings: WebSettings, learn_schedules: LearnSchedules) -> None:
        self._projects = stores.projects
        self._builds = stores.builds
        self._deliveries = stores.deliveries
        self._settings = settings
        self._learn_schedules = learn_schedules

    async def create(self, request: web.Request) -> web.Response:
        """Make a project; this answer, and `webhook`, tell the secret."""
        new = await decode_body(request, NewProject)
        if not re.search(NAME, new.name):
            raise Invalid(
                f"{new.name!r} is not a project's name: `$.name` takes 1 to 63 of a-z, 0-9, '-', '_' and '.', "
                "the first of them a letter or a digit"
            )
        settings = self._checked(
            ProjectSettings(
                repository=new.repository,
                image=new.image,
                build_command=new.build_command,
                deploy_command=new.deploy_command,
                max_running=new.max_running,
                trusted=new.trusted,
                credential=new.credential,
            )
        )
        project = await self._projects.create(new.name, settings)
        await self._learn_schedules(project.id)
        view = msgspec.structs.replace(self._view(project, None), webhook=self._webhook(project, secret=True))
        return json_response(view, status=201, headers={"Location": f"/api/v1/projects/{project.name}"})

    async def list(self, request: web.Request) -> web.Response:
        """A page of projects by name."""
        page = decode_query(request, ProjectPage)
        found = await self._projects.list(after=page.after, size=page.limit + 1)
        shown = found[: page.limit]
        following = shown[-1][0].name if len(found) > len(shown) else None
        return json_response({"projects": [self._view(*each) for each in shown], "next": following})

    async def get(self, request: web.Request) -> web.Response:
        return await self._answer(await project_of(request, self._projects))

    async def update(self, request: web.Request) -> web.Response:
        """Change what the body names."""
        project = await project_of(request, self._projects)
        change = await decode_body(request, ProjectChange)
        named = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        settings = self._checked(msgspec.structs.replace(project.settings, **named))
        updated = await self._projects.update(project.name, settings)
        await self._learn_schedules(project.id)
        return await self._answer(updated)

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a project with its history, where none of its builds is on its way."""
        await self._projects.delete(project_name(request))
        return web.Response(status=204)

    async def webhook(self, request: web.Request) -> web.Response:
        """What to enter at the forge."""
        return json_response(self._webhook(await project_of(request, self._projects), secret=True))

    async def deliveries(self, request: web.Request) -> web.Response:
        """The latest deliveries of the project's forge, and what became of each."""
        project = await project_of(request, self._projects)
        return json_response({"deliveries": await self._deliveries.list(project.id)})

    def _checked(self, settings: ProjectSettings) -> ProjectSettings:
        if not settings.repository and (settings.build_command is None or settings.credential is not None):
            raise Invalid("a project has a repository, or else a build command and no credential - at `$.repository`")
        try:
            if settings.repository:
                check_url(settings.repository, allow_local=self._settings.allow_local_repositories)
            if settings.credential is not None:
                credential_lines(settings.credential)
        except SourceError as error:
            raise Invalid(str(error)) from None
        return settings

    async def _answer(self, project: Project) -> web.Response:
        latest = await self._builds.list(project=project.id, size=1)
        return json_response(self._view(project, _in_short(latest[0]) if latest else None))

    def _view(self, project: Project, latest_build: dict[str, Any] | None) -> ProjectView:
        settings = project.settings
        return ProjectView(
            id=project.id,
            name=project.name,
            repository=settings.repository,
            image=settings.image,
            build_command=settings.build_command,
            deploy_command=settings.deploy_command,
            max_running=settings.max_running,
            trusted=settings.trusted,
            has_credential=settings.credential is not None,
            webhook=self._webhook(project, secret=False),
            created_at=project.created_at,
            updated_at=project.updated_at,
            latest_build=latest_build,
        )

    def _webhook(self, project: Project, *, secret: bool) -> Webhook:
        url = f"{self._settings.public_url.rstrip('/')}/hooks/github/{project.name}"
        return Webhook(url=url, secret=project.webhook_secret if secret else None)


def project_name(request: web.Request) -> str:
    """The name in the path. Raises `NotFound` for what cannot be one."""
    try:
        return msgspec.convert(request.match_info["project"], Name)
    except msgspec.ValidationError:
        raise NotFound("there is no project of this name") from None


async def project_of(request: web.Request, projects: Projects) -> Project:
    """The project that the path names. Raises `NotFound`."""
    return await projects.get(project_name(request))


def _in_short(build: Build) -> dict[str, Any]:
    return {
        "id": build.id,
        "number": build.number,
        "state": build.state,
        "outcome": build.outcome,
        "queued_at": build.queued_at,
    }
