"""/hooks: deliveries of forges. They are checked, kept and acknowledged; what they ask for is seen to afterwards."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from buildsys.core.forge import Forge
from buildsys.core.project import Project
from buildsys.errors import NotFound, Unauthorized, Unavailable
from buildsys.web.codec import BadRequest, json_response
from buildsys.web.projects import project_of
from buildsys.web.services import Hints, Stores

BODY_LIMIT = 25 << 20
"""Bytes: GitHub caps payloads at 25 MB, see its page on webhook events and payloads."""

HELD_LIMIT = 64 << 20
"""Bytes of all bodies that are in memory at once: nobody knows yet whether those who send them may."""

PATIENCE = 10.0
"""Seconds that a body may take. Source: GitHub itself waits 10 s for the answer."""

_PLAIN = re.compile(r"[\x21-\x7e]{1,200}")


class WebhookRoutes:
    def __init__(self, *, stores: Stores, forge: Forge, hints: Hints) -> None:
        self._projects = stores.projects
        self._deliveries = stores.deliveries
        self._forge = forge
        self._hints = hints
        self._nobodys_secret = secrets.token_hex(32)
        self._held = 0

    async def receive(self, request: web.Request) -> web.Response:
        """Keep a signed delivery, once; one that came before is acknowledged as a duplicate.

        A wrong signature and an unknown project get the same answer after the same work; without what could be a
        signature nothing is read. Raises `Unavailable` while too much is being received.
        """
        if not self._forge.is_signed(request.headers):
            raise _unauthorized()
        delivery = self._forge.delivery_id(request.headers)
        event = self._forge.event(request.headers)
        if delivery is None or not _PLAIN.fullmatch(delivery) or not _PLAIN.fullmatch(event):
            raise BadRequest(f"a delivery of {self._forge.name} carries its id and its event in headers")
        async with self._body(request) as body:
            return await self._keep(request, delivery, event, body)

    async def _keep(self, request: web.Request, delivery: str, event: str, body: bytes) -> web.Response:
        project = await self._project(request)
        secret = self._nobodys_secret if project is None else project.webhook_secret
        verified = self._forge.verify(request.headers, body, secret)
        if project is None or not verified:
            raise _unauthorized()
        kept = await self._deliveries.keep(
            project.id, forge=self._forge.name, delivery=delivery, event=event, body=body
        )
        if kept:
            self._hints.send("deliveries")
        return json_response({"delivery": delivery, "duplicate": not kept}, status=202)

    @asynccontextmanager
    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        """The whole body; what of it is in memory counts for as long as it is."""
        body = bytearray()
        try:
            await self._read(request, body)
            yield bytes(body)
        finally:
            self._held -= len(body)

    async def _read(self, request: web.Request, body: bytearray) -> None:
        """Read in time and within the limits. What counts is what has come, not what is announced."""
        try:
            async with asyncio.timeout(PATIENCE):
                async for chunk in request.content.iter_any():
                    if len(body) + len(chunk) > BODY_LIMIT:
                        raise web.HTTPRequestEntityTooLarge(max_size=BODY_LIMIT, actual_size=len(body) + len(chunk))
                    if self._held + len(chunk) > HELD_LIMIT:
                        raise Unavailable("too many deliveries are being received; send this one again")
                    self._held += len(chunk)
                    body += chunk
        except TimeoutError:
            raise web.HTTPRequestTimeout from None

    async def _project(self, request: web.Request) -> Project | None:
        try:
            return await project_of(request, self._projects)
        except NotFound:
            return None


def _unauthorized() -> Unauthorized:
    return Unauthorized("there is no such project, or the signature is not its own")
