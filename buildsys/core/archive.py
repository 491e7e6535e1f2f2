"""A whole log as one object: the stored frames as they are, and behind them an index.

    frames     the zstd frames of all lines, one after the other: `zstd -dc` of the object prints what the build printed
    pages      the records, some hundred a page: what each says, and where its frame is
    root       the pages: where each begins in the log and in the object
    trailer    how long the root is

Pages, root and trailer are skippable frames of the zstd format (RFC 8878, 3.1.2), so that the whole is a valid file of
it. With the root at hand, which is kept beside the object, any stretch of the log takes two reads: a page, and the
stretch's frames.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any
from uuid import UUID

import msgspec
import zstandard

from buildsys.core.assignment import FRAME_LIMIT, Moment
from buildsys.core.logs import LogRecord
from buildsys.errors import BuildsysError

SKIPPABLE = 0x184D2A50
"""The first of the sixteen magic numbers of skippable frames."""

PAGE_RECORDS = 512
PAGE_BYTES = 1 << 20
"""A page is full with so many records or, before compression, so many bytes: events may carry up to 64 KiB."""

PAGE_LIMIT = 64 << 20
"""Bytes that no page comes near: whatever claims to be larger was not written by us."""

_header = struct.Struct("<II")
_length = struct.Struct("<Q")
_array = struct.Struct(">BI")  # the head of a msgpack array
_compressor = zstandard.ZstdCompressor(write_checksum=True)

_UNREADABLE = (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)

TRAILER = _header.size + _length.size


Cursor = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class BadArchive(BuildsysError):
    """An archived log that is not what was written."""

    code = "bad_archive"


class Page(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A page of the index: the first entry it knows of, and the bytes in the object where it stands."""

    first: Cursor
    offset: Offset
    length: Annotated[int, msgspec.Meta(ge=0, le=PAGE_LIMIT)]


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """All that a reader needs to begin."""

    build: UUID
    last: Cursor
    pages: tuple[Page, ...]

    def pages_behind(self, cursor: int) -> Sequence[Page]:
        """The pages that know of entries behind a cursor."""
        begin = bisect_right(self.pages, cursor + 1, key=lambda page: page.first) - 1
        return self.pages[max(begin, 0) :] if cursor < self.last else ()


class Place(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A record without its frame, and where that stands in the object."""

    first: Cursor
    last: Cursor
    kind: str
    at: Moment
    job: str | None
    step: int | None
    source: tuple[Offset, Offset] | None
    size: int
    data: dict[str, Any] | None
    mac: bytes
    offset: Offset
    length: Annotated[int, msgspec.Meta(ge=0, le=FRAME_LIMIT)] | None

    def record(self, frame: bytes | None) -> LogRecord:
        """The record as it was stored in the database."""
        return LogRecord(
            first=self.first,
            last=self.last,
            kind=self.kind,
            at=self.at,
            job=self.job,
            step=self.step,
            source=self.source,
            size=self.size,
            data=self.data,
            mac=self.mac,
            frame=frame,
        )


_decode_places = msgspec.msgpack.Decoder(Annotated[list[Place], msgspec.Meta(max_length=PAGE_RECORDS)]).decode


class ArchiveWriter:
    """Makes the object piece by piece: what `add` and `finish` return, joined, is all of it."""

    def __init__(self, build: UUID) -> None:
        self._build = build
        self._offset = 0
        self._last = 0
        self._places: list[bytes] = []
        self._first = 1
        self._size = 0
        self._pages: list[tuple[int, bytes]] = []

    def add(self, record: LogRecord) -> bytes:
        """The next record of the log; the bytes to write for it now."""
        if not self._places:
            self._first = record.first
        place = Place(
            first=record.first,
            last=record.last,
            kind=record.kind,
            at=record.at,
            job=record.job,
            step=record.step,
            source=record.source,
            size=record.size,
            data=record.data,
            mac=record.mac,
            offset=self._offset,
            length=None if record.frame is None else len(record.frame),
        )
        encoded = msgspec.msgpack.encode(place)
        self._places.append(encoded)
        self._size += len(encoded)
        self._last = record.last
        self._offset += len(record.frame or b"")
        if len(self._places) >= PAGE_RECORDS or self._size >= PAGE_BYTES:
            self._close_page()
        return record.frame or b""

    def finish(self) -> tuple[bytes, Root]:
        """The rest of the object, and its root to keep beside it."""
        if self._places:
            self._close_page()
        pages: list[Page] = []
        rest = bytearray()
        for first, page in self._pages:
            pages.append(Page(first=first, offset=self._offset + len(rest), length=len(page)))
            rest += page
        root = Root(build=self._build, last=self._last, pages=tuple(pages))
        return bytes(rest) + foot(root), root

    def _close_page(self) -> None:
        packed = _compressor.compress(_array.pack(0xDD, len(self._places)) + b"".join(self._places))
        self._pages.append((self._first, _skippable(packed)))
        self._places.clear()
        self._size = 0


def foot(root: Root) -> bytes:
    """The last bytes of the object that has this root: the root itself, and the trailer."""
    framed = _skippable(msgspec.msgpack.encode(root))
    return framed + _skippable(_length.pack(len(framed)))


def read_page(data: bytes) -> list[Place]:
    """The places of a page, one behind the other. Raises `BadArchive`."""
    packed = _payload(data)
    try:
        if zstandard.frame_content_size(packed) > PAGE_LIMIT:
            raise BadArchive("a page of an archived log's index claims to be larger than any")
        places: list[Place] = _decode_places(
            zstandard.ZstdDecompressor().decompress(packed, max_output_size=PAGE_LIMIT)
        )
    except _UNREADABLE as error:
        raise BadArchive(f"a page of an archived log's index does not open: {error}") from error
    for before, after in pairwise(places):
        if after.first <= before.first or after.offset != before.offset + (before.length or 0):
            raise BadArchive(f"in an archived log's index entry {after.first} is not behind entry {before.first}")
    return places


def read_trailer(data: bytes) -> int:
    """How many bytes the root takes, which stands right before the trailer, the object's last `TRAILER` bytes."""
    try:
        return int(_length.unpack(_payload(data))[0])
    except struct.error:
        raise BadArchive("the object does not end as an archived log") from None


def read_root(data: bytes) -> Root:
    """The root as it stands in the object. Raises `BadArchive`."""
    return decode_root(_payload(data))


def decode_root(data: bytes) -> Root:
    """The root as it stands beside the object. Raises `BadArchive`."""
    try:
        return msgspec.msgpack.decode(data, type=Root)
    except _UNREADABLE as error:
        raise BadArchive(f"the root of an archived log does not open: {error}") from error


def records(places: Sequence[Place], frames: bytes) -> list[LogRecord]:
    """The records of neighbouring places, from the bytes between the first one's frame and the last one's end.

    Raises `BadArchive` where the bytes are too few.
    """
    base = places[0].offset if places else 0
    found: list[LogRecord] = []
    for place in places:
        start, length = place.offset - base, place.length
        frame = None if length is None else frames[start : start + length]
        if frame is not None and len(frame) != length:
            raise BadArchive(f"the archived log ends before the frame of entry {place.first}")
        found.append(place.record(frame))
    return found


def span(places: Sequence[Place]) -> tuple[int, int]:
    """Where the frames of neighbouring places begin in the object, and how many bytes they take."""
    if not places:
        return 0, 0
    end = places[-1].offset + (places[-1].length or 0)
    return places[0].offset, end - places[0].offset


def _skippable(payload: bytes) -> bytes:
    return _header.pack(SKIPPABLE, len(payload)) + payload


def _payload(data: bytes) -> bytes:
    if len(data) < _header.size or _header.unpack_from(data) != (SKIPPABLE, len(data) - _header.size):
        raise BadArchive("a part of an archived log is not where its index says")
    return data[_header.size :]
