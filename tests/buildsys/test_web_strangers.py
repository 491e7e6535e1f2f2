"""What strangers may cost us: of a webhook we read only what could be a delivery, in time, and not too much at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from web_site import Site, serve, sign

from actors import Database

BODY = json.dumps({"ref": "refs/heads/main", "padding": "x" * 600_000}).encode()


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


class Caller:
    """A connection that sends what it likes, when it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def announce(self, headers: dict[str, str], *, size: int) -> None:
        """The head of a delivery of `size` bytes."""
        lines = [f"{name}: {value}" for name, value in ({"Host": "ci"} | headers).items()]
        head = ["POST /hooks/github/shop HTTP/1.1", f"Content-Length: {size}", *lines, "", ""]
        await self.send("\r\n".join(head).encode())

    async def answer(self) -> tuple[int, dict[str, object]]:
        """Status and body of the answer, without closing the connection first."""
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            (length,) = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length:")]
            body = json.loads(await self._reader.readexactly(int(length)))
        return int(head.split()[1]), body | {"request_id": ""}


@asynccontextmanager
async def caller(site: Site) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()


def headers(body: bytes, secret: str, **changed: str) -> dict[str, str]:
    usual = {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "push", "X-Hub-Signature-256": sign(body, secret)}
    return {name: value for name, value in (usual | changed).items() if value}


async def test_what_could_be_no_delivery_is_refused_before_its_body_has_come(site: Site) -> None:
    project = await site.project()
    secret = project.webhook_secret
    answers = []
    for signature in ("", "sha256=", "sha1=" + "0" * 40, "sha256=" + "g" * 64, sign(BODY, secret)[:-1]):
        async with caller(site) as stranger:
            await stranger.announce(headers(BODY, secret, **{"X-Hub-Signature-256": signature}), size=25 << 20)
            answers.append(await stranger.answer())
    async with caller(site) as stranger:
        await stranger.announce(headers(b"other", "0" * 64), size=2)
        await stranger.send(b"{}")
        answers.append(await stranger.answer())
    assert [status for status, _ in answers] == [401] * 6
    assert all(body == answers[0][1] for _, body in answers)
    for missing in ("X-GitHub-Delivery", "X-GitHub-Event"):
        async with caller(site) as stranger:
            await stranger.announce(headers(BODY, secret, **{missing: ""}), size=25 << 20)
            assert (await stranger.answer())[0] == 400


async def test_a_body_must_come_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildsys.web.webhooks.PATIENCE", 0.2)
    project = await site.project()
    async with caller(site) as slow:
        await slow.announce(headers(BODY, project.webhook_secret), size=len(BODY))
        await slow.send(BODY[:1000])
        status, body = await slow.answer()
    assert (status, body["code"]) == (408, "request_timeout")


async def test_bodies_in_memory_are_limited_together(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildsys.web.webhooks.HELD_LIMIT", 1_000_000)
    project = await site.project()
    secret = project.webhook_secret

    async def deliver(id: str) -> int:
        sent = headers(BODY, secret, **{"X-GitHub-Delivery": id})
        async with (
            ClientSession(site.url) as forge,
            forge.post("/hooks/github/shop", data=BODY, headers=sent) as answer,
        ):
            assert ("Retry-After" in answer.headers) == (answer.status == 503)
            return answer.status

    assert await deliver("before") == 202
    async with caller(site) as first:
        await first.announce(headers(BODY, secret, **{"X-GitHub-Delivery": "first"}), size=len(BODY))
        await first.send(BODY[:-1])
        async with asyncio.timeout(5):
            while await deliver("beside") != 503:
                await asyncio.sleep(0.01)
        await first.send(BODY[-1:])
        assert (await first.answer())[0] == 202
    assert await deliver("after") == 202
    async with caller(site) as left:
        await left.announce(headers(BODY, secret), size=len(BODY))
        await left.send(BODY[:-1])
    async with asyncio.timeout(5):
        while await deliver("at last") == 503:
            await asyncio.sleep(0.01)
