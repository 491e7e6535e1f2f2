"""A bucket that stands still, is restarted, or breaks off in the middle of an answer: read from, or named, in time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Self

import aiobotocore.session
import pytest
from s3_server import ACCESS, SECRET, S3Server, s3_server

from buildsys.adapters.s3 import PART, UPLOAD, Bucket, S3Blobs
from buildsys.core.blobs import BlobExists, BlobsUnavailable

BUCKET = "the-bucket"
PATIENCE = 2.0
SLACK = 3.0
"""Seconds that a busy machine may add to a bound."""

DATA = random.Random(1).randbytes(3 << 20)
AT_ONCE = 50
"""Reads, which are more than there are connections."""


class Wire:
    """The way to the server. On it the next answers break off, or stand still, behind so many bytes of a connection."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._connections = asyncio.TaskGroup()
        self._ends: set[asyncio.StreamWriter] = set()
        self._fault: Literal["cut", "hold"] = "cut"
        self._behind = self._left = 0
        self._over = asyncio.Event()

    def disturb(self, fault: Literal["cut", "hold"], *, behind: int, times: int = 1) -> None:
        self._fault, self._behind, self._left = fault, behind, times

    @property
    def is_calm(self) -> bool:
        """Whether all that was to happen has happened."""
        return self._left == 0

    async def __aenter__(self) -> Self:
        await self._connections.__aenter__()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._over.set()
        for end in self._ends:
            end.transport.abort()
        await self._connections.__aexit__(None, None, None)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        self._connections.create_task(self._connect(reader, writer))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._ends.add(far_writer)
            self._connections.create_task(self._there(reader, far_writer))
            with contextlib.suppress(OSError):
                await self._back(far_reader, writer)
            far_writer.transport.abort()
        writer.transport.abort()

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(1 << 16):
            passed += len(data)
            if self._left and passed > self._behind:
                self._left -= 1
                writer.write(data[: self._behind - passed])
                await writer.drain()
                if self._fault == "hold":
                    await self._over.wait()
                await asyncio.sleep(0.05)  # an abort would overtake what is written
                return
            writer.write(data)
            await writer.drain()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with ThreadPoolExecutor() as aside:  # the tests' loop runs in this thread
            aside.submit(lambda: asyncio.run(make_bucket(server.url))).result()
        yield server


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
async def blobs(server: S3Server) -> AsyncIterator[S3Blobs]:
    """Straight to a bucket that holds `DATA` as `there`."""
    async with blobs_at(server.port) as blobs:
        with contextlib.suppress(BlobExists):
            await blobs.put("there", in_pieces(DATA))
        yield blobs


@pytest.fixture
async def wire(server: S3Server) -> AsyncIterator[Wire]:
    async with Wire(server.port) as wire:
        yield wire


@pytest.fixture
async def over_wire(blobs: S3Blobs, wire: Wire) -> AsyncIterator[S3Blobs]:
    async with blobs_at(wire.port) as blobs:
        yield blobs


def blobs_at(port: int, patience: float = PATIENCE) -> S3Blobs:
    return S3Blobs(Bucket(name=BUCKET, prefix="some/", endpoint=f"http://127.0.0.1:{port}"), patience=patience)


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def read(blobs: S3Blobs) -> bytes:
    return await blobs.read("there", 0, len(DATA))


async def read_again(blobs: S3Blobs) -> bytes:
    """Read, once the server that has begun anew has found its volumes, too."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(BlobsUnavailable):
                return await read(blobs)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


@contextlib.contextmanager
def paused(server: S3Server) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


class TestReading:
    async def test_from_a_server_that_stands_still(self, server: S3Server, blobs: S3Blobs) -> None:
        assert await read(blobs) == DATA
        with paused(server), within(PATIENCE):
            with pytest.raises(BlobsUnavailable, match="the-bucket does not answer: nothing within 2 s"):
                await read(blobs)
        assert await read(blobs) == DATA

    async def test_a_short_stop_is_waited_out(self, server: S3Server, blobs: S3Blobs) -> None:
        with paused(server):
            reading = asyncio.create_task(read(blobs))
            await asyncio.sleep(PATIENCE / 4)
            assert not reading.done()
        assert await reading == DATA

    async def test_many_at_once_all_end_in_time(self, server: S3Server, blobs: S3Blobs) -> None:
        """Those as well that wait for one of the connections."""
        with paused(server), within(PATIENCE):
            ends = await asyncio.gather(*(read(blobs) for _ in range(AT_ONCE)), return_exceptions=True)
        assert {type(end) for end in ends} == {BlobsUnavailable}
        assert await read(blobs) == DATA

    @pytest.mark.parametrize("behind", [0, 100, 1000, len(DATA) // 2, len(DATA)])
    async def test_an_answer_that_breaks_off_is_asked_for_again(
        self, over_wire: S3Blobs, wire: Wire, behind: int
    ) -> None:
        wire.disturb("cut", behind=behind, times=2)
        assert await read(over_wire) == DATA
        assert wire.is_calm

    async def test_answers_that_always_break_off_end_in_an_error(self, over_wire: S3Blobs, wire: Wire) -> None:
        wire.disturb("cut", behind=len(DATA) // 2, times=1000)
        with within(PATIENCE), pytest.raises(BlobsUnavailable, match="the-bucket does not answer"):
            await read(over_wire)
        wire.disturb("cut", behind=0, times=0)
        assert await read(over_wire) == DATA

    async def test_an_answer_that_stands_still(self, over_wire: S3Blobs, wire: Wire) -> None:
        wire.disturb("hold", behind=len(DATA) // 2)
        with within(PATIENCE), pytest.raises(BlobsUnavailable, match="does not answer"):
            await read(over_wire)
        assert await read(over_wire) == DATA

    async def test_a_restart_is_not_noticed(self, server: S3Server, blobs: S3Blobs) -> None:
        assert await read(blobs) == DATA
        server.kill()
        with within(PATIENCE), pytest.raises(BlobsUnavailable, match="does not answer"):
            await read(blobs)
        server.start()
        assert await read_again(blobs) == DATA


class TestWriting:
    @pytest.mark.parametrize("size", [1000, PART, 2 * PART])
    async def test_to_a_server_that_stands_still(self, server: S3Server, blobs: S3Blobs, size: int) -> None:
        """Its machine takes what fits into the socket's buffers, and then nothing."""
        async with blobs_at(server.port, 0.5) as impatient:
            with paused(server), within(UPLOAD * 0.5), pytest.raises(BlobsUnavailable, match="does not answer"):
                await impatient.put(f"first-{size}", in_pieces(bytes(size)))
        assert await blobs.put(f"second-{size}", in_pieces(bytes(size))) == size

    @pytest.mark.parametrize("size", [1000, 2 * PART])
    @pytest.mark.parametrize("behind", [0, len(b"HTTP/1.1 100 Continue\r\n\r\n")])
    async def test_whose_answer_is_lost(self, over_wire: S3Blobs, wire: Wire, size: int, behind: int) -> None:
        """An attempt of its own may be in its way then; under another key it goes on."""
        wire.disturb("cut", behind=behind)
        with within(UPLOAD * PATIENCE), contextlib.suppress(BlobsUnavailable, BlobExists):
            await over_wire.put(f"lost-{size}-{behind}", in_pieces(bytes(size)))
        assert wire.is_calm
        assert await over_wire.put(f"again-{size}-{behind}", in_pieces(bytes(size))) == size
        assert await over_wire.read(f"again-{size}-{behind}", 0, size) == bytes(size)

    async def test_listing_and_deleting_end_in_time(self, server: S3Server, blobs: S3Blobs) -> None:
        with paused(server):
            with within(PATIENCE), pytest.raises(BlobsUnavailable, match="does not answer"):
                await blobs.delete("nothing")
            with within(PATIENCE), pytest.raises(BlobsUnavailable, match="does not answer"):
                await anext(blobs.objects(""))


async def make_bucket(url: str) -> None:
    session = aiobotocore.session.get_session()
    async with session.create_client("s3", endpoint_url=url, region_name="us-east-1") as client:
        await client.create_bucket(Bucket=BUCKET)
