"""Objects in a bucket of S3, or of anything that speaks it.

Credentials are found as every AWS program finds them: in the environment, in `~/.aws`, or from the machine's role.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import aiobotocore.session
import botocore.exceptions
import msgspec
from aiobotocore.config import AioConfig

from buildsys.core.blobs import BlobExists, BlobMissing, BlobsUnavailable, check_key

PART = 8 << 20
"""Bytes of one part; S3 takes at least 5 MiB, and at most 10,000 parts."""

TIMEOUT = 20.0
"""Seconds that one answer may take to begin."""

_GONE = ("NoSuchKey", "404", "InvalidRange", "416")
_THERE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")


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
    """Objects in a bucket. Used with `async with`, which looks nothing up: a bucket that is away is waited out."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._stack = AsyncExitStack()
        self._client: Any = None

    def __repr__(self) -> str:
        return f"the bucket {self._bucket.name}"

    async def __aenter__(self) -> Self:
        config = AioConfig(
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            retries={"mode": "standard", "max_attempts": 4},
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
        with self._named_errors(""):
            self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        parts = _in_parts(pieces)
        first = await anext(parts, b"")
        second = await anext(parts, None)
        if second is None:
            with self._named_errors(key):
                await self._client.put_object(**self._place(key), Body=first, IfNoneMatch="*")
            return len(first)
        return await self._put_parts(key, _chained(first, second, parts))

    async def read(self, key: str, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        with self._named_errors(key):
            answer = await self._client.get_object(**self._place(key), Range=f"bytes={start}-{start + length - 1}")
            async with answer["Body"] as body:
                data: bytes = await body.read()
        if len(data) != length:
            raise BlobMissing(f"{key} ends before {start + length}")
        return data

    async def delete(self, key: str) -> None:
        with self._named_errors(key):
            await self._client.delete_object(**self._place(key))

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix
        )
        with self._named_errors(prefix):
            async for page in pages:
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(self._bucket.prefix)

    async def _put_parts(self, key: str, parts: AsyncIterator[bytes]) -> int:
        place = self._place(key)
        with self._named_errors(key):
            upload = (await self._client.create_multipart_upload(**place))["UploadId"]
        try:
            sent: list[dict[str, Any]] = []
            size = 0
            async for part in parts:
                number = len(sent) + 1
                with self._named_errors(key):
                    answer = await self._client.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)
                sent.append({"PartNumber": number, "ETag": answer["ETag"]})
                size += len(part)
            with self._named_errors(key):
                await self._client.complete_multipart_upload(
                    **place, UploadId=upload, MultipartUpload={"Parts": sent}, IfNoneMatch="*"
                )
        except BaseException:
            with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                await self._client.abort_multipart_upload(**place, UploadId=upload)
            raise
        return size

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._bucket.prefix + check_key(key)}

    @contextlib.contextmanager
    def _named_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except botocore.exceptions.ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in _GONE:
                raise BlobMissing(f"there is no object {key} in {self}, or not so much of it") from error
            if code in _THERE:
                raise BlobExists(f"there is an object {key} in {self} already") from error
            raise BlobsUnavailable(f"{self} refused: {code} {message}") from error
        except (botocore.exceptions.BotoCoreError, OSError, TimeoutError) as error:
            raise BlobsUnavailable(f"{self} does not answer: {error}") from error


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
