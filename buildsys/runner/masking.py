"""Secrets out of the log: wherever a form of one is printed, there is `***`.

What is masked depends on the bytes that a job prints and on nothing else: not on how they arrive, where batches end, or
whether the runner was started again. It is every byte of every occurrence of every form of a secret, and the value of
`::add-mask::VALUE`, which is a secret from the end of its line on. Occurrences that overlap become one mask; only one
that goes on for more than 16 KiB is followed by another.

A secret may have any length: one of one to three bytes blanks much of a log, but somebody asked for that. A blank one
is none. What is masked of lines and encodings is told in `buildsys.runner.forms`.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable

from buildsys.core.commands import unescape
from buildsys.runner.commands import ADD_MASK, Command, CommandReader
from buildsys.runner.folder import SETUP
from buildsys.runner.forms import SHORTEST, forms, join
from buildsys.runner.patterns import LATEST, STRIDE, Place
from buildsys.runner.sought import REACH, Sought

MASK = b"***"

PART = STRIDE // 4
"""A mask of at least as many bytes ends at a multiple of it, so that a log of nothing but a secret can be cut, too."""

MOST_ADDED = 1000
MOST_ADDED_BYTES = 64 << 10
"""How many values, and bytes of them, a job may add. It is hostile: in all forms, this much may take 160 MB."""


class Masks:
    """The secrets of a job: those that it was given, and those that its steps added.

    `known` are the steps whose commands have all been read. `closed` is the place where a job added more secrets than
    are kept: from there on all of its log is masked.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self.sought = Sought()
        self.known = {SETUP}
        self.closed: Place | None = None
        self._turns = {SETUP: 0}
        self._added: dict[bytes, Place] = {}
        self._added_bytes = 0
        self.sought.add(join(forms(secret.encode()) for secret in secrets), since=(SETUP, 0))

    def add(self, value: bytes | None, *, since: Place) -> None:
        """Mask a value from a place on. One that is None was too long to be kept."""
        if value is None or (value not in self._added and not self._has_room(value)):
            self.closed = min(since, self.closed or since)
        elif since < self._added.get(value, LATEST):
            self._added_bytes += len(value) if value not in self._added else 0
            self._added[value] = since
            self.sought.add(forms(value), since=since)

    def turn(self, step: int) -> int:
        """Which of the job's steps it is, in the order in which they are asked for: that of time, not of numbers."""
        return self._turns.setdefault(step, len(self._turns))

    def mask(self, text: str) -> str:
        """A text of the runner's own, without what is a secret by now."""
        data = text.encode(errors="replace")
        found, end = self.sought.find(data, place=LATEST)
        masked = Masked(data, first=0, runs=_runs(found, first=0, offset=0), held=end)
        return masked.text(end).decode(errors="replace")

    def _has_room(self, value: bytes) -> bool:
        return len(self._added) < MOST_ADDED and self._added_bytes + len(value) <= MOST_ADDED_BYTES


class StepMask:
    """The output of one step, masked. It is given to `learn` as it comes, and to `look` until it is released.

    `offset` is how far it was released, `learned` how far its commands were read.
    """

    def __init__(self, masks: Masks, *, step: int, offset: int = 0) -> None:
        self.step = step
        self._turn = masks.turn(step)
        self.offset = offset
        self.learned = offset
        self._masks = masks
        self._reader = CommandReader(position=offset)
        self._values: list[tuple[int, int]] = []
        self._behind = b""

    @property
    def is_closed(self) -> bool:
        """Whether all of the output is masked from some place on."""
        return self._masks.closed is not None and self._masks.closed[0] <= self._turn

    @property
    def is_in_command(self) -> bool:
        """Whether the output that was learned ends within a command."""
        return self._reader.open is not None

    def learn(self, data: bytes) -> None:
        """Read the commands in the next bytes. In the set-up there are none."""
        self.learned += len(data)
        if self.step != SETUP:
            self._add(self._reader.read(data))

    def end(self) -> None:
        """All of the output was learned."""
        self._add(self._reader.end())
        self._masks.known.add(self.step)

    def look(self, data: bytes | memoryview, *, complete: bool, patient: bool) -> Masked:
        """What is known of the output behind `offset`, learned already, as it may be shown.

        An end that may be the beginning of a secret is held back unless nothing comes behind it: the output is
        `complete`, or it is one of less than four bytes and nobody is `patient`.
        """
        text = self._behind + data
        first = len(self._behind)
        offset = self.offset - first
        beyond = len(text) + (not complete)
        found, searched = self._masks.sought.find(text, place=(self._turn, offset))
        found += [(start - offset, end - offset) for start, end in self._values]
        if (command := self._reader.open) is not None and command.name == ADD_MASK:
            found.append((command.start - offset, beyond))
        if (closed := self._masks.closed) is not None and closed[0] <= self._turn:
            found.append((closed[1] - offset if closed[0] == self._turn else 0, beyond))
        begun = 0 if complete else self._masks.sought.begun(text, least=1 if patient else SHORTEST)
        held = min(searched, len(text) - begun)
        return Masked(text, first=first, runs=_runs(found, first=first, offset=offset), held=held)

    def release(self, data: bytes | memoryview) -> None:
        """These next bytes are out; only a secret's beginning may be wanted of them again."""
        self.offset += len(data)
        self._behind = (self._behind + data[1 - REACH :])[1 - REACH :]
        self._values = [value for value in self._values if value[1] > self.offset]

    def _add(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if command.name == ADD_MASK:
                self._values.append((command.start, command.end))
                value = unescape(command.value) if command.is_whole else None
                self._masks.add(value, since=(self._turn, command.end))


class Masked:
    """Output with the runs of it that are masked, and how much of it is held back."""

    def __init__(self, text: bytes, *, first: int, runs: list[tuple[int, int]], held: int) -> None:
        self._text = text
        self._first = first
        self._runs = runs
        self._held = held

    def cut(self, at: int) -> int:
        """The last place up to `at` where it can be parted."""
        cut = min(self._first + at, self._held)
        before = bisect(self._runs, (cut,)) - 1
        if before >= 0 and cut < self._runs[before][1]:
            cut = self._runs[before][0]
        return max(cut - self._first, 0)

    def text(self, cut: int) -> bytes:
        """What there is to show up to a place where it can be parted."""
        pieces: list[bytes] = []
        done, end = self._first, self._first + cut
        for start, stop in self._runs[: bisect(self._runs, (end,))]:
            pieces += [self._text[done:start], MASK]
            done = stop
        return b"".join([*pieces, self._text[done:end]])


def _runs(found: Iterable[tuple[int, int]], *, first: int, offset: int) -> list[tuple[int, int]]:
    """The ranges behind `first`, without overlaps, in parts that are not too long, in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    runs: list[tuple[int, int]] = []
    for start, end in joined:
        while start < end:
            part = min(end, -(-(start + PART + offset) // PART) * PART - offset)
            if part > first:
                runs.append((max(start, first), part))
            start = part
    return runs
