"""A step's log, read as it grows and cut into batches.

A batch goes out at once after quiet, else 250 ms after its first byte or at 64 KiB, whatever comes first; under a flood
it takes what has gathered, up to 1 MiB. It ends at a line's end, unless its only line stayed open for a second or is
longer than 64 KiB; then it ends at a character's end. It never ends within a secret, nor within what may become one:
the beginning of a secret waits for what follows it, one of less than four bytes for no more than a second. At most one
batch of bytes is in memory; what is not yet released stays in the file.

A step can change or remove its own log. That is noticed where what was read of it last is not there any more, and where
it does not end as the step's init ended it; then `lost` says so.

At its limit a log is cut: one last batch says so, and nothing of the step comes behind it. What could be the beginning
of a secret that is parted by the limit is not in it.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

import zstandard

from buildsys.core.assignment import LogBatch
from buildsys.runner.commands import LogCommands
from buildsys.runner.folder import SETUP, JobFolder, Notes
from buildsys.runner.forms import LONGEST
from buildsys.runner.masking import Masked, StepMask

BATCH = 64 << 10
FLOOD = 1 << 20
QUIET = 0.25
OPEN_LINE = 1.0
PATIENCE = 1.0
BLOCK = 512
SEEN = 32
"""Bytes that were read last, which are looked at again."""

BEHIND = 256
"""Bytes behind a limit that are looked at: whether the log ends there, with marker and nonce, or is cut."""


class LogFollower:
    """One step's log from where its mask stands. `take` and `finish` give the next batch; nothing is given twice.

    While the step runs, nothing from its marker on is released, nor bytes that may be a part of it. Once it has a
    status, that says where its log ends, and all before that place is output: markers that the step itself printed,
    too. Where the job added more secrets than are kept, a last line says that not all is shown; for it to have a batch
    to go with, the last byte is held back until the end. So it is for a command whose line is not ended.

    `log_limit` is what a build may print; how much of it is left is told by `allow`. The set-up has no limit.
    """

    def __init__(
        self, *, folder: JobFolder, mask: StepMask, commands: LogCommands, log_limit: int, is_cut: bool = False
    ) -> None:
        self.step = mask.step
        self.is_cut = is_cut
        self.lost: str | None = None
        self._folder = folder
        self._mask = mask
        self._commands = commands
        self._marker = folder.marker if mask.step != SETUP else b""
        self._log_limit = log_limit
        self._written = kept(log_limit) if mask.step != SETUP else sys.maxsize
        self._limit = self._written
        self._file: int | None = None
        self._data = bytearray()
        self._seen = b""
        self._held: int | None = None
        self._first = self._last = 0.0
        self._at = datetime.now(UTC)
        self._released = float("-inf")

    @property
    def offset(self) -> int:
        """How far the raw log was released."""
        return self._mask.offset

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def allow(self, left: int) -> None:
        """From here on the build may print so many bytes."""
        self._limit = min(self.offset + left, self._written)

    def take(self, *, eager: bool = False) -> LogBatch | None:
        """The next batch if it is due; when `eager`, whatever lines are there."""
        if self.is_cut:
            return None
        now = time.monotonic()
        self._read(now)
        room, available = self._limit - self.offset, self._available()
        if available > room or (available == room and self._is_over_limit()):
            return self._cut(room, now)
        lines = self._data.rfind(b"\n", 0, available) + 1
        if not eager and not self._is_due(now, available, ends_line=lines == available):
            return None
        masked = self._look(available, patient=now - self._last < PATIENCE)
        cut = masked.cut(lines)
        if cut == 0 and (now - self._first >= OPEN_LINE or available >= BATCH):
            available -= self._mask.is_in_command
            cut = masked.cut(_whole_characters(self._data, available) or available)
        return self._release(masked.text(cut), cut, now)

    def finish(self) -> LogBatch | None:
        """The next batch of a log that has ended; None when all of it was given."""
        if self.is_cut:
            return None
        now = time.monotonic()
        if (notes := self._folder.notes(self.step)) is not None and self.offset >= notes.at:
            return self._finish_notes(notes, now)
        self._read(now)
        end = self._folder.log_end(self.step) or b""
        found = self._data.find(end) if end else -1
        known = found if found >= 0 else len(self._data)
        complete = found >= 0 or known < FLOOD
        room = self._limit - self.offset
        if known > room or (complete and found < 0 and self._is_over_limit()):
            return self._cut(min(known, room), now)
        if complete and end and found < 0:
            self.lost = self.lost or "the step's log does not end where the step did: something replaced or cut it"
        if not complete:
            known -= len(end)
        masked = self._look(known, complete=complete)
        if complete and masked.cut(known) == known:
            return self._release(self._noted(masked.text(known)), known, now, complete=True)
        cut = masked.cut(self._data.rfind(b"\n", 0, known) + 1) or masked.cut(known)
        return self._release(masked.text(cut), cut, now)

    def _finish_notes(self, notes: Notes, now: float) -> LogBatch | None:
        """What the runner itself has to say of the step, as if it stood where the log ends."""
        self._data[:] = notes.text.encode()[self.offset - notes.at :]
        self._held = None
        length, room = len(self._data), self._limit - self.offset
        if length > room:
            return self._cut(room, now)
        masked = self._look(length, complete=True)
        return self._release(masked.text(length), length, now, complete=True)

    def _cut(self, length: int, now: float) -> LogBatch | None:
        """The next batch of a log that ends with its limit, `length` bytes from here, and in the last one a note."""
        masked = self._look(length)
        cut = masked.cut(length)
        if 0 < cut < length - LONGEST:
            return self._release(masked.text(cut), cut, now)
        self.is_cut = True
        self._mask.end()
        text = self._noted(masked.text(cut))
        return self._release(text, length, now, complete=True)

    def _read(self, now: float) -> None:
        known = self.offset + len(self._data)
        if self._file is None:
            self._open(known)
        room = min(FLOOD - len(self._data), self._limit + BEHIND - known, self._written - known)
        if self._file is None or room <= 0:
            return
        again = os.pread(self._file, len(self._seen) + room, known - len(self._seen))
        if not again.startswith(self._seen):
            self.lost = f"the step's log was changed before byte {known}, up to where it was read"
        data = again[len(self._seen) :]
        if not data:
            return
        self._seen = again[-SEEN:]
        if not self._data:
            self._first, self._at = now, datetime.now(UTC)
        self._last = now
        searched = max(len(self._data) - len(self._marker), 0)
        self._data += data
        if self._marker and self._held is None and (found := self._data.find(self._marker, searched)) >= 0:
            self._held = found

    def _open(self, known: int) -> None:
        self._file = self._folder.open_log(self.step)
        least = min(known, SEEN)
        self._seen = os.pread(self._file, least, known - least) if self._file is not None else b""
        if len(self._seen) < least:
            self.lost = f"the step's log was read up to byte {known}, and is not that long any more"

    def _available(self) -> int:
        """How many bytes may go out while the step may still print."""
        if self._held is not None:
            return self._held
        available = len(self._data)
        for length in range(min(len(self._marker) - 1, available), 0, -1):
            if self._data.endswith(self._marker[:length]):
                available -= length
                break
        if self._mask.is_closed:
            available = min(available, len(self._data) - 1)
        return max(available, 0)

    def _is_due(self, now: float, available: int, *, ends_line: bool) -> bool:
        if available <= 0:
            return False
        after_quiet = now - self._released >= QUIET and ends_line
        return after_quiet or available >= BATCH or now - self._first >= QUIET

    def _look(self, length: int, *, complete: bool = False, patient: bool = True) -> Masked:
        """The first bytes of the data, masked."""
        self._mask.learn(bytes(memoryview(self._data)[self._mask.learned - self.offset : length]))
        if complete:
            self._mask.end()
        return self._mask.look(memoryview(self._data)[:length], complete=complete, patient=patient)

    def _noted(self, text: bytes) -> bytes:
        """The last of the output, and why it may not be all that there was to show."""
        notes: list[bytes] = []
        if self._mask.is_closed:
            notes.append(b"the job added more secrets than are kept; all that it printed from there on is masked")
        if self.is_cut:
            notes.append(b"the build's log limit of %d bytes was reached; the rest is not kept" % self._log_limit)
        if notes and not (text.endswith(b"\n") if text else self._begins_line()):
            text += b"\n"
        return text + b"".join(b"buildsys: " + note + b"\n" for note in notes)

    def _begins_line(self) -> bool:
        """Whether what is next in the log begins a line."""
        return self.offset == 0 or self._file is None or os.pread(self._file, 1, self.offset - 1) == b"\n"

    def _is_over_limit(self) -> bool:
        """Whether the log was cut where it was written, or is longer than that allows."""
        if self._file is None or self.step == SETUP:
            return False
        return os.fstat(self._file).st_size > self._written or self._folder.is_truncated(self.step)

    def _release(self, text: bytes, length: int, now: float, *, complete: bool = False) -> LogBatch | None:
        """A batch of the first bytes of the data, which are shown as `text`."""
        if length == 0 and not self.is_cut:
            return None
        batch = LogBatch(
            step=self.step,
            offset=self.offset,
            end=self.offset + length,
            lines=text.count(b"\n") + (not text.endswith(b"\n")),
            frame=zstandard.compress(text, 1),
            at=self._at,
            commands=self._commands.read(text, complete=complete) if self.step != SETUP else (),
            truncated=self.is_cut,
        )
        self._mask.release(memoryview(self._data)[:length])
        del self._data[:length]
        self._held = None if self._held is None else max(self._held - length, 0)
        self._first, self._released = now, now
        self._at = datetime.now(UTC) if self._data else self._at
        return batch


def kept(log_limit: int) -> int:
    """How many bytes of a log are kept at a limit, which counts in blocks."""
    return max(log_limit // BLOCK, 1) * BLOCK


def _whole_characters(data: bytearray, cut: int) -> int:
    """The last place up to `cut` that does not part a UTF-8 character."""
    for back in range(1, min(cut, 4) + 1):
        byte = data[cut - back]
        if byte & 0xC0 != 0x80:
            length = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return cut if back >= length else cut - back
    return cut
