"""Records as readers get them: bytes as they were printed, entries, or server-sent events.

An entry of a `lines` record is a line, an unterminated last line included, so the line at index i has the cursor
`first + i`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from buildsys.core.logs import END, GAP, LINES, TRUNCATED, LogEntry, LogRecord, unfold

TOGETHER = 10_000
"""Lines of an event: many are made as several, so that none of them holds up other threads."""

_SOME_LINES = re.compile(rb"(?:[^\n]*\n){0,%d}(?:[^\n]+\Z)?" % TOGETHER)


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
        end = None if self.last == self.record.last else _after(printed, self.last - self.record.first + 1)
        return printed[_after(printed, self.first - self.record.first) : end]

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
    lines, partial = _lines(piece.printed)
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


def events(piece: Piece) -> list[Event]:
    """The piece as events, of at most `TOGETHER` lines and an unterminated one each."""
    record = piece.record
    if record.kind != LINES:
        return [_event(record, record.first, {**(record.data or {}), "cursor": record.first})]
    found, first = list[Event](), piece.first
    for some in _SOME_LINES.finditer(piece.printed):
        if some[0]:
            lines, partial = _lines(some[0])
            last = first + len(lines) - 1
            data = {"first": first, "last": last, "lines": lines} | ({"partial": True} if partial else {})
            found.append(_event(record, last, data))
            first = last + 1
    return found


def _event(record: LogRecord, last: int, data: dict[str, Any]) -> Event:
    """One of the WHATWG's server-sent events; JSON has no newlines that could end it early."""
    data |= {"at": record.at, "job": record.job, "step": record.step}
    encoded = b"id: %d\nevent: %s\ndata: %s\n\n" % (last, record.kind.encode(), msgspec.json.encode(data))
    return Event(last=last, kind=record.kind, at=record.at, job=record.job, step=record.step, encoded=encoded)


def _lines(printed: bytes) -> tuple[list[str], bool]:
    """Lines without their newlines, bytes that are not UTF-8 replaced; True: the last one had no newline."""
    *lines, rest = printed.decode("utf-8", "replace").split("\n")
    return ([*lines, rest], True) if rest else (lines, False)


def _after(printed: bytes, lines: int) -> int:
    """Where the text goes on behind so many lines: halved and counted, as a million lines are not to be split."""
    begin, end = 0, len(printed) if lines else 0
    while end - begin > 1:
        middle = (begin + end) // 2
        counted = printed.count(b"\n", begin, middle)
        if counted < lines:
            begin, lines = middle, lines - counted
        else:
            end = middle
    return end
