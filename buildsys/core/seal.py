"""The seal of a log: a chain through all its records, and what the chain proves.

Each record carries a MAC over the one before it and over everything that it says itself, under a key of the server.
The last record says how much there is, so that a missing end shows, too. Who has the database or the archive but not
the key cannot change, remove, exchange or add anything in a log that is sealed, nor put an earlier state of it there.

While a build runs, its actor goes on from whatever stands last. So who removes the latest records then, before the
actor is loaded anew, breaks no link. What was removed shows by what comes after it: the output of a step has to begin
where it was left, a step has to begin and to end once, and the end of its output, as its runner saw it, has to be
stored. Nothing shows where whole steps were removed, from their beginning to their end, or events of no step alone; and
that a build is over says its row, without which a log may be `open` for ever.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from buildsys.core.build import Outcome
from buildsys.core.logs import END, GAP, LINES, STEP_STARTED, STEP_STOPPED, TRUNCATED, LogChange, LogRecord

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

MAX_FAULTS = 100
"""How many places a verdict names; a log with more has been made anew."""

_json = msgspec.json.Encoder(order="deterministic")


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of a log says of all before it: its own cursor, lines and bytes printed, the chain's head (hex)."""

    last: int
    lines: int
    bytes: int
    head: str


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Output that the log itself says it does not have: lost with a runner (`gap`), or behind a limit (`truncated`)."""

    cursor: int
    kind: str
    job: str | None
    step: int | None
    reason: str | None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the log is not what was written."""

    cursor: int
    problem: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`open`: the build goes on. `complete`: all is there, `incomplete`: but for `missing`. `broken`: see `faults`."""

    state: Literal["open", "complete", "incomplete", "broken"]
    last: int
    lines: int
    bytes: int
    missing: tuple[Missing, ...] = ()
    faults: tuple[Fault, ...] = ()


class Chain:
    """The end of a build's log: gives what is appended its place and its link."""

    def __init__(
        self, *, key: bytes, build: UUID, last: int = 0, lines: int = 0, size: int = 0, head: bytes = b""
    ) -> None:
        self._key = key
        self._build = build
        self.last = last
        self.lines = lines
        self.size = size
        self.head = head

    def append(self, change: LogChange) -> LogRecord:
        """The next record. The end of a build (`END`) gets the seal into its data."""
        first, last = self.last + 1, self.last + change.lines
        data = change.data
        if change.kind == END:
            seal = Seal(last=last, lines=self.lines, bytes=self.size, head=self.head.hex())
            data = {**(data or {}), "seal": msgspec.to_builtins(seal)}
        record = LogRecord(
            first=first,
            last=last,
            kind=change.kind,
            at=change.at,
            job=change.job,
            step=change.step,
            source=change.source,
            frame=change.frame,
            size=change.size,
            data=data,
        )
        record = msgspec.structs.replace(record, mac=link(self._key, self.head, self._build, record))
        self.follow(record)
        return record

    def follow(self, record: LogRecord) -> None:
        """Stand behind this record."""
        self.last, self.head = record.last, record.mac
        if record.kind == LINES:
            self.lines += record.last - record.first + 1
            self.size += record.size


class Verifier:
    """Takes a build's records in their order, and then knows what they are worth."""

    def __init__(self, *, key: bytes, build: UUID) -> None:
        self._key = key
        self._build = build
        self._chain = Chain(key=key, build=build)
        self._steps: dict[tuple[str | None, int | None], int] = {}
        self._stopped: set[tuple[str | None, int | None]] = set()
        self._faults: list[Fault] = []
        self._missing: list[Missing] = []
        self._ended = False
        self._given_up = False

    def take(self, record: LogRecord, printed: bytes | None) -> None:
        """The next record, and what its frame unfolds to (None: it does not, or there is none)."""
        chain = self._chain
        expected = chain.last + 1
        if self._ended:
            self._fault(record.first, f"a record of kind {record.kind} stands behind the end")
        elif record.first > expected:
            self._fault(expected, f"the entries {expected} to {record.first - 1} are missing")
        elif record.first < expected:
            self._fault(record.first, "the entry is there twice")
        elif not hmac.compare_digest(link(self._key, chain.head, self._build, record), record.mac):
            self._fault(record.first, f"the record of kind {record.kind} is not the one that was written here")
        elif record.kind == LINES:
            self._check_lines(record, printed)
            self._check_source(record)
        elif record.kind in (STEP_STARTED, STEP_STOPPED):
            self._check_step(record)
        elif record.kind == END:
            self._check_end(record)
        elif record.kind in (GAP, TRUNCATED):
            reason = (record.data or {}).get("reason")
            self._missing.append(
                Missing(cursor=record.first, kind=record.kind, job=record.job, step=record.step, reason=reason)
            )
        self._follow(record)

    def give_up(self, problem: str) -> None:
        """Nothing can be read from here on."""
        self._fault(self._chain.last + 1, problem)
        self._given_up = True

    def verdict(self, *, stopped: bool) -> Verdict:
        """What the log is worth; `stopped`: its build is over, so it has to have an end."""
        if stopped and not (self._ended or self._given_up):
            self._fault(self._chain.last + 1, "the end of the log is missing")
        state: Literal["open", "complete", "incomplete", "broken"] = "complete"
        if self._faults:
            state = "broken"
        elif not self._ended:
            state = "open"
        elif self._missing:
            state = "incomplete"
        return Verdict(
            state=state,
            last=self._chain.last,
            lines=self._chain.lines,
            bytes=self._chain.size,
            missing=tuple(self._missing),
            faults=tuple(self._faults),
        )

    def _check_lines(self, record: LogRecord, printed: bytes | None) -> None:
        if printed is None:
            self._fault(record.first, "the frame of lines does not open")
            return
        lines = printed.count(b"\n") + (not printed.endswith(b"\n"))
        if (lines, len(printed)) != (record.last - record.first + 1, record.size):
            self._fault(record.first, f"the frame holds {lines} lines in {len(printed)} bytes, and says otherwise")

    def _check_source(self, record: LogRecord) -> None:
        """Output goes on where that of its step was left."""
        known, begin = self._steps.get(_step(record)), (record.source or (0, 0))[0]
        if known is None:
            self._fault(record.first, f"output of {_name(record)}, which does not run here")
        elif begin != known:
            self._fault(record.first, f"output of {_name(record)} begins at its byte {begin}, and was left at {known}")

    def _check_step(self, record: LogRecord) -> None:
        """A step begins once, and then ends once."""
        step, verb = _step(record), "begins" if record.kind == STEP_STARTED else "ends"
        if step in self._stopped or (verb == "begins" and step in self._steps):
            self._fault(record.first, f"{_name(record)} {verb} a second time")
        elif verb == "ends" and step not in self._steps and (record.data or {}).get("outcome") != Outcome.SKIPPED:
            self._fault(record.first, f"{_name(record)} ends, and never began")

    def _follow(self, record: LogRecord) -> None:
        """Go on behind this record, whatever it is worth, so that each fault is named once."""
        self._chain.follow(record)
        self._ended |= record.kind == END
        step = _step(record)
        if record.kind == STEP_STARTED:
            self._steps.setdefault(step, 0)
        elif record.kind == STEP_STOPPED:
            self._steps.pop(step, None)
            self._stopped.add(step)
        elif record.kind == LINES and record.source is not None and step in self._steps:
            self._steps[step] = record.source[1]

    def _check_end(self, record: LogRecord) -> None:
        chain = self._chain
        seal = Seal(last=record.last, lines=chain.lines, bytes=chain.size, head=chain.head.hex())
        if (record.data or {}).get("seal") != msgspec.to_builtins(seal):
            self._fault(record.first, "the seal speaks of another log")
        for job, step in self._steps:
            self._fault(record.first, f"step {step} of job {job} began, and never ended")

    def _fault(self, cursor: int, problem: str) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(cursor=cursor, problem=problem))


def _step(record: LogRecord) -> tuple[str | None, int | None]:
    return record.job, record.step


def _name(record: LogRecord) -> str:
    return f"step {record.step} of job {record.job}"


def deletion(key: bytes, build: UUID, at: datetime, rule: str) -> bytes:
    """HMAC-SHA256 over the record that a build's log was deleted; under a key made from that of the seal."""
    said = (build.bytes, (at - EPOCH) // MICROSECOND, rule)
    return hmac.digest(hmac.digest(key, b"deletion", "sha256"), msgspec.msgpack.encode(said), "sha256")


def link(key: bytes, previous: bytes, build: UUID, record: LogRecord) -> bytes:
    """HMAC-SHA256 over the link before and over what the record says, its frame by its SHA-256."""
    said = (
        build.bytes,
        record.first,
        record.last,
        record.kind,
        (record.at - EPOCH) // MICROSECOND,
        record.job,
        record.step,
        record.source,
        None if record.frame is None else hashlib.sha256(record.frame).digest(),
        record.size,
        None if record.data is None else _json.encode(record.data),
    )
    return hmac.digest(key, previous + msgspec.msgpack.encode(said), "sha256")
