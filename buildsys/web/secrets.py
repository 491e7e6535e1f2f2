"""/secrets and /variables, of the account and of a project. A secret's value comes in, and never goes out."""

from __future__ import annotations

import msgspec
import structlog
from aiohttp import web

from buildsys.core.project import Project
from buildsys.core.secret_names import stored_name
from buildsys.store.projects import Projects
from buildsys.store.secrets import NamedValues
from buildsys.web.auth import IDENTITY
from buildsys.web.codec import decode_body, json_response
from buildsys.web.projects import project_of

logger = structlog.get_logger(__name__)


class NewValue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    value: str

    def __repr__(self) -> str:
        return "NewValue(...)"


class ValueRoutes:
    """The calls for one kind; each is the project's that the path names, or else the account's.

    Who sets or removes what is logged: `secret_set`, `secret_removed`, `variable_set`, `variable_removed`.
    """

    def __init__(self, *, values: NamedValues, projects: Projects) -> None:
        self._values = values
        self._projects = projects

    async def list(self, request: web.Request) -> web.Response:
        """Of a project: all that hold for its builds, the account's among them."""
        project = await self._project(request)
        return json_response({f"{self._values.kind}s": await self._values.list(project)})

    async def put(self, request: web.Request) -> web.Response:
        """Set or replace a value."""
        project, name = await self._project(request), self._name(request)
        value = (await decode_body(request, NewValue)).value
        entry, made = await self._values.set(name, value, project=project, by=request[IDENTITY].name)
        self._log("set", request, name, project)
        return json_response(entry, status=201 if made else 200)

    async def delete(self, request: web.Request) -> web.Response:
        project, name = await self._project(request), self._name(request)
        await self._values.remove(name, project=project)
        self._log("removed", request, name, project)
        return web.Response(status=204)

    async def _project(self, request: web.Request) -> Project | None:
        return await project_of(request, self._projects) if "project" in request.match_info else None

    def _name(self, request: web.Request) -> str:
        return stored_name(request.match_info["name"], self._values.kind)

    def _log(self, done: str, request: web.Request, name: str, project: Project | None) -> None:
        logger.info(
            f"{self._values.kind}_{done}",
            name=name,
            scope="project" if project else "account",
            project=project and project.name,
            by=request[IDENTITY].name,
        )
