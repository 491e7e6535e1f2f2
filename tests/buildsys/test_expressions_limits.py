"""However hostile the expression and its contexts, evaluation ends soon: with a value, or an error that says why."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Callable

import pytest
from test_expressions_functions import Asked

from buildsys.core.expressions import (
    MAX_TEXT,
    PLACES,
    ExpressionError,
    Value,
    check,
    check_types,
    evaluate,
    is_true,
    names_of,
    parse_condition,
    parse_expression,
    parse_template,
    references,
    to_number,
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


PIECES = [
    *(
        "github",
        "github.ref",
        "env.A",
        "steps",
        "needs.*",
        "matrix.list",
        "secrets['x']",
        "x",
        "nope",
        "NaN",
        "Infinity",
    ),
    *("null", "true", "false", "0", "1", "-1.5", "0xff", "0o7", "1e3", "1e999", ".5", "''", "'a'", "'It''s'", "'{0}'"),
    *(
        "'[1,2]'",
        "'{\"a\":1}'",
        "'é€😀'",
        "'\\ud800'",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "(",
        ")",
        "[",
    ),
    *(
        "]",
        ".",
        "*",
        ",",
        ".*",
        "[*]",
        "[0]",
        ".name",
        "${{",
        "}}",
        "'",
        '"',
        "=",
        "&",
        " ",
        "\n",
        "\0",
        "\u2028",
        "{0}",
    ),
    *("contains(", "startsWith(", "endsWith(", "format(", "join(", "toJSON(", "fromJSON(", "hashFiles(", "case("),
    *("success()", "failure()", "always()", "cancelled()", "a-b", "_", "é", "٣", "{", "}", "{{", "$", "-", "+"),
]
ATOMS = [piece for piece in PIECES[:26] if piece not in ("nope",)]


def grown(random: random.Random, depth: int) -> str:
    """An expression that is in the language, but for the number of arguments."""
    if depth == 0 or random.random() < 0.2:
        return random.choice(ATOMS)
    inner = [grown(random, depth - 1) for _ in range(random.randint(1, 3))]
    match random.randrange(7):
        case 0:
            return f"({inner[0]})"
        case 1:
            return f"!{inner[0]}"
        case 2:
            return f"{inner[0]} {random.choice(['==', '!=', '<', '<=', '>', '>='])} {inner[-1]}"
        case 3:
            return random.choice([" && ", " || "]).join(inner)
        case 4:
            return f"({inner[0]}){random.choice(['.name', '.*', '[*]', '[0]', f'[{inner[-1]}]', '.*.name', '.*[0]'])}"
        case 5:
            return f"{random.choice(['contains', 'startsWith', 'endsWith', 'case'])}({', '.join(inner)})"
        case _:
            return (
                f"{random.choice(['format', 'join', 'toJSON', 'fromJSON', 'hashFiles', 'FORMAT'])}({', '.join(inner)})"
            )


def mutated(random: random.Random, text: str) -> str:
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(text))
        text = text[:at] + random.choice([*PIECES, ""]) + text[at + random.randint(0, 3) :]
    return text


def check_error(error: ExpressionError, written: str) -> None:
    assert 0 <= error.at <= len(written), (written, error.at)
    assert str(error)
    assert SECRET not in str(error)


SECRET = "hidden from every error"
CONTEXTS: dict[str, Value] = {
    "github": {"ref": "refs/heads/main", "event": {"labels": [{"name": "bug"}]}, "name": None},
    "env": {"A": "1", "name": "\u2028"},
    "steps": {"a": {"outputs": {"name": "[1]"}}},
    "needs": {"a": {"result": "success", "name": 3}, "b": {"name": [1, [2]]}},
    "matrix": {"list": ["zero", 1, None, [], {"name": 1}]},
    "secrets": {"x": SECRET},
    "x": [0.5, -0.0, 10**400],
}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_written_there_is_a_value_or_a_clear_error(seed: int) -> None:
    source = random.Random(seed)
    makers: list[Callable[[], str]] = [
        lambda: grown(source, source.randint(1, 5)),
        lambda: mutated(source, grown(source, source.randint(1, 4))),
        lambda: "".join(source.choices(PIECES, k=source.randint(1, 25))),
        lambda: "".join(map(chr, source.choices(range(1, 0x3000), k=source.randint(1, 40)))),
    ]
    read = 0
    for number in range(5_000):
        text = makers[number % len(makers)]()
        for parse, written in (
            (parse_expression, text),
            (parse_condition, text),
            (parse_template, f"a ${{{{ {text} }}}} b" if number % 2 else text),
        ):
            try:
                tree = parse(written)
            except ExpressionError as error:
                check_error(error, written)
                continue
            read += 1
            check(tree, PLACES["jobs.<job_id>.if"])
            check_types(tree, condition=True)
            references(tree)
            names_of("secrets", [tree])
            try:
                value = evaluate(tree, CONTEXTS, Asked())
            except ExpressionError as error:
                check_error(error, written)
                continue
            to_text(value).encode()
            to_number(value)
            is_true(value)
    assert read > 3_000
