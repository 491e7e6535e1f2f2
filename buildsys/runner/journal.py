"""What was decided about a job's steps, and what came of them, as a file of the runner's own.

A step is written down when it begins, before anything of it happens, and when it has ended, before that is reported.
So a runner that is started again decides nothing twice: not a condition, not a name, not what a step said to the next.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from buildsys.core.build import Outcome
from buildsys.core.definition import Action
from buildsys.core.git import Revision
from buildsys.runner.folder import Program

FIRST_WITHIN = 1001
"""The number of the first step within an action."""


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """A process; `outputs` it has whatever it says, `notes` are lines for the end of its log.

    `fetch` is what is to be fetched for it before it begins.
    """

    program: Program
    fetch: Revision | None = None
    outputs: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class Compose(msgspec.Struct, frozen=True, kw_only=True, tag="compose"):
    """The steps of an action that is at `path` in the workspace."""

    action: Action
    path: str
    inputs: dict[str, str]
    notes: tuple[str, ...] = ()


class Say(msgspec.Struct, frozen=True, kw_only=True, tag="say"):
    """Lines of the runner's own, and the end."""

    lines: tuple[str, ...]
    failed: bool = False
    outputs: dict[str, str] = {}


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """`key` is the step's place in the file: `3`, or `3.1` within the action that is step 3. `env` is its own.

    `until` is when its time is up, by this host's clock.
    """

    key: str
    number: int
    name: str
    work: Run | Compose | Say
    at: datetime
    parent: int | None = None
    env: dict[str, str] = {}
    until: datetime | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """`number` is None for a step within an action that was skipped: nobody is told of it.

    `env` and `paths` are for the steps behind it; `tolerated` is a failure that `continue-on-error` makes a success.
    """

    key: str
    number: int | None
    outcome: Outcome
    at: datetime
    tolerated: bool = False
    exit_code: int | None = None
    outputs: dict[str, str] = {}
    env: dict[str, str] = {}
    paths: tuple[str, ...] = ()
    summary: str | None = None


Entry = Begun | Ended
_DECODER = msgspec.json.Decoder(Begun | Ended)
_ENCODER = msgspec.json.Encoder()


class Journal:
    """The entries of one job, those of earlier lives first. What a crash left unfinished at the end is not one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: list[Entry] = []
        self.begun: dict[str, Begun] = {}
        self.ended: dict[str, Ended] = {}
        self._order: list[int] = []
        self._whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            if line.endswith(b"\n"):
                self._whole += len(line)
                self._add(_DECODER.decode(line))
        self._open = -1

    def append(self, entry: Entry) -> None:
        """Write an entry down."""
        if self._open < 0:
            self._open = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._open, self._whole)
            os.lseek(self._open, 0, os.SEEK_END)
        rest = memoryview(_ENCODER.encode(entry) + b"\n")
        while rest:
            rest = rest[os.write(self._open, rest) :]
        self._add(entry)

    def close(self) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    @property
    def order(self) -> tuple[int, ...]:
        """The steps' numbers as they began."""
        return tuple(self._order)

    @property
    def open(self) -> tuple[Begun, ...]:
        """The steps that have not ended, the inner ones first."""
        return tuple(begun for key, begun in reversed(self.begun.items()) if key not in self.ended)

    @property
    def has_run(self) -> bool:
        """Whether a process of the job has begun, or was about to."""
        return any(isinstance(begun.work, Run) for begun in self.begun.values())

    def next_within(self) -> int:
        """The number of the next step within an action."""
        return max((FIRST_WITHIN - 1, *self.order)) + 1

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if isinstance(entry, Begun):
            self.begun[entry.key] = entry
            self._order.append(entry.number)
        else:
            self.ended[entry.key] = entry
