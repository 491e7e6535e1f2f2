"""Tables of expressions and what they are worth, each headed by the sentence that says so, and the contexts for them.

A sentence begins with the section of GitHub's expressions or contexts reference that it is in, told in our words, or
with "Runner" for what GitHub's published runner does where the references are silent.
"""

from __future__ import annotations

import math

import pytest

from buildsys.core.expressions import CaseSensitive, Value, evaluate, parse_expression

NAN = math.nan
INF = math.inf

Table = dict[str, list[tuple[str, Value]]]

CONTEXTS: dict[str, Value] = {
    "github": {
        "ref": "refs/heads/main",
        "event_name": "push",
        "event": {"labels": [{"name": "bug"}, {"name": "help wanted"}, {"id": 3}, "x"], "a-b_c": 1, "Title": "T"},
        "null": "it is null",
        "format": "it is format",
    },
    "env": CaseSensitive(first="1", Second="2"),
    "matrix": {"os": "linux", "node": 16, "list": ["zero", "one", "two"], "0": "by number", "true": "by truth"},
    "needs": {"a": {"result": "success", "outputs": {"x": "1"}}, "b": {"result": "failure", "outputs": {}}},
    "inputs": {"flag": True, "off": False, "none": None, "empty": "", "zero": 0},
    "steps": {
        "nested": [[1, 2], [3], []],
        "scallions": {"colors": ["green", "white", "red"]},
        "beets": {"colors": ["purple"]},
    },
}


def cases(*tables: Table) -> list[object]:
    return [
        pytest.param(expression, expected, id=f"{sentence} | {expression}")
        for table in tables
        for sentence, rows in table.items()
        for expression, expected in rows
    ]


def check_value(expression: str, expected: Value) -> None:
    value = evaluate(parse_expression(expression), CONTEXTS)
    assert same(list(value) if isinstance(value, list) else value, expected), value


def same(left: Value, right: Value) -> bool:
    """Equal, of one type, and NaN with itself."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right
