"""How an answer is packed on its way, as its reader's `Accept-Encoding` asks. Source: RFC 9110, 12.5.3."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Literal, Protocol

import zstandard
from aiohttp import web

Coding = Literal["zstd", "gzip", "identity"]

CODINGS: tuple[Coding, ...] = ("zstd", "gzip", "identity")
"""The better one first, for readers that like several as much."""

SMALL = 1 << 10
"""Bytes that are not worth packing."""

LARGE = 64 << 10
"""Bytes that are packed beside the event loop."""

VARY = "Accept, Accept-Encoding"

_PART = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)(?:\s*;\s*q=([01](?:\.[0-9]{0,3})?))?", re.IGNORECASE)


def accepted(request: web.Request) -> Coding:
    """The coding that the reader likes best; identity where it names none of ours. Raises 406 where it forbids all."""
    likes: dict[str, float] = {}
    for part in ",".join(request.headers.getall("Accept-Encoding", ())).split(","):
        if found := _PART.fullmatch(part.strip()):
            likes[found[1].lower()] = min(1.0, float(found[2] or 1))
    others = likes.get("*", 0.0)
    packed = {coding: likes.get(coding, others) for coding in CODINGS}
    if "identity" not in likes:
        packed["identity"] = 0.001 if others or "*" not in likes else 0.0  # allowed unless it is refused
    best = max(CODINGS, key=lambda coding: packed[coding])
    if not packed[best]:
        raise web.HTTPNotAcceptable
    return best


class Packer(Protocol):
    """Packs what is written, piece by piece."""

    def pack(self, piece: bytes) -> bytes:
        """The piece, to be read at once: nothing of it waits for the next one."""

    def finish(self) -> bytes:
        """What ends the answer."""


def packer(coding: Coding) -> Packer:
    if coding == "zstd":
        return _Zstd()
    return _Gzip() if coding == "gzip" else _Identity()


async def pack(packer: Packer, piece: bytes) -> bytes:
    """Pack beside the event loop what would hold it up."""
    if len(piece) < LARGE or isinstance(packer, _Identity):
        return packer.pack(piece)
    return await asyncio.to_thread(packer.pack, piece)


async def packed(response: web.Response, coding: Coding) -> web.Response:
    """The answer with its body packed, where it is worth it."""
    response.headers["Vary"] = VARY
    body = response.body
    if coding != "identity" and isinstance(body, bytes) and len(body) >= SMALL:
        packing = packer(coding)
        response.body = await pack(packing, body) + packing.finish()
        response.headers["Content-Encoding"] = coding
    return response


def stream(content_type: str, coding: Coding, **headers: str) -> web.StreamResponse:
    """The head of a streamed answer."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Vary": VARY, **headers})
    if coding != "identity":
        response.headers["Content-Encoding"] = coding
    return response


class _Identity:
    def pack(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Gzip:
    def __init__(self) -> None:
        self._packing = zlib.compressobj(1, zlib.DEFLATED, 31)

    def pack(self, piece: bytes) -> bytes:
        return self._packing.compress(piece) + self._packing.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._packing.flush()


class _Zstd:
    def __init__(self) -> None:
        self._packing = zstandard.ZstdCompressor(1).compressobj()

    def pack(self, piece: bytes) -> bytes:
        return self._packing.compress(piece) + self._packing.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._packing.flush()
