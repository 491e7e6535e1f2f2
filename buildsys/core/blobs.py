"""Where large things lie that nobody changes: a folder, or a bucket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

import msgspec

from buildsys.errors import Conflict, NotFound, Unavailable

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_./-]{0,511}")


class BlobMissing(NotFound):
    """There is no object of this key, or not so much of it."""

    code = "blob_missing"


class BlobExists(Conflict):
    """There is an object of this key already; none is ever replaced."""

    code = "blob_exists"


class BlobsUnavailable(Unavailable):
    """The store refused or did not answer; the message names it and the way out, and holds no credential."""

    code = "blobs_unavailable"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is there, and when it was made, by the store's clock."""

    key: str
    made_at: datetime


class Blobs(Protocol):
    """Objects by key. A key is a relative path of ASCII letters, digits, `-`, `_` and `.`.

    An object is there whole or not at all, and never changes. Each method raises `BlobsUnavailable`.
    """

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Store what the pieces make together, on disk before this returns; how many bytes it is.

        Keeps a few MiB in memory, however large the object is. Raises `BlobExists`, which may be this very attempt's
        doing where the store's answer was lost; whatever the pieces raise ends the attempt, of which nothing stays.
        """
        ...

    async def read(self, key: str, start: int, length: int) -> bytes:
        """So many bytes from `start` on. Raises `BlobMissing`, also where the object ends before."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already."""
        ...

    def objects(self, prefix: str) -> AsyncIterator[Blob]:
        """The objects whose keys begin so, in no order; among them what others have put there, by whatever name."""
        ...


def check_key(key: str) -> str:
    """The key. Raises `ValueError` for one that could mean another place than its own."""
    if not _KEY.fullmatch(key) or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{key!r} is no key of an object")
    return key
