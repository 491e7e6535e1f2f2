"""HTTP roads that do to requests what networks and busy servers do: refuse, repeat, delay and reorder them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Literal, Self

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from buildsys.core.assignment import LogBatch, Report

OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}
LIMIT = 64 << 20
MEDDLING = 0.2
"""The share of reports that meet with a mishap."""

MISHAPS = ("repeated", "late", "delayed", "unanswered", "refused")


class HttpRoad:
    """Passes requests on to `upstream`, a URL, and the answers back."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )
        application = web.Application(client_max_size=LIMIT)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._tasks.__aexit__(None, None, None)
        await self._session.close()

    async def answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """What comes back for a request."""
        return await self.forward(request, body)

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in OF_ONE_HOP]
        headers.append(("Host", request.headers["Host"]))  # requests to S3 are signed with it
        try:
            async with self._session.request(
                request.method,
                URL(self.upstream + request.raw_path, encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as response:
                kept = [(name, value) for name, value in response.headers.items() if name.lower() not in OF_ONE_HOP]
                return web.Response(status=response.status, headers=kept, body=await response.read())
        except (aiohttp.ClientError, OSError) as error:
            return web.Response(status=502, text=str(error))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, await request.read())


class RoadToBucket(HttpRoad):
    """Does one thing to every request while it is told to; `disturbed` counts to how many.

    It refuses as S3 does when it is asked too much, says nothing, or breaks off in the middle of the answer.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.does: Literal["refuses", "is silent", "breaks off"] | None = None
        self.disturbed = 0

    async def answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        match self.does:
            case "refuses":
                self.disturbed += 1
                error = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
                return web.Response(status=503, text=error, content_type="application/xml")
            case "is silent":
                self.disturbed += 1
                while self.does == "is silent":
                    await asyncio.sleep(0.05)
                return _hang_up(request)
            case "breaks off":
                self.disturbed += 1
                return await _half(request, await self.forward(request, body))
            case _:
                return await self.forward(request, body)


@asynccontextmanager
async def aside(road: RoadToBucket) -> AsyncIterator[RoadToBucket]:
    """The road in a thread of its own: fifty followers that compare lines in this one would make it slow."""
    loop, built, over = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def run() -> None:
        async with road:
            loop.call_soon_threadsafe(built.set)
            await asyncio.to_thread(over.wait)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(lambda: asyncio.run(run())))
        await built.wait()
        try:
            yield road
        finally:
            over.set()


class RoadOfReports(HttpRoad):
    """Meddles by chance with reports that carry output; `landed` counts how."""

    def __init__(self, upstream: str, *, chance: random.Random) -> None:
        super().__init__(upstream)
        self._chance = chance
        self.calm = False
        self.landed: Counter[str] = Counter()

    async def answer(self, request: web.Request, body: bytes) -> web.Response:
        if self.calm or not _has_output(request, body):
            return await self.forward(request, body)
        match self._chance.choice(MISHAPS) if self._chance.random() < MEDDLING else "":
            case "repeated":  # at once, and the second answer counts
                self.landed["report repeated"] += 1
                first, second = await asyncio.gather(self.forward(request, body), self.forward(request, body))
                return self._chance.choice([first, second])
            case "late":  # again, when later ones have arrived
                self.landed["report repeated late"] += 1
                self._tasks.create_task(self._later(request, body))
                return await self.forward(request, body)
            case "delayed":  # on its way while the runner has given it up
                self.landed["report delayed"] += 1
                self._tasks.create_task(self._later(request, body))
                return _hang_up(request)
            case "unanswered":
                self.landed["report unanswered"] += 1
                await self.forward(request, body)
                return _hang_up(request)
            case "refused":
                self.landed["report refused"] += 1
                return web.Response(status=503)
            case _:
                return await self.forward(request, body)

    async def _later(self, request: web.Request, body: bytes) -> None:
        await asyncio.sleep(self._chance.choice([0.02, 0.3, 2.0]))
        await self.forward(request, body)


def _has_output(request: web.Request, body: bytes) -> bool:
    if not request.path.endswith("/runner/report"):
        return False
    return any(isinstance(item, LogBatch) for item in msgspec.msgpack.decode(body, type=Report).items)


async def _half(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """Half of the answer, and then nothing."""
    assert isinstance(whole.body, bytes)
    half = web.StreamResponse(status=whole.status, headers=whole.headers)
    half.content_length = len(whole.body)
    await half.prepare(request)
    await half.write(whole.body[: len(whole.body) // 2])
    await asyncio.sleep(0.02)  # an abort would overtake what is written
    _hang_up(request)
    return half


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:  # else the runner was faster
        request.transport.abort()
    return web.Response(status=500)
