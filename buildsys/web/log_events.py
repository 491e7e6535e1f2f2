"""Records as readers get them: bytes as they were printed, entries, or server-sent events.

An entry of a `lines` record is a line, an unterminated last line included, so the line at index i has the cursor
`first + i`.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from buildsys.core.logs import END, GAP, LINES, TRUNCATED, LogEntry, LogRecord, unfold


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are asked for; the end always is, as nothing comes after it.

    `since` and `until` are compared with the time of a record, when the runner read its first line: [since, until).
    Lines have no times of their own, so that a record is there as a whole or not at all.
    """

    job: str | None = None
    step: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def admits(self, record: LogRecord | Event) -> bool:
        return record.kind == END or (
            self.job in (None, record.job)
            and self.step in (None, record.step)
            and (self.since is None or record.at >= self.since)
            and (self.until is None or record.at < self.until)
        )


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The entries [first, last] of a record."""

    record: LogRecord
    first: int
    last: int

    @property
    def printed(self) -> bytes:
        """The bytes of its lines, exactly as they were printed."""
        printed = unfold(self.record)
        if self.first > self.record.first:
            printed = printed.split(b"\n", self.first - self.record.first)[-1]
        if self.last < self.record.last:
            rest = printed.split(b"\n", self.last - self.first + 1)[-1]
            printed = printed[: len(printed) - len(rest)]
        return printed

    @property
    def lines(self) -> tuple[list[str], bool]:
        """Its lines without their newlines, bytes that are not UTF-8 replaced; True: the last one had no newline."""
        *lines, rest = self.printed.decode("utf-8", "replace").split("\n")
        return ([*lines, rest], True) if rest else (lines, False)

    @property
    def size(self) -> int:
        """About how many bytes it stands for."""
        data = self.record.data
        return 256 + self.record.size + (0 if data is None else len(msgspec.json.encode(data)))


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A server-sent event, encoded: what stands in a record behind some cursor, up to `last`."""

    last: int
    kind: str
    at: datetime
    job: str | None
    step: int | None
    encoded: bytes


def breaks_line(record: LogRecord) -> bool:
    """Whether what the step prints next goes on with no line before it, as something between is missing."""
    return record.kind in (GAP, TRUNCATED, "step_stopped")


def behind(record: LogRecord, cursor: int, *, size: int | None = None) -> Piece:
    """What of the record is behind the cursor, at most `size` entries."""
    first = max(record.first, cursor + 1)
    return Piece(record=record, first=first, last=record.last if size is None else min(record.last, first + size - 1))


def entries(piece: Piece) -> list[LogEntry]:
    """The piece's entries one by one."""
    record = piece.record
    if record.kind != LINES:
        return [
            LogEntry(
                cursor=record.first, kind=record.kind, at=record.at, job=record.job, step=record.step, data=record.data
            )
        ]
    lines, partial = piece.lines
    return [
        LogEntry(
            cursor=cursor,
            kind=LINES,
            at=record.at,
            job=record.job,
            step=record.step,
            text=text,
            partial=partial and cursor == piece.last,
        )
        for cursor, text in enumerate(lines, piece.first)
    ]


def event(piece: Piece) -> Event:
    """The piece as one event of the WHATWG's server-sent events; JSON has no newlines that could end it early."""
    record = piece.record
    place = {"at": record.at, "job": record.job, "step": record.step}
    if record.kind == LINES:
        lines, partial = piece.lines
        data = {"first": piece.first, "last": piece.last, **place, "lines": lines} | (
            {"partial": True} if partial else {}
        )
    else:
        data = {**(record.data or {}), "cursor": record.first, **place}
    encoded = b"id: %d\nevent: %s\ndata: %s\n\n" % (piece.last, record.kind.encode(), msgspec.json.encode(data))
    return Event(last=piece.last, kind=record.kind, at=record.at, job=record.job, step=record.step, encoded=encoded)
