"""Whether what the clients saw and what the database holds fit together, and to the promises of the package."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass
class Op:
    """An operation as its client saw it; times are the client's monotonic ones."""

    id: str
    actor: str
    method: str
    invoked: float
    returned: float | None = None
    value: int | None = None
    outcome: str = "unknown"
    """ok: answered with `value`; no: answered that it did not happen; unknown: neither."""
    error: str = ""
    retryable: bool = True


@dataclass(frozen=True)
class Row:
    """A commit as the audit table has it, in the order of the table's own numbers."""

    actor: str
    epoch: int
    seq: int
    op: str
    value: int
    xid: int
    at: datetime | None = None
    due: datetime | None = None


def row_of(record: Mapping[str, Any]) -> Row:
    return Row(**{name: record[name] for name in Row.__dataclass_fields__})


def check(rows: list[Row], ops: list[Op], marks: Iterable[str], *, clock_moved: bool = False) -> list[str]:
    """All that is wrong, in words; nothing is right when the list is empty and `ops` is not."""
    by_actor: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_actor[row.actor].append(row)
    wrong = [text for each in by_actor.values() for text in _fences(each)]
    wrong += [text for each in by_actor.values() for text in _values(each)]
    wrong += _durable(rows, ops)
    wrong += [f"{op} left its node, and is not durable" for op in sorted(set(marks) - {row.op for row in rows})]
    if not clock_moved:
        wrong += [f"{row.op} ran at {row.at} and was due {row.due}" for row in rows if _early(row)]
    for actor in sorted({op.actor for op in ops}):
        wrong += _linear(by_actor[actor], [op for op in ops if op.actor == actor])
    return wrong


def _fences(rows: list[Row]) -> Iterator[str]:
    """Epoch and seq grow from commit to commit; a commit has one pair of them."""
    for before, row in itertools.pairwise(rows):
        one, two = (before.epoch, before.seq), (row.epoch, row.seq)
        same = before.xid == row.xid
        if same and one != two:
            yield f"{row.actor}: one commit has {one} and {two}"
        if not same and not (before.epoch <= row.epoch and before.seq < row.seq):
            yield f"{row.actor}: {two} was committed after {one}"


def _values(rows: list[Row]) -> Iterator[str]:
    """Each commit counted on from the one before it: no update is lost, none is built on what never was."""
    for before, row in itertools.pairwise([None, *rows]):
        last = 0 if before is None else before.value
        if row is not None and row.value != last + 1:
            yield f"{row.actor}: a commit does not count on from the one before it: {before}, then {row}"


def _durable(rows: list[Row], ops: list[Op]) -> Iterator[str]:
    """What was acknowledged is there, once, with its value; what was refused is not."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.op].append(row)
    for op_id, several in found.items():
        if len(several) > 1:
            yield f"{op_id} happened {len(several)} times"
    asked = {op.id for op in ops}
    for op_id in found:
        if op_id.removeprefix("alarm:") not in asked:
            yield f"{op_id} happened, and nobody asked for it"
    for op in ops:
        if op.method in ("read", "block"):
            continue
        values = [row.value for row in found.get(op.id, [])]
        if op.outcome == "ok" and op.value not in values:
            yield f"{op.id} was acknowledged with {op.value}, and the database has {values}"
        if op.outcome == "no" and values:
            yield f"{op.id} was refused ({op.error}), and is durable"


def _early(row: Row) -> bool:
    return row.at is not None and row.due is not None and row.at < row.due


def _linear(rows: list[Row], ops: list[Op]) -> Iterator[str]:
    """One order explains all: a counter's values are the order; it must not contradict the clients' time.

    An operation stands at its value, and a read half a step behind the value it saw. Whatever was answered before
    something else was asked stands before it.
    """
    durable = {row.op: row.value for row in rows}
    last = max(durable.values(), default=0)
    placed: list[tuple[float, Op]] = []
    for op in ops:
        if op.method == "read":
            if op.outcome != "ok" or op.value is None:
                continue
            if op.value > last:
                yield f"{op.id} read {op.value} of {op.actor}, which never was durable"
            placed.append((op.value + 0.5, op))
        elif op.id in durable:
            placed.append((float(durable[op.id]), op))
    answered = sorted(
        ((op.returned, place, op) for place, op in placed if op.outcome == "ok" and op.returned is not None),
        key=lambda item: item[0],
    )
    index, highest, by = 0, 0.0, None
    for place, op in sorted(placed, key=lambda item: item[1].invoked):
        while index < len(answered) and answered[index][0] < op.invoked:
            if answered[index][1] > highest:
                highest, by = answered[index][1], answered[index][2]
            index += 1
        if place < highest and by is not None:
            yield f"{op.id} stands at {place}, but {by.id} at {highest} was answered before it was asked"
