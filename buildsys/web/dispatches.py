"""/dispatches: what a program asks a project's workflows for, as `repository_dispatch`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

import msgspec
from aiohttp import web

from buildsys.core.event_kinds import REPOSITORY_DISPATCH
from buildsys.core.own_events import FORGE, MAX_PROPERTIES, MAX_TYPE
from buildsys.web.auth import IDENTITY
from buildsys.web.codec import decode_body, json_response
from buildsys.web.projects import project_of
from buildsys.web.services import Hints, Stores


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As GitHub takes it."""

    event_type: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TYPE)]
    client_payload: Annotated[dict[str, Any], msgspec.Meta(max_length=MAX_PROPERTIES)] = {}


class DispatchRoutes:
    def __init__(self, *, stores: Stores, hints: Hints) -> None:
        self._projects = stores.projects
        self._deliveries = stores.deliveries
        self._hints = hints

    async def receive(self, request: web.Request) -> web.Response:
        """Keep it among the project's deliveries, which tell what came of it."""
        project = await project_of(request, self._projects)
        said = await decode_body(request, Dispatch)
        body = {
            "action": said.event_type,
            "client_payload": said.client_payload,
            "sender": {"login": request[IDENTITY].name},
        }
        id = str(uuid4())
        await self._deliveries.keep(
            project.id, forge=FORGE, delivery=id, event=REPOSITORY_DISPATCH, body=msgspec.json.encode(body)
        )
        self._hints.send("deliveries")
        return json_response({"delivery": id}, status=202)
