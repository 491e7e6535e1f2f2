"""The log as readers see it: one sequence a build, of lines and events, under one cursor.

A cursor numbers the *entries* of a build from 1: a line of output is one entry, an event is one entry. It means the
same while the build runs, after a restart and in history.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

LINES = "lines"
END = "end"


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Entries [first, last] as they are stored: a zstd frame of output, or one event (`first == last`).

    `kind` is `lines` or the event's name: `build_starting`, `build_running`, `job_started`, `container_started`,
    `step_started`, `step_stopped`, `job_stopped`, `cancel_requested`, `gap`, and as the very last `end`, which seals.
    """

    first: int
    last: int
    kind: str
    at: datetime
    job: str | None = None
    step: int | None = None
    frame: bytes | None = None
    data: dict[str, Any] | None = None


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
