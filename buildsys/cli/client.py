"""The HTTP API, asked: JSON in and out, and the server's errors as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
import zstandard

from buildsys.errors import (
    BuildsysError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    SourceError,
    Unauthorized,
    Unavailable,
)

ERRORS = {
    kind.status: kind for kind in (Unauthorized, Forbidden, NotFound, Conflict, Invalid, SourceError, Unavailable)
}
CONNECT = 10.0
PATIENCE = 60.0
"""Seconds that a connection and an answer may take, where a call says nothing else."""

LIVE = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=45)
"""A live stream sends a heartbeat every 15 s: three missed ones mean that it is broken."""


class Problem(msgspec.Struct, frozen=True):
    """The body of an error. Source: RFC 9457."""

    title: str = ""
    detail: str = ""
    request_id: str = ""


class Client:
    """`async with Client(url, token) as client:`; paths start behind `/api/v1`.

    Raises the error of buildsys.errors whose status the server answered with, and `Unavailable` where nothing
    answers, or not within a call's patience in seconds. Redirects are not followed: the token goes to the server that
    was named and no further.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._token}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str, *, patience: float | None = None, **query: str | int | None) -> Any:
        return await self._call("GET", path, query=query, patience=patience)

    async def post(self, path: str, body: Mapping[str, object] | None = None, *, patience: float | None = None) -> Any:
        return await self._call("POST", path, body=body or {}, patience=patience)

    async def patch(self, path: str, body: Mapping[str, object]) -> Any:
        return await self._call("PATCH", path, body=body)

    async def put(self, path: str, body: Mapping[str, object]) -> Any:
        return await self._call("PUT", path, body=body)

    async def delete(self, path: str) -> None:
        await self._call("DELETE", path)

    async def text(self, path: str, **query: str | int | None) -> AsyncIterator[bytes]:
        """The body in chunks, as the server sends it; on the way it is packed."""
        accepts = {"Accept-Encoding": "zstd"}
        async with self._open(path, "text/plain", LIVE, query=query, headers=accepts, packed=True) as response:
            zstd = response.headers.get("Content-Encoding") == "zstd"
            unpack = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress if zstd else bytes
            try:
                async for chunk in response.content.iter_any():
                    yield unpack(chunk)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Unavailable(
                    f"The connection to {self.url} broke: {error}. What was printed is not all."
                ) from error

    def live(self, path: str, *, last: int = 0, **query: str | int | None) -> Answer:
        """An event stream, to be opened with `async with`; `last` is the cursor of the last event that was seen."""
        seen = {"Last-Event-ID": str(last)} if last else {}
        return self._open(path, "text/event-stream", LIVE, query=query, headers=seen)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, object] | None = None,
        patience: float | None = None,
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=patience or PATIENCE, sock_connect=CONNECT)
        async with self._open(path, "application/json", timeout, method=method, query=query, body=body) as response:
            try:
                content = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise _unanswered(error, self.url) from error
            return msgspec.json.decode(content) if content else None

    def _open(
        self,
        path: str,
        accept: str,
        timeout: aiohttp.ClientTimeout,
        *,
        method: str = "GET",
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        packed: bool = False,
    ) -> Answer:
        request = self._http.request(
            method,
            f"{self.url}/api/v1{path}",
            params={name: str(value) for name, value in (query or {}).items() if value is not None},
            json=body,
            headers={"Accept": accept, **(headers or {})},
            timeout=timeout,
            allow_redirects=False,
            auto_decompress=not packed,
        )
        return Answer(request, self.url)


class Answer:
    """A response with a status below 300, closed at the end of its `async with`."""

    def __init__(self, request: Any, url: str) -> None:
        self._request = request
        self._url = url

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            response: aiohttp.ClientResponse = await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unanswered(error, self._url) from error
        if response.status >= 300:
            async with response:
                raise await _error(response, self._url)
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._request.__aexit__(kind, error, trace)


def _unanswered(error: Exception, url: str) -> Unavailable:
    """Whether nobody is there, or somebody who has not answered."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unavailable(f"No server answers at {url} ({error}). Does “buildsys up” run there?")
        case TimeoutError():
            return Unavailable(f"{url} has taken the request, but not answered in time: it may still be at it.")
        case _:
            return Unavailable(f"The connection to {url} broke before there was an answer ({error}).")


async def _error(response: aiohttp.ClientResponse, url: str) -> BuildsysError:
    try:
        problem = msgspec.json.decode(await response.read(), type=Problem)
    except msgspec.MsgspecError:
        return Unavailable(f"{url} answered {response.status}, and not as buildsys does: is it the right --server?")
    message = problem.detail or problem.title or f"the server answered {response.status}"
    if response.status == Unauthorized.status:
        message = f"{url} does not accept the token ({message}): give another with --token-file or BUILDSYS_TOKEN."
    if response.status >= 500 and problem.request_id:
        message += f" (request {problem.request_id})"
    return ERRORS.get(response.status, BuildsysError if response.status >= 500 else Invalid)(message)
