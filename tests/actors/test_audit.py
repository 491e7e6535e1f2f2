"""The checker of audits finds each kind of damage in a history, and nothing in a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from audit_check import Op, Row, check

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass
class Story:
    """Two clients of one actor: four counts in three commits of two epochs, an alarm's, and two reads."""

    rows: list[Row] = field(
        default_factory=lambda: [
            Row("a", 1, 1, "one", 1, 100),
            Row("a", 1, 2, "two", 2, 101),
            Row("a", 1, 2, "three", 3, 101),
            Row("a", 2, 3, "lost", 4, 105),
            Row("a", 2, 4, "alarm:one", 5, 106, NOON, NOON - timedelta(seconds=1)),
        ]
    )
    ops: list[Op] = field(
        default_factory=lambda: [
            Op("one", "a", "remind", 0.0, 1.0, 1, "ok"),
            Op("two", "a", "increment", 2.0, 4.0, 2, "ok"),
            Op("three", "a", "increment", 2.0, 4.0, 3, "ok"),
            Op("lost", "a", "increment", 5.0, 6.0),
            Op("refused", "a", "increment", 5.0, 6.0, None, "no", "LeaseLost"),
            Op("seen", "a", "read", 2.5, 4.5, 3, "ok"),
            Op("seen later", "a", "read", 7.0, 8.0, 4, "ok"),
        ]
    )
    marks: list[str] = field(default_factory=lambda: ["one", "two", "three", "alarm:one"])

    def change(self, op: str, **fields: object) -> None:
        self.ops = [replace(one, **fields) if one.id == op else one for one in self.ops]  # type: ignore[arg-type]

    def change_row(self, op: str, **fields: object) -> None:
        self.rows = [replace(one, **fields) if one.op == op else one for one in self.rows]  # type: ignore[arg-type]


def test_a_good_history_passes() -> None:
    story = Story()
    assert check(story.rows, story.ops, story.marks) == []


DAMAGE: dict[str, tuple[Callable[[Story], object], str]] = {
    "an older epoch commits after a newer one": (lambda s: s.change_row("alarm:one", epoch=1), "was committed after"),
    "a seq is used twice": (lambda s: s.change_row("lost", seq=2), "was committed after"),
    "a commit under two epochs": (lambda s: s.change_row("three", epoch=2), "one commit has"),
    "an effect whose commit is gone": (lambda s: s.rows.pop(), "left its node"),
    "a lost update": (lambda s: s.change_row("three", value=2), "does not count on"),
    "a value skipped": (lambda s: s.change_row("lost", value=6), "does not count on"),
    "an acknowledged write is gone": (
        lambda s: (s.rows.pop(2), s.marks.remove("three")),
        "three was acknowledged with 3, and the database has []",
    ),
    "an acknowledgement with another value": (lambda s: s.change("one", value=7), "was acknowledged with 7"),
    "two callers given one value": (lambda s: s.change("three", value=2), "was acknowledged with 2"),
    "a refused write is durable": (lambda s: s.change("lost", outcome="no", error="ActorReset"), "was refused"),
    "a call that ran twice": (lambda s: s.rows.append(Row("a", 2, 5, "lost", 6, 107)), "happened 2 times"),
    "a write out of nothing": (lambda s: s.rows.append(Row("a", 2, 5, "odd", 6, 107)), "nobody asked"),
    "an effect before the commit": (lambda s: s.marks.append("refused"), "refused left its node"),
    "an alarm too early": (lambda s: s.change_row("alarm:one", due=NOON + timedelta(seconds=1)), "was due"),
    "a stale read": (lambda s: s.change("seen later", value=2), "stands at 2.5"),
    "a read of what never was": (lambda s: s.change("seen later", value=9), "never was durable"),
    "reads that go back": (lambda s: s.change("seen later", value=3, invoked=9.0) or s.ops.append(
        Op("between", "a", "read", 6.5, 8.5, 5, "ok")), "seen later stands at 3.5"),
    "a later count placed before an earlier one": (
        lambda s: s.change("one", invoked=10.0, returned=11.0),
        "one stands at 1.0",
    ),
    "a count seen before it was asked for": (lambda s: s.change("lost", invoked=9.0), "lost stands at 4.0"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(damage: str) -> None:
    story = Story()
    harm, words = DAMAGE[damage]
    harm(story)
    found = check(story.rows, story.ops, story.marks)
    assert any(words in text for text in found), found
