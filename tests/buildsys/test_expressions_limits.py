"""However hostile the expression and its contexts, evaluation ends soon: with a value, or an error that says why."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from buildsys.core.expressions import (
    MAX_TEXT,
    ExpressionError,
    Value,
    evaluate,
    parse_expression,
    parse_template,
    to_text,
)

SOON = 10.0
"""Seconds of CPU time that a hostile evaluation may take; on a machine of 2 cores each takes one or two."""


def nested(depth: int) -> Value:
    value: Value = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def repeated(operand: str) -> str:
    """As many times as an expression is long."""
    return "||".join([operand] * (20_900 // (len(operand) + 2)))


def refused(text: str, contexts: dict[str, Value], message: str) -> None:
    started = time.process_time()
    with pytest.raises(ExpressionError, match=message):
        evaluate(parse_expression(text), contexts)
    assert time.process_time() - started < SOON


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("(" * 51 + "1" + ")" * 51, 50),
        ("(" * 20_999, 50),
        ("!" * 50 + "1", 50),
        ("!" * 20_000 + "1", 50),
        ("a" + ".b" * 50, 2),
        ("a" + "[0]" * 6_000, None),
        ("a[" * 51 + "0" + "]" * 51, None),
        ("1" + " == 1" * 4_000, None),
        ("1" + " < 1" * 4_000, None),
        ("toJSON(" * 51 + "1" + ")" * 51, None),
    ],
)
def test_depth(text: str, at: int | None) -> None:
    """Runner: an expression is at most 50 levels deep."""
    with pytest.raises(ExpressionError, match="at most 50 levels deep") as caught:
        parse_expression(text)
    assert at in (None, caught.value.at)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 49 + "1" + ")" * 49,
        "!" * 49 + "1",
        "a" + ".b" * 49,
        "1" + " && 1" * 4_000,
        "1" + " || 1" * 4_000,
        f"format({', '.join(['1'] * 255)})",
    ],
)
def test_what_is_not_too_deep(text: str) -> None:
    """Runner: && and || of many operands are one level."""
    evaluate(parse_expression(text), {"a": {}})


def test_length() -> None:
    """Runner: an expression is at most 21,000 characters long, each `${{ }}` for itself."""
    longest = f"'{'x' * 20_998}'"
    assert evaluate(parse_expression(longest), {}) == "x" * 20_998
    assert len(str(evaluate(parse_template(f"${{{{{longest}}}}}" * 20), {}))) == 20 * 20_998
    for text in (f"'{'x' * 20_999}'", f"1 == {longest}", "1 " * 10_501, " " * 21_001):
        with pytest.raises(ExpressionError, match=r"at most 21,000 characters|found nothing|expected an operator"):
            parse_expression(text)
    with pytest.raises(ExpressionError, match="at most 21,000 characters") as caught:
        parse_template(f"a ${{{{ '{'x' * 500_000}' }}}}")
    assert caught.value.at == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format('" + "{0}" * 5_000 + "', x)", "longer than 4 MiB"),
        ("format('{0}{0}{0}{0}{0}{0}{0}{0}', " * 40 + "'x'" + ")" * 40, "longer than 4 MiB"),
        ("join(list, x)", "longer than 4 MiB"),
        ("toJSON(many)", "longer than 4 MiB"),
        ("toJSON(" * 40 + "'\"'" + ")" * 40, "longer than 4 MiB"),
        (repeated("contains(x, 'b')"), "too much work"),
        (repeated("x == y"), "too much work"),
        (repeated("x < y && 0"), "too much work"),
        (repeated("many.nope"), "too much work"),
        (repeated("contains(list, 'nope')"), "too much work"),
        (repeated("many.*.a && 0"), "too much work"),
        (repeated("join(list) == 1"), "too much work"),
        (repeated("fromJSON(json) && 0"), "too much work"),
    ],
    ids=lambda part: part[:40],
)
def test_bombs(text: str, message: str) -> None:
    contexts: dict[str, Value] = {
        "x": "Я" * 100_000,
        "y": "я" * 99_999 + "b",
        "list": ["a"] * 20_000,
        "many": {f"name {number}": {"a": "b" * 20} for number in range(100_000)},
        "json": json.dumps([[]] * 30_000),
    }
    refused(text, contexts, message)


def test_memory_is_bounded() -> None:
    text = "format('{0}{0}{0}{0}', " * 45 + "'xxxx'" + ")" * 45
    tracemalloc.start()
    try:
        refused(text, {}, "longer than 4 MiB")
        refused("fromJSON(x)", {"x": f"[{'[],' * 3_000_000}[]]"}, "too much work")
        assert tracemalloc.get_traced_memory()[1] < 16 * MAX_TEXT
    finally:
        tracemalloc.stop()


def test_deep_values() -> None:
    deep = nested(1_000)
    text = evaluate(parse_expression("toJSON(x)"), {"x": deep})
    assert isinstance(text, str)
    assert text.count("\n") == 2_000
    refused("toJSON(x)", {"x": nested(20_000)}, "longer than 4 MiB")
    refused("fromJSON(x)", {"x": "[" * 65 + "]" * 65}, "nested deeper than 64 levels")
    refused("fromJSON(x)", {"x": '{"a":' * 100_000}, "nested deeper than 64 levels")
    assert to_text(evaluate(parse_expression("fromJSON(x)"), {"x": "[" * 64 + "]" * 64})) == "Array"
    assert evaluate(parse_expression("fromJSON(x)"), {"x": json.dumps("[" * 1_000 + '\\"')}) == "[" * 1_000 + '\\"'


@pytest.mark.parametrize("text", ['"' * 400_000, '"\\' * 200_000, "\\u" * 200_000, "[" + '"\\ud800' * 100_000])
def test_json_that_is_none_takes_no_longer(text: str) -> None:
    refused("fromJSON(x)", {"x": text}, "not JSON")
