"""Who asks, and whether they may.

Programs send `Authorization: Bearer bst_…`. The page logs in with the same token and gets a cookie that scripts cannot
read: the token and the time, encrypted and authenticated (Fernet). The token is looked up on every request, so revoking
it ends its sessions. What a cookie asks to change must come from our own page: browsers say where a request comes from,
and no other page may add a header of its own to one.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken

from buildsys.core.project import Identity
from buildsys.errors import Forbidden, Unauthorized
from buildsys.web.codec import decode_body, json_response
from buildsys.web.services import WebSettings

COOKIE = "buildsys_session"
SESSION = 12 * 3600
"""Seconds until the page must log in again."""

READING = ("GET", "HEAD")

IDENTITY = web.RequestKey("identity", Identity)

PUBLIC = frozenset[str]()
RUNNER = frozenset({"admin", "runner"})
ADMIN = frozenset({"admin"})
Access = frozenset[str]
"""The roles that may use a route; none at all makes it open to everybody."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")


class TokenFinder(Protocol):
    async def find(self, token: str) -> Identity | None:
        """Who a token belongs to; None where it is unknown, expired or revoked."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str


class Authentication:
    """Finds out who sends a request, and keeps the page's sessions."""

    def __init__(self, *, tokens: TokenFinder, settings: WebSettings, now: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._now = now
        self._fernet = Fernet(base64.urlsafe_b64encode(settings.session_key))
        public = urlsplit(settings.public_url)
        self._origin = f"{public.scheme}://{public.netloc}"
        self._secure = public.scheme == "https"

    async def admit(self, request: web.Request, access: Access) -> None:
        """Let the request pass and note who sends it. Raises `Unauthorized`, `Forbidden`."""
        if access == PUBLIC:
            return
        identity = await self._identity(request)
        if identity.role not in access:
            raise Forbidden(f"a token with the role {identity.role!r} may not do this")
        request[IDENTITY] = identity

    async def still_admits(self, request: web.Request, access: Access) -> bool:
        """Whether a request that was let pass would be let pass now."""
        try:
            await self.admit(request, access)
        except (Unauthorized, Forbidden):
            return False
        return True

    async def login(self, request: web.Request) -> web.Response:
        """Exchange an administrator's token for a session."""
        self._check_own_page(request)
        token = (await decode_body(request, Login)).token
        identity = await self._find(token)
        if identity.role not in ADMIN:
            raise Forbidden("the page needs a token with the role 'admin'")
        response = json_response({"name": identity.name, "role": identity.role})
        response.set_cookie(
            COOKIE,
            self._fernet.encrypt_at_time(token.encode(), int(self._now())).decode(),
            max_age=SESSION,
            httponly=True,
            samesite="Strict",
            secure=self._secure,
        )
        return response

    async def logout(self, _request: web.Request) -> web.Response:
        """Make the browser forget its session."""
        response = web.Response(status=204)
        response.del_cookie(COOKIE, httponly=True, samesite="Strict", secure=self._secure)
        return response

    def session_token(self, cookie: str) -> str | None:
        """The token that a session's cookie holds; None where the cookie is too old or none of ours."""
        try:
            return self._fernet.decrypt_at_time(cookie, SESSION, int(self._now())).decode()
        except (InvalidToken, ValueError):
            return None

    async def _identity(self, request: web.Request) -> Identity:
        if "Authorization" in request.headers:
            scheme, _, sent = request.headers["Authorization"].partition(" ")
            return await self._find(sent.strip() if scheme.lower() == "bearer" else "")
        token = self.session_token(request.cookies.get(COOKIE, ""))
        if token is None:
            raise Unauthorized("send a valid token as 'Authorization: Bearer …', or log in")
        identity = await self._find(token)
        if request.method not in READING:
            self._check_own_page(request)
        return identity

    async def _find(self, token: str) -> Identity:
        identity = await self._tokens.find(token) if _TOKEN.fullmatch(token) else None
        if identity is None:
            raise Unauthorized("the token is unknown, expired or revoked")
        return identity

    def _check_own_page(self, request: web.Request) -> None:
        ours = (
            request.headers.get("Origin") in (self._origin, f"{request.scheme}://{request.host}")
            or request.headers.get("Sec-Fetch-Site") == "same-origin"
        )
        if not ours or request.headers.get("X-Requested-With") != "buildsys":
            raise Forbidden("with a session, changes are only taken from our own page (Origin, X-Requested-With)")
