"""/builds: start, watch, cancel, retry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web

from buildsys.core.build import Build, State
from buildsys.core.events import BRANCHES
from buildsys.core.git import check_commit, check_ref
from buildsys.errors import Invalid, NotFound, SourceError
from buildsys.web.auth import IDENTITY
from buildsys.web.codec import BadRequest, Limit, Text, decode_body, decode_query, json_response
from buildsys.web.projects import Name, project_of
from buildsys.web.services import Builder, Stores

IDS = 100
"""How many builds can be asked for by id at once."""

MAX_INPUTS = 25
"""Of a dispatch; GitHub's limit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build, the head of the default branch where nothing is said, and the inputs of its dispatch.

    `ref` is a branch or a tag, or the complete name of one; `workflow` a file, or its name.
    """

    branch: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    ref: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    workflow: Text = ""
    commit: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    inputs: Annotated[dict[str, str | bool | float], msgspec.Meta(max_length=MAX_INPUTS)] = {}


class BuildPage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ids: Text | None = None
    project: Name | None = None
    state: State | None = None
    limit: Limit = 50
    before: Text | None = None


class SummaryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job: Text
    step: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class BuildRoutes:
    def __init__(self, *, stores: Stores, builder: Builder) -> None:
        self._builds = stores.builds
        self._projects = stores.projects
        self._builder = builder

    async def start(self, request: web.Request) -> web.Response:
        """Queue a project's builds, one for each workflow that matches."""
        project = await project_of(request, self._projects)
        start = _checked(await decode_body(request, Start) if request.body_exists else Start())
        made = await self._builder.start(
            project,
            ref=start.ref if start.branch is None else f"{BRANCHES}{start.branch}",
            commit=start.commit,
            workflow=start.workflow,
            inputs=start.inputs,
            by=request[IDENTITY].name,
        )
        return json_response({"builds": await self._builds.by_ids(made)}, status=201)

    async def list(self, request: web.Request) -> web.Response:
        """A page of builds, newest first, or the builds of the given ids."""
        page = decode_query(request, BuildPage)
        if page.ids is not None:
            ids = [_uuid(id) for id in page.ids.split(",") if id]
            if len(ids) > IDS:
                raise Invalid(f"in the query: at most {IDS} ids - at `$.ids`")
            return _page(await self._builds.by_ids(ids), len(ids))
        found = await self._builds.list(
            project=None if page.project is None else (await self._projects.get(page.project)).id,
            state=page.state,
            before=None if page.before is None else _place(page.before),
            size=page.limit + 1,
        )
        return _page(found, page.limit)

    async def get(self, request: web.Request) -> web.Response:
        """A build with its history, jobs and steps."""
        return json_response(await self._builds.get(build_id(request)))

    async def summary(self, request: web.Request) -> web.Response:
        """What one of its steps wrote for people. It is a stranger's text: nobody is to take it for a page."""
        of = decode_query(request, SummaryQuery)
        text = await self._builds.summary(build_id(request), job=of.job, step=of.step)
        return web.Response(text=text, content_type="text/markdown", charset="utf-8")

    async def cancel(self, request: web.Request) -> web.Response:
        """Order the build to end: 202, or 200 where it had stopped already."""
        build = await self._builds.get(build_id(request))
        if build.state == State.STOPPED:
            return json_response(build)
        await self._builder.cancel(build.id, by=request[IDENTITY].name)
        return json_response(await self._builds.get(build.id), status=202)

    async def retry(self, request: web.Request) -> web.Response:
        """Queue the build's next attempt."""
        build = await self._builds.get(await self._builder.retry(build_id(request)))
        return json_response(build, status=201, headers={"Location": f"/api/v1/builds/{build.id}"})


def build_id(request: web.Request) -> UUID:
    """The id in the path. Raises `NotFound` for what is no id."""
    try:
        return UUID(request.match_info["build"])
    except ValueError:
        raise NotFound("there is no build of this id") from None


def _checked(start: Start) -> Start:
    given = [name for name in ("branch", "ref", "commit") if getattr(start, name) is not None]
    if len(given) > 1:
        raise Invalid(f"give a branch, a ref or a commit, not {len(given)} of them - at `$.{given[-1]}`")
    try:
        for ref in (start.branch, start.ref):
            if ref is not None:
                check_ref(ref)
        if start.commit is not None:
            check_commit(start.commit)
    except SourceError as error:
        raise Invalid(str(error)) from None
    return start


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("in the query: not the id of a build - at `$.ids`") from None


def _page(found: Sequence[Build], limit: int) -> web.Response:
    shown = found[:limit]
    following = _cursor(shown[-1]) if len(found) > len(shown) else None
    return json_response({"builds": shown, "next": following})


def _cursor(build: Build) -> str:
    """The build's place in the list; microseconds are all that Postgres keeps of a time."""
    return f"{(build.queued_at - _EPOCH) // _MICROSECOND}-{build.id.hex}"


def _place(cursor: str) -> tuple[datetime, UUID]:
    microseconds, _, id = cursor.partition("-")
    try:
        return _EPOCH + int(microseconds) * _MICROSECOND, UUID(id)
    except (ValueError, OverflowError):
        raise BadRequest("the cursor `before` is none that a page of builds ended with") from None
