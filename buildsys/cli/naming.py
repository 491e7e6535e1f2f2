"""What people type for a project or a build (an id, the start of one that is unique, or PROJECT#NUMBER), found."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from buildsys.errors import Invalid, NotFound

if TYPE_CHECKING:
    from buildsys.cli.client import Client

PAGE = 100
RECENT = 1000
"""How many builds the start of an id is looked for in."""


def project_path(name: str) -> str:
    """The API's path of a project; a slash, `?` or `#` that was typed does not lead to another one."""
    return f"/projects/{quote(name, safe='')}"


def value_path(kind: str, name: str | None, project: str | None) -> str:
    """The API's path of a secret or variable, or of all of them; of a project, or with None of all projects."""
    place = f"{project_path(project) if project is not None else ''}/{kind}s"
    return place if name is None else f"{place}/{quote(name, safe='')}"


async def find_build(client: Client, name: str) -> dict[str, Any]:
    """The build with its jobs and steps; of PROJECT#NUMBER the latest attempt. Raises `NotFound` and `Invalid`."""
    if numbered := re.fullmatch(r"(?P<project>[^#/]+)[#/](?P<number>\d{1,9})", name):
        id = await _numbered(client, numbered["project"], int(numbered["number"]))
    elif re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name):
        id = str(UUID(name))
    elif re.fullmatch(r"[0-9a-f][0-9a-f-]{3,35}", name):
        id = await _started(client, name)
    else:
        raise Invalid(f"{name!r} names no build: give its id, the first 4 or more characters of it, or PROJECT#NUMBER.")
    build: dict[str, Any] = await client.get(f"/builds/{id}")
    return build


def check_place(build: dict[str, Any], job: str | None, step: int | None) -> None:
    """Raise `NotFound`, which names those there are, where the build has no such job or the job no such step."""
    jobs = [each for each in build["jobs"] if job in (None, each["id"])]
    if not jobs:
        raise NotFound(f"The build has no job {job!r}, but {', '.join(each['id'] for each in build['jobs'])}.")
    known = sorted({each["number"] for one in jobs for each in one["steps"]})
    if step is not None and step not in known:
        raise NotFound(f"There is no step {step}, but {', '.join(map(str, known))} (0 is the set-up).")


async def _numbered(client: Client, project: str, number: int) -> str:
    async for build in _newest_first(client, project):
        if build["number"] == number:
            return str(build["id"])
        if build["number"] < number and build["attempt"] == 1:
            break  # later attempts are queued after the first ones, so the rest is older still
    raise NotFound(f"Project {project} has no build {number}: buildsys build list --project {project}")


async def _started(client: Client, prefix: str) -> str:
    found, seen = list[str](), 0
    async for build in _newest_first(client, None):
        if build["id"].startswith(prefix):
            found.append(build["id"])
        seen += 1
        if seen == RECENT:
            break
    if not found:
        raise NotFound(f"None of the newest {RECENT} builds has an id that starts with {prefix!r}.")
    if len(found) > 1:
        raise Invalid(f"{len(found)} builds have ids that start with {prefix!r}, such as {', '.join(found[:3])}.")
    return found[0]


async def _newest_first(client: Client, project: str | None) -> AsyncIterator[dict[str, Any]]:
    before: str | None = None
    while True:
        page = await client.get("/builds", project=project, limit=PAGE, before=before)
        for build in page["builds"]:
            yield build
        before = page["next"]
        if before is None:
            return
