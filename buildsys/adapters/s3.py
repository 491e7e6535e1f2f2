"""Objects in a bucket of S3, or of anything that speaks it.

Credentials are found as every AWS program finds them: in the environment, in `~/.aws`, or from the machine's role.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import aiobotocore.session
import aiohttp
import botocore.exceptions
import msgspec
from aiobotocore.config import AioConfig

from buildsys.core.blobs import Blob, BlobExists, BlobMissing, BlobsUnavailable, check_key

PART = 8 << 20
"""Bytes of one part; S3 takes at least 5 MiB, and at most 10,000 parts."""

PATIENCE = 20.0
"""Seconds in which a call ends, all its attempts and the wait for a free connection included."""

UPLOAD = 6
"""How many times as long the call may take that brings a part: 8 MiB in two minutes are 70 kB/s."""

ATTEMPTS = 6
"""How often a call is made that the store refuses for now, or whose connection breaks, even amid the answer."""

PAUSE = 0.1
"""Seconds before the second attempt; each later pause is three times as long, up to 12 seconds in all."""

R = TypeVar("R")

_GONE = ("NoSuchKey", "404", "InvalidRange", "416")
_THERE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_BROKEN = (aiohttp.ClientError, botocore.exceptions.HTTPClientError, botocore.exceptions.IncompleteReadError)


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where the objects are: `s3://NAME/PREFIX?endpoint=URL&region=NAME`."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def parse(cls, url: str) -> Bucket:
        """The bucket that a URL names. Raises `ValueError` with what is wrong with it."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        unknown = sorted(query.keys() - {"endpoint", "region"})
        if parts.scheme != "s3" or not parts.hostname:
            raise ValueError(f"expected s3://BUCKET/PREFIX, not {url!r}")
        if "@" in parts.netloc:
            raise ValueError("a credential in the URL would be seen: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if unknown:
            raise ValueError(f"of s3:// only endpoint and region can be set, not {', '.join(unknown)}")
        prefix = parts.path.strip("/")
        return cls(name=parts.netloc, prefix=f"{prefix}/" if prefix else "", **query)


class S3Blobs:
    """Objects in a bucket. Used with `async with`, which looks nothing up: a bucket that is away is waited out.

    However the bucket is away (it refuses, it is silent, its answers break off), every call to it ends within
    `patience` seconds: a read is one, an upload one a part, which has `UPLOAD` times as long.
    """

    def __init__(self, bucket: Bucket, *, patience: float = PATIENCE) -> None:
        self._bucket = bucket
        self._patience = patience
        self._stack = AsyncExitStack()
        self._client: Any = None

    def __repr__(self) -> str:
        return f"the bucket {self._bucket.name}"

    async def __aenter__(self) -> Self:
        config = AioConfig(
            connect_timeout=self._patience,
            read_timeout=self._patience,
            retries={
                "mode": "standard",
                "total_max_attempts": 1,
            },  # what breaks off in the body, nobody else tries again
            s3={"addressing_style": "path" if self._bucket.endpoint else "auto"},
            request_checksum_calculation="when_required",  # servers other than Amazon's refuse or ignore the newer ones
            response_checksum_validation="when_required",
        )
        session = aiobotocore.session.get_session()
        client = session.create_client(
            "s3",
            region_name=self._bucket.region or "us-east-1",
            endpoint_url=self._bucket.endpoint,
            config=config,
        )
        try:
            self._client = await self._stack.enter_async_context(client)
        except botocore.exceptions.BotoCoreError as error:
            raise BlobsUnavailable(f"{self} cannot be used: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        parts = _in_parts(pieces)
        first = await anext(parts, b"")
        second = await anext(parts, None)
        if second is not None:
            return await self._put_parts(key, _chained(first, second, parts))
        await self._call(self._client.put_object, {**self._place(key), "Body": first, "IfNoneMatch": "*"}, times=UPLOAD)
        return len(first)

    async def read(self, key: str, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        data = await self._call(self._range, {**self._place(key), "Range": f"bytes={start}-{start + length - 1}"})
        if len(data) != length:
            raise BlobMissing(f"{key} ends before {start + length}")
        return data

    async def delete(self, key: str) -> None:
        await self._call(self._client.delete_object, self._place(key))

    async def objects(self, prefix: str) -> AsyncIterator[Blob]:
        request = {"Bucket": self._bucket.name, "Prefix": self._bucket.prefix + prefix}
        while True:
            page = await self._call(self._client.list_objects_v2, request)
            for found in page.get("Contents", ()):
                yield Blob(key=found["Key"].removeprefix(self._bucket.prefix), made_at=found["LastModified"])
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    async def _range(self, **request: str) -> bytes:
        answer = await self._client.get_object(**request)
        async with answer["Body"] as body:
            data: bytes = await body.read()
        return data

    async def _put_parts(self, key: str, parts: AsyncIterator[bytes]) -> int:
        place = self._place(key)
        upload = {**place, "UploadId": (await self._call(self._client.create_multipart_upload, place))["UploadId"]}
        try:
            sent: list[dict[str, Any]] = []
            size = 0
            async for part in parts:
                number = len(sent) + 1
                request = {**upload, "PartNumber": number, "Body": part}
                answer = await self._call(self._client.upload_part, request, times=UPLOAD)
                sent.append({"PartNumber": number, "ETag": answer["ETag"]})
                size += len(part)
            request = {**upload, "MultipartUpload": {"Parts": sent}, "IfNoneMatch": "*"}
            await self._call(self._client.complete_multipart_upload, request, times=UPLOAD)
        except BaseException:
            with contextlib.suppress(BlobsUnavailable, BlobMissing):
                await self._call(self._client.abort_multipart_upload, upload)
            raise
        return size

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._bucket.prefix + check_key(key)}

    async def _call(self, call: Callable[..., Awaitable[R]], request: Mapping[str, Any], *, times: int = 1) -> R:
        """What the call brings within so many times the patience; what goes wrong is named."""
        key = request.get("Key", "").removeprefix(self._bucket.prefix)
        within = times * self._patience
        pauses = [PAUSE * 3**attempt * random.uniform(0.5, 1.0) for attempt in range(ATTEMPTS - 1)]  # noqa: S311
        try:
            async with asyncio.timeout(within):
                for pause in pauses:
                    try:
                        return await call(**request)
                    except (*_BROKEN, botocore.exceptions.ClientError) as error:
                        if not _passes(error):
                            raise
                    await asyncio.sleep(pause)
                return await call(**request)
        except botocore.exceptions.ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in _GONE:
                raise BlobMissing(f"there is no object {key} in {self}, or not so much of it") from error
            if code in _THERE:
                raise BlobExists(f"there is an object {key} in {self} already") from error
            raise BlobsUnavailable(f"{self} refused: {code} {message}") from error
        except (aiohttp.ClientError, botocore.exceptions.BotoCoreError, OSError) as error:
            why = str(error) or f"nothing within {within:g} s"
            raise BlobsUnavailable(f"{self} does not answer: {why}") from error


def _passes(error: Exception) -> bool:
    """Whether the next attempt may do better."""
    if not isinstance(error, botocore.exceptions.ClientError):
        return True
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= 500 or status == 429 or bool(error.response["Error"]["Code"] == "RequestTimeout")


async def _in_parts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `PART`, the last one shorter."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        while len(gathered) >= PART:
            yield bytes(gathered[:PART])
            del gathered[:PART]
    if gathered:
        yield bytes(gathered)


async def _chained(first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    yield second
    async for part in rest:
        yield part
