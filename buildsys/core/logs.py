"""The log as readers see it: one sequence a build, of lines and events, under one cursor.

A cursor numbers the *entries* of a build from 1: a line of output is one entry, an event is one entry. It means the
same while the build runs, after a restart and in history.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
import zstandard

from buildsys.core.assignment import FRAME_LIMIT
from buildsys.core.commands import LogCommand
from buildsys.errors import BuildsysError

LINES = "lines"
STEP_STARTED = "step_started"
STEP_STOPPED = "step_stopped"
GAP = "gap"
TRUNCATED = "truncated"
END = "end"


READ = 1 << 20
"""Bytes, of frames and of what events carry, after which a read of a log ends."""


class LogChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be appended: a frame of `lines` lines and `size` bytes, or one event. It has no place yet.

    `commands` are those among the lines; each becomes an event behind them.
    """

    kind: str
    at: datetime
    job: str | None = None
    step: int | None = None
    source: tuple[int, int] | None = None
    frame: bytes | None = None
    lines: int = 1
    size: int = 0
    commands: tuple[LogCommand, ...] = ()
    data: dict[str, Any] | None = None


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Entries [first, last] as they are stored: a zstd frame of output, or one event (`first == last`).

    `kind` is `lines` or the event's name: `build_starting`, `build_running`, `job_planned` (a combination of a matrix,
    or a job of a called workflow), `job_skipped`, `job_started`, `container_started`, `step_started`, `step_stopped`,
    `job_stopped`, `job_cancel_requested`, `cancel_requested`, `time_limit`; `gap` where output is lost,
    `truncated` where a limit cut it; `group_started`, `group_ended` and `annotation`, each with the cursor of its
    `line`; and as the very last `end`, which seals. `source` are the raw bytes of the step's output that the frame
    stands for, `size` the bytes that it unfolds to. `mac` is the record's link in the chain.
    """

    first: int
    last: int
    kind: str
    at: datetime
    job: str | None = None
    step: int | None = None
    source: tuple[int, int] | None = None
    frame: bytes | None = None
    size: int = 0
    data: dict[str, Any] | None = None
    mac: bytes = b""


class LogReader(Protocol):
    """Logs, wherever they are."""

    async def read(self, build: UUID, *, after: int, size: int = 64) -> list[LogRecord]:
        """At most `size` records holding entries behind the cursor `after`; the first may begin before it.

        Ends with the record that makes them `READ` bytes or more, so that it never holds much more than that. None
        only at the log's end.
        """
        ...

    async def last(self, build: UUID) -> int:
        """The cursor of the last entry; 0 where there is none."""
        ...


class BadFrame(BuildsysError):
    """A stored frame that does not open, or unfolds to more than any runner sends."""

    code = "bad_frame"


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry as JSON readers get it. `text` has no newline; `partial` says that none was printed (yet)."""

    cursor: int
    kind: str
    at: datetime
    job: str | None = None
    step: int | None = None
    text: str | None = None
    partial: bool = False
    data: dict[str, Any] | None = None


def unfold(record: LogRecord) -> bytes:
    """The bytes that the record's lines were printed as; none for an event. Raises `BadFrame`."""
    if record.frame is None:
        return b""
    try:
        if zstandard.frame_content_size(record.frame) > FRAME_LIMIT:
            raise BadFrame(f"the frame at entry {record.first} unfolds to more than {FRAME_LIMIT} bytes")
        return zstandard.ZstdDecompressor().decompress(record.frame, max_output_size=FRAME_LIMIT)
    except zstandard.ZstdError as error:
        raise BadFrame(f"the frame at entry {record.first} does not open: {error}") from error
