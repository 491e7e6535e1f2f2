"""What a runner calls: one orchestrator, in the same process or over HTTP."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TypeVar

import aiohttp
import msgspec

from buildsys.core.assignment import Poll, PollReply, Report, ReportReply
from buildsys.errors import BuildsysError, Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unavailable

CONTENT_TYPE = "application/msgpack"
ANSWER_TIME = 30.0
"""Seconds that an answer may take beyond what was asked for."""

_REFUSALS: dict[int, type[BuildsysError]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict}

_Reply = TypeVar("_Reply", PollReply, ReportReply)


class Orchestrator(Protocol):
    """Gives out assignments and takes in reports. Raises `Unavailable` when it is away: try again."""

    async def poll(self, poll: Poll) -> PollReply:
        """Answer at once when there is something to say, else after at most `poll.wait` seconds.

        May be cancelled and may be lost on the way: what was assigned is handed out again as long as it is not held.
        """

    async def report(self, report: Report) -> ReportReply:
        """Store the items that go on from the stored position, and say where it stands now."""


class HttpOrchestrator:
    """The orchestrator at `url`, spoken to with a runner's token.

    Raises `Unauthorized` when the token is refused and `Unavailable` when nobody answers or the answer is a failure of
    the other side's (5xx).
    """

    def __init__(self, *, url: str, token: str) -> None:
        self._base = url.rstrip("/") + "/api/v1/runner/"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers, connector=aiohttp.TCPConnector(limit=0), trust_env=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def poll(self, poll: Poll) -> PollReply:
        return await self._post("poll", poll, PollReply, wait=poll.wait)

    async def report(self, report: Report) -> ReportReply:
        return await self._post("report", report, ReportReply, wait=0.0)

    async def _post(self, name: str, body: msgspec.Struct, kind: type[_Reply], *, wait: float) -> _Reply:
        timeout = aiohttp.ClientTimeout(total=wait + ANSWER_TIME)
        data = msgspec.msgpack.encode(body)
        try:
            async with self._session.post(
                self._base + name, data=data, timeout=timeout, allow_redirects=False
            ) as response:
                status, answer = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the orchestrator at {self._base} does not answer: {error or 'timeout'}") from error
        if status == 200:
            try:
                return msgspec.msgpack.decode(answer, type=kind)
            except msgspec.DecodeError as error:
                raise Invalid(f"the orchestrator at {self._base} is of another version: {error}") from error
        message = f"the orchestrator answered {status} to {name}: {answer[:500].decode(errors='replace')}"
        raise (Unavailable if status >= 500 or status == 429 else _REFUSALS.get(status, Invalid))(message)
