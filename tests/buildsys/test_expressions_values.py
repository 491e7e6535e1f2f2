"""What literals, truth and precedence are."""

from __future__ import annotations

import math

import pytest
from expression_cases import CONTEXTS, INF, NAN, Table, cases, check_value

from buildsys.core.expressions import ExpressionError, Value, evaluate, parse_expression, to_text

LITERALS: Table = {
    "Literals: boolean is true or false, null is null": [("true", True), ("false", False), ("null", None)],
    "Literals: a number is any number format that JSON has": [
        ("0", 0.0),
        ("711", 711.0),
        ("-9.2", -9.2),
        ("-2.99e-2", -0.0299),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("-0", 0.0),
    ],
    "Literals, example: 0xff is a number; runner: so are 0o, a leading point or sign, of 32 bits": [
        ("0xff", 255.0),
        ("0xFF", 255.0),
        ("0o17", 15.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("+1", 1.0),
        ("1.", 1.0),
        ("0x7fffffff", 2147483647.0),
        ("0xffffffff", -1.0),
        ("0x00000000ff", 255.0),
    ],
    "Runner: Infinity and NaN are numbers": [
        ("Infinity", INF),
        ("-Infinity", -INF),
        ("NaN", NAN),
        ("1e999", INF),
        ("-1e999", -INF),
    ],
    "Literals: a string stands in single quotes, and '' within it is one quote": [
        ("'Mona'", "Mona"),
        ("''", ""),
        ("'It''s open source!'", "It's open source!"),
        ("''''", "'"),
        ("'''a'''", "'a'"),
        ("'a\nb'", "a\nb"),
        ("' \"}} ${{ '", ' "}} ${{ '),
        ("'ü€😀'", "ü€😀"),
    ],
    "Runner: space between tokens means nothing": [("  1\t\n", 1.0), ("1==1", True), ("contains ( 'a' , 'a' )", True)],
}

TRUTH: Table = {
    "Literals: false, 0, -0, '' and null are false; runner: NaN is too": [
        ("!false", True),
        ("!0", True),
        ("!-0", True),
        ("!''", True),
        ("!null", True),
        ("!NaN", True),
        ("!inputs.none", True),
        ("!inputs.zero", True),
        ("!inputs.empty", True),
    ],
    "Literals: true and all other values are true": [
        ("!true", False),
        ("!1", False),
        ("!-1", False),
        ("!Infinity", False),
        ("!' '", False),
        ("!'0'", False),
        ("!'false'", False),
        ("!github", False),
        ("!fromJSON('[]')", False),
        ("!fromJSON('{}')", False),
        ("!!'a'", True),
        ("!!!0", True),
    ],
    "Operators: && is the first operand that is false, else the last": [
        ("1 && 2", 2.0),
        ("0 && 2", 0.0),
        ("'' && 'a'", ""),
        ("null && true", None),
        ("'a' && 'b' && 'c'", "c"),
        ("'a' && false && fromJSON('not reached')", False),
        ("NaN && 1", NAN),
    ],
    "Operators: || is the first operand that is true, else the last": [
        ("1 || 2", 1.0),
        ("0 || 2", 2.0),
        ("'' || 'a'", "a"),
        ("false || null", None),
        ("null || false || ''", ""),
        ("'a' || fromJSON('not reached')", "a"),
        ("github.head_ref || github.ref", "refs/heads/main"),
        ("inputs.flag && 'on' || 'off'", "on"),
        ("inputs.off && 'on' || 'off'", "off"),
    ],
}

PRECEDENCE: Table = {
    "Operators, in their order: . and [] before !, then < > before == !=, then &&, then ||": [
        ("!github.event_name", False),
        ("!inputs.flag == false", True),
        ("!(inputs.flag == false)", True),
        ("!2 < 3", True),
        ("!(2 < 3)", False),
        ("2 <= 3 == true", True),
        ("2 <= (3 == true)", False),
        ("1 == 1 && 2", 2.0),
        ("1 == (1 && 2)", False),
        ("false && 0 || null", None),
        ("false && (0 || null)", False),
        ("1 || 2 && 3", 1.0),
        ("(1 || 2) && 3", 3.0),
        ("3 > matrix['node'] == false", True),
    ],
    "Runner: operators of one rank go from left to right": [
        ("3 < 2 < 1", True),
        ("3 < (2 < 1)", False),
        ("3 <= 2 < 1", True),
        ("0 > 0 < 1", True),
        ("2 > 2 > 0", False),
        ("2 == 2 == 1", True),
        ("2 == (2 == 1)", False),
        ("2 == 2 != 0", True),
    ],
    "Operators: ( ) groups": [
        ("(1)", 1.0),
        ("((('a')))", "a"),
        ("(github).ref", "refs/heads/main"),
        ("(1 == 1)", True),
    ],
}


@pytest.mark.parametrize(("expression", "expected"), cases(LITERALS, TRUTH, PRECEDENCE))
def test_the_value_of(expression: str, expected: Value) -> None:
    check_value(expression, expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        ("as it is", "as it is"),
        ([1], "Array"),
        ({"a": 1}, "Object"),
        (0, "0"),
        (-0.0, "0"),
        (1, "1"),
        (-2.0, "-2"),
        (0.5, "0.5"),
        (1.9, "1.9"),
        (0.1 + 0.2, "0.3"),
        (0.84551240822557006, "0.84551240822557"),
        (1.2345678901234567, "1.23456789012346"),
        (123456789012345.0, "123456789012345"),
        (1e14, "100000000000000"),
        (1e15, "1E+15"),
        (1234567890123456789.0, "1.23456789012346E+18"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (1e100, "1E+100"),
        (0.0001, "0.0001"),
        (0.00001, "1E-05"),
        (1.5e-7, "1.5E-07"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
    ],
    ids=repr,
)
def test_values_as_texts(value: Value, text: str) -> None:
    """Functions: null is '', numbers are decimal and large ones exponential; runner: 15 digits, as .NET's G15."""
    assert to_text(value) == text


@pytest.mark.parametrize(("number", "known_as"), [(10**400, INF), (-(10**400), -INF)], ids=["large", "small"])
def test_a_whole_number_of_a_payload_may_be_larger_than_any_float(number: int, known_as: float) -> None:
    contexts: dict[str, Value] = {"github": {"event": {"n": number}}}
    for text, expected in (("github.event.n && 'is true'", "is true"), ("!github.event.n", False)):
        assert evaluate(parse_expression(text), contexts) == expected
    assert evaluate(parse_expression("github.event.n"), contexts) == known_as


def test_a_context_that_is_not_given_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="there is no context 'secrets' here") as caught:
        evaluate(parse_expression("1 == secrets.x"), CONTEXTS)
    assert caught.value.at == 5
