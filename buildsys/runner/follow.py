"""A step's log, read as it grows and cut into batches.

A batch goes out at once after quiet, else 250 ms after its first byte or at 64 KiB, whatever comes first; under a flood
it takes what has gathered, up to 1 MiB. It ends at a line's end, unless its only line stayed open for a second or is
longer than 64 KiB; then it ends at a character's end. At most one batch of bytes is in memory; what is not yet released
stays in the file.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import zstandard

from buildsys.core.assignment import LogBatch
from buildsys.runner.folder import SETUP, JobFolder
from buildsys.runner.masking import Masker

BATCH = 64 << 10
FLOOD = 1 << 20
QUIET = 0.25
OPEN_LINE = 1.0


class LogFollower:
    """One step's log from a raw offset on. `take` and `finish` give the next batch; nothing is given twice.

    While the step runs, nothing from its marker on is released, nor bytes that may be a part of it. Once it has a
    status, that says where its log ends, and all before that place is output: markers that the step itself printed,
    too. At the log's limit, behind which nothing is read, the last byte is held back until the end, so that the note
    about what was not kept has a batch to go with.
    """

    def __init__(self, *, folder: JobFolder, step: int, offset: int, masker: Masker, log_limit: int) -> None:
        self.step = step
        self.offset = offset
        self._folder = folder
        self._masker = masker
        self._marker = folder.marker if step != SETUP else b""
        self._limit = max(log_limit // 512, 1) * 512 if step != SETUP else None
        self._file: int | None = None
        self._data = bytearray()
        self._held: int | None = None
        self._first = 0.0
        self._at = datetime.now(UTC)
        self._released = float("-inf")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def take(self, *, eager: bool = False) -> LogBatch | None:
        """The next batch if it is due; when `eager`, whatever lines are there."""
        now = time.monotonic()
        self._read(now)
        available = self._available()
        cut = self._data.rfind(b"\n", 0, available) + 1
        if not eager and not self._is_due(now, available, ends_line=cut == available):
            return None
        if cut == 0 and (now - self._first >= OPEN_LINE or available >= BATCH):
            cut = _whole_characters(self._data, available) or available
        return self._release(cut, now)

    def finish(self) -> LogBatch | None:
        """The next batch of a log that has ended; None when all of it was given."""
        now = time.monotonic()
        self._read(now)
        end = self._folder.log_end(self.step)
        found = self._data.find(end) if end else -1
        if found >= 0:
            return self._release(found, now, complete=True)
        if len(self._data) < FLOOD:
            return self._release(len(self._data), now, complete=True, note=self._note())
        length = FLOOD - len(end or b"")
        return self._release(self._data.rfind(b"\n", 0, length) + 1 or length, now)

    def _read(self, now: float) -> None:
        if self._file is None:
            self._file = self._folder.open_log(self.step)
        known = self.offset + len(self._data)
        room = FLOOD - len(self._data)
        if self._limit is not None:
            room = min(room, self._limit - known)
        if self._file is None or room <= 0:
            return
        data = os.pread(self._file, room, known)
        if not data:
            return
        if not self._data:
            self._first, self._at = now, datetime.now(UTC)
        searched = max(len(self._data) - len(self._marker), 0)
        self._data += data
        if self._marker and self._held is None and (found := self._data.find(self._marker, searched)) >= 0:
            self._held = found

    def _available(self) -> int:
        """How many bytes may go out while the step may still print."""
        if self._held is not None:
            return self._held
        available = len(self._data)
        for length in range(min(len(self._marker) - 1, available), 0, -1):
            if self._data.endswith(self._marker[:length]):
                available -= length
                break
        if self._limit is not None:
            available = min(available, self._limit - 1 - self.offset)
        return max(available, 0)

    def _is_due(self, now: float, available: int, *, ends_line: bool) -> bool:
        if available <= 0:
            return False
        after_quiet = now - self._released >= QUIET and ends_line
        return after_quiet or available >= BATCH or now - self._first >= QUIET

    def _note(self) -> bytes:
        if self._limit is None or self._file is None:
            return b""
        if os.fstat(self._file).st_size <= self._limit and not self._folder.is_truncated(self.step):
            return b""
        return b"buildsys: the step's log limit of %d bytes was reached; the rest was not kept\n" % self._limit

    def _release(self, cut: int, now: float, *, complete: bool = False, note: bytes = b"") -> LogBatch | None:
        known = self._data[:cut] if complete else self._data
        safe = self._masker.safe_cut(known, cut, complete=complete)
        if safe == 0 and len(self._data) >= FLOOD:
            safe = cut
        if safe == 0:
            return None
        text = self._masker.mask(self._data[:safe])
        if note:
            text += (b"" if text.endswith(b"\n") else b"\n") + note
        batch = LogBatch(
            step=self.step,
            offset=self.offset,
            end=self.offset + safe,
            lines=text.count(b"\n") + (not text.endswith(b"\n")),
            frame=zstandard.compress(text, 1),
            at=self._at,
        )
        del self._data[:safe]
        self.offset += safe
        self._held = None if self._held is None else max(self._held - safe, 0)
        self._first, self._released = now, now
        self._at = datetime.now(UTC) if self._data else self._at
        return batch


def _whole_characters(data: bytearray, cut: int) -> int:
    """The last place up to `cut` that does not part a UTF-8 character."""
    for back in range(1, min(cut, 4) + 1):
        byte = data[cut - back]
        if byte & 0xC0 != 0x80:
            length = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return cut if back >= length else cut - back
    return cut
