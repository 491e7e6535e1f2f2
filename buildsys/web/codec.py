"""Bodies and queries in, JSON and problems out. Input is checked whole before anything is called with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from buildsys.errors import BuildsysError, Invalid

Text = Annotated[str, msgspec.Meta(max_length=65536, pattern=r"\A[^\x00]*\Z")]
"""Text that Postgres can hold."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]
"""The size of a page."""

RETRY_AFTER = 5
"""Seconds after which one may ask again for what is not available."""

_Input = TypeVar("_Input")


class BadRequest(BuildsysError):
    """What was sent cannot be read at all."""

    code = "bad_request"
    status = 400


async def decode_body(request: web.Request, type: type[_Input]) -> _Input:
    """The JSON body. Raises `BadRequest` for what is not JSON, and `Invalid` that names the wrong field."""
    try:
        return msgspec.json.decode(await request.read(), type=type)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def decode_query(request: web.Request, type: type[_Input]) -> _Input:
    """The query string's parameters. Raises `Invalid` that names the wrong one."""
    try:
        return msgspec.convert(dict(request.query), type, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"in the query: {error}") from None


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def problem(status: int, *, title: str, code: str, request_id: str, detail: str | None = None) -> web.Response:
    """An error as RFC 9457 writes it, with a `code` for programs; `detail` may be absent."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code}
    if detail is not None:
        body["detail"] = detail
    response = web.Response(
        body=msgspec.json.encode(body | {"request_id": request_id}),
        status=status,
        content_type="application/problem+json",
    )
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
