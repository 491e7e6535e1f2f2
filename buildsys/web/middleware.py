"""What every request goes through: an id, errors made answers, and headers that keep browsers from guessing."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from uuid import uuid4

import structlog
from aiohttp import web

from actors.errors import ActorUnavailable, DatabaseUnavailable, Overloaded
from buildsys.errors import BuildsysError, Unavailable
from buildsys.web.codec import problem

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)
STREAM = web.RequestKey("stream", web.StreamResponse)

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

logger = structlog.get_logger(__name__)


@web.middleware
async def identify(request: web.Request, handler: Next) -> web.StreamResponse:
    """Give the request an id, its sender's own where that is a plain word, and let every log line carry it."""
    given = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid4().hex
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        return await handler(request)


@web.middleware
async def answer_errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Make every error a problem; one that is ours tells nothing but the request's id, and the log the rest."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = _problem(request, error.status, detail=None)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionResetError:
        if STREAM not in request:
            raise
        return request[STREAM]  # the reader has left
    except Exception as error:
        status, code, detail = _meaning(error)
        if status == 500:
            logger.exception("request_failed", method=request.method, path=request.path)
        if STREAM in request:
            return _cut_off(request)
        return _problem(request, status, code=code, detail=detail)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Called for every answer before its head is sent."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    if REQUEST_ID in request:
        response.headers["X-Request-ID"] = request[REQUEST_ID]
    if not isinstance(response, web.Response):
        request[STREAM] = response


def _meaning(error: Exception) -> tuple[int, str, str | None]:
    """Status, code and what the sender may know."""
    match error:
        case BuildsysError() if error.status != 500:
            return error.status, error.code, str(error)
        case DatabaseUnavailable() | ActorUnavailable() | Overloaded():
            return Unavailable.status, Unavailable.code, "a part of the system is away; try again"
        case _:
            return 500, "internal_error", None


def _problem(request: web.Request, status: int, *, detail: str | None, code: str | None = None) -> web.Response:
    title = HTTPStatus(status).phrase
    return problem(
        status,
        title=title,
        code=code or title.lower().replace(" ", "_").replace("-", "_"),
        detail=detail,
        request_id=request[REQUEST_ID],
    )


def _cut_off(request: web.Request) -> web.StreamResponse:
    """The head is sent, so that only a broken connection can still say that this is not all."""
    if request.transport is not None:
        request.transport.abort()
    return request[STREAM]
