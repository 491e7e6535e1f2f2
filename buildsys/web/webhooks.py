"""/hooks: deliveries of forges. They are checked, kept and acknowledged; what they ask for is seen to afterwards."""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from buildsys.core.forge import Forge
from buildsys.core.project import Project
from buildsys.errors import NotFound, Unauthorized
from buildsys.web.codec import BadRequest, json_response
from buildsys.web.projects import project_of
from buildsys.web.services import Hints, Stores

BODY_LIMIT = 25 << 20
"""Bytes: GitHub caps payloads at 25 MB, see its page on webhook events and payloads."""

_PLAIN = re.compile(r"[\x21-\x7e]{1,200}")


class WebhookRoutes:
    def __init__(self, *, stores: Stores, forge: Forge, hints: Hints) -> None:
        self._projects = stores.projects
        self._deliveries = stores.deliveries
        self._forge = forge
        self._hints = hints
        self._nobodys_secret = secrets.token_hex(32)

    async def receive(self, request: web.Request) -> web.Response:
        """Keep a signed delivery, once; one that came before is acknowledged as a duplicate.

        A wrong signature and an unknown project get the same answer after the same work.
        """
        body = await request.clone(client_max_size=BODY_LIMIT).read()
        project = await self._project(request)
        secret = self._nobodys_secret if project is None else project.webhook_secret
        verified = self._forge.verify(request.headers, body, secret)
        if project is None or not verified:
            raise Unauthorized("there is no such project, or the signature is not its own")
        delivery = self._forge.delivery_id(request.headers)
        event = self._forge.event(request.headers)
        if delivery is None or not _PLAIN.fullmatch(delivery) or not _PLAIN.fullmatch(event):
            raise BadRequest(f"a delivery of {self._forge.name} carries its id and its event in headers")
        kept = await self._deliveries.keep(
            project.id, forge=self._forge.name, delivery=delivery, event=event, body=body
        )
        if kept:
            self._hints.send("deliveries")
        return json_response({"delivery": delivery, "duplicate": not kept}, status=202)

    async def _project(self, request: web.Request) -> Project | None:
        try:
            return await project_of(request, self._projects)
        except NotFound:
            return None
