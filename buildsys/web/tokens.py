"""/tokens: who may use the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from aiohttp import web

from buildsys.errors import NotFound
from buildsys.web.codec import decode_body, json_response
from buildsys.web.services import Stores


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z")]
    role: Literal["admin", "runner"]
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None


class TokenRoutes:
    def __init__(self, *, stores: Stores) -> None:
        self._tokens = stores.tokens

    async def create(self, request: web.Request) -> web.Response:
        """Make a token; nobody can be told it again."""
        new = await decode_body(request, NewToken)
        days = new.expires_in_days
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
        id, token = await self._tokens.create(new.name, role=new.role, expires_at=expires_at)
        return json_response({"id": id, "token": token}, status=201)

    async def list(self, _request: web.Request) -> web.Response:
        return json_response({"tokens": await self._tokens.list()})

    async def revoke(self, request: web.Request) -> web.Response:
        """End the token's validity, and with it its sessions."""
        try:
            id = UUID(request.match_info["token"])
        except ValueError:
            raise NotFound("there is no token of this id") from None
        await self._tokens.revoke(id)
        return web.Response(status=204)
