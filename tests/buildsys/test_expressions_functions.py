"""What the functions of expressions return, and what they refuse."""

from __future__ import annotations

import json

import pytest
from expression_cases import CONTEXTS, Table, cases, check_value

from buildsys.core.expressions import ExpressionError, Value, evaluate, parse_expression

SEARCHING: Table = {
    "contains: whether a string has a substring, without regard to case": [
        ("contains('Hello world', 'llo')", True),
        ("contains('Hello world', 'LLO')", True),
        ("contains('Hello world', 'x')", False),
        ("contains('abc', '')", True),
        ("contains('', '')", True),
        ("contains('über', 'ÜB')", True),
    ],
    "contains: casts values to a string": [
        ("contains(1234, 23)", True),
        ("contains(true, 'RU')", True),
        ("contains(null, '')", True),
        ("contains('a1b', 1)", True),
        ("contains('null', null)", True),
    ],
    "contains: whether an array has an element; runner: by the loose ==": [
        ('contains(fromJSON(\'["push", "pull_request"]\'), github.event_name)', True),
        ("contains(fromJSON('[\"PUSH\"]'), github.event_name)", True),
        ("contains(fromJSON('[\"pushed\"]'), github.event_name)", False),
        ("contains(github.event.labels.*.name, 'bug')", True),
        ("contains(fromJSON('[1, 2]'), '2')", True),
        ("contains(fromJSON('[1, 2]'), 3)", False),
        ("contains(fromJSON('[null]'), '')", True),
        ("contains(fromJSON('[true]'), 1)", True),
        ("contains(fromJSON('[[]]'), '')", False),
        ("contains(fromJSON('[]'), null)", False),
        ("contains(needs.*.outputs, needs.a.outputs)", True),
    ],
    "Runner: contains finds nothing in an object, and no object in a string": [
        ("contains(github, 'ref')", False),
        ("contains('Object', github)", False),
        ("contains(fromJSON('{}'), '')", False),
    ],
    "startsWith: not case sensitive, casts values to a string": [
        ("startsWith('Hello world', 'He')", True),
        ("startsWith('Hello world', 'hELLO')", True),
        ("startsWith('Hello world', 'world')", False),
        ("startsWith('a', '')", True),
        ("startsWith(123, 12)", True),
        ("startsWith(null, '')", True),
        ("startsWith(true, 't')", True),
        ("STARTSWITH('a', 'A')", True),
        ("startsWith(github, 'O')", False),
        ("startsWith('Array', matrix.list)", False),
    ],
    "endsWith: not case sensitive, casts values to a string": [
        ("endsWith('Hello world', 'ld')", True),
        ("endsWith('Hello world', 'WORLD')", True),
        ("endsWith('Hello world', 'Hello')", False),
        ("endsWith('a', '')", True),
        ("endsWith(123, 23)", True),
        ("endsWith(false, 'SE')", True),
        ("endswith('', 'a')", False),
        ("endsWith(matrix.list, 'y')", False),
    ],
}

TEXTS: Table = {
    "format: replaces {N} with the Nth value": [
        ("format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat')", "Hello Mona the Octocat"),
        ("format('{1}{0}{1}', 'a', 'b')", "bab"),
        ("format('{00}', 'a')", "a"),
        ("format('a')", "a"),
        ("format('a', 'not used')", "a"),
        ("format('')", ""),
        ("format(null)", ""),
        ("format(12)", "12"),
        ("format('{0}', '{1}')", "{1}"),
    ],
    "format: braces are escaped by doubling them": [
        ("format('{{Hello {0} {1} {2}!}}', 'Mona', 'the', 'Octocat')", "{Hello Mona the Octocat!}"),
        ("format('{{0}}', 'abc')", "{0}"),
        ("format('{{{0}}}', 'abc')", "{abc}"),
        ("format('{{{{0}}}}', 'abc')", "{{0}}"),
        ("format('}}{{}}')", "}{}"),
    ],
    "Functions: null becomes '', booleans 'true' and 'false', numbers decimal": [
        ("format('{0}', null)", ""),
        ("format('{0}', true)", "true"),
        ("format('{0}', false)", "false"),
        ("format('{0}', 1)", "1"),
        ("format('{0}', -2.0)", "-2"),
        ("format('{0}', -0)", "0"),
        ("format('{0}', .5)", "0.5"),
        ("format('{0}', +123456.789)", "123456.789"),
        ("format('{0}', 0xff)", "255"),
        ("format('{0}', 0o10)", "8"),
        ("format('{0}', 1.2e2)", "120"),
        ("format('{0}', 1.2E-2)", "0.012"),
        ("format('{0}', 1e21)", "1E+21"),
        ("format('{0}', -Infinity)", "-Infinity"),
        ("format('{0}', NaN)", "NaN"),
    ],
    "Functions: arrays and objects are not converted; runner: their kind stands for them": [
        ("format('{0}', matrix.list)", "Array"),
        ("format('{0}', github)", "Object"),
        ("format(github)", "Object"),
    ],
    "join: all values of an array, with , between them": [
        ('join(fromJSON(\'["a", "b", "c"]\'))', "a,b,c"),
        ("join(matrix.list)", "zero,one,two"),
        ("join(fromJSON('[]'))", ""),
        ("join(fromJSON('[1]'))", "1"),
    ],
    "join: the optional separator stands between them": [
        ("join(github.event.labels.*.name, ', ')", "bug, help wanted"),
        ("join(matrix.list, '')", "zeroonetwo"),
        ("join(matrix.list, 0)", "zero0one0two"),
        ("join(matrix.list, null)", "zeroonetwo"),
        ("join(matrix.list, github)", "zero,one,two"),
    ],
    "join: the array can be a string; casts values to a string": [
        ("join('abc')", "abc"),
        ("join('abc', '-')", "abc"),
        ("join(12)", "12"),
        ("join(null)", ""),
        ("join(fromJSON('[1, true, null, \"x\", [], {}]'))", "1,true,,x,Array,Object"),
        ("join(github)", ""),
    ],
    "case: the value of the first predicate that is true, else the last": [
        ("case(true, 'first', 'default')", "first"),
        ("case(false, 'first', 'default')", "default"),
        ("case(false, 1, true, 2, 3)", 2.0),
        ("case(true, 1, true, 2, 3)", 1.0),
        ("case(false, 1, false, 2, 3)", 3.0),
        ("case(github.ref == 'refs/heads/main', 'production', 'development')", "production"),
        ("case(true, 'a', fromJSON('not reached'), 'b', 'c')", "a"),
        ("Case(false, fromJSON('not reached'), null)", None),
    ],
}

JSON: Table = {
    "toJSON: a pretty-printed representation": [
        ("toJSON(null)", "null"),
        ("toJSON(true)", "true"),
        ("toJSON('')", '""'),
        ("toJSON('abc''def')", '"abc\'def"'),
        ("toJSON('a\"b\\c')", '"a\\"b\\\\c"'),
        ("toJSON('a\nb\tc')", '"a\\nb\\tc"'),
        ("toJSON('\x01')", '"\\u0001"'),
        ("toJSON('ü€😀')", '"ü€😀"'),
        ("toJSON('\u2028\u2029\x85')", '"\\u2028\\u2029\\u0085"'),
        ("toJSON(0)", "0"),
        ("toJSON(-0)", "0"),
        ("toJSON(-1234.5)", "-1234.5"),
        ("toJSON(123456789)", "123456789"),
        ("toJSON(NaN)", "NaN"),
        ("tojson(fromJSON('[]'))", "[]"),
        ("TOJSON(fromJSON('{}'))", "{}"),
        ("toJSON(fromJSON('[1, [2], []]'))", "[\n  1,\n  [\n    2\n  ],\n  []\n]"),
        ('toJSON(fromJSON(\'{"a": {"b": null}, "c": {}}\'))', '{\n  "a": {\n    "b": null\n  },\n  "c": {}\n}'),
        ("toJSON(matrix.list)", '[\n  "zero",\n  "one",\n  "two"\n]'),
        ("toJSON(matrix.node)", "16"),
    ],
    "fromJSON: a JSON object or data type": [
        ("fromJSON('null')", None),
        ("fromJSON('true')", True),
        ("fromJSON('\"abc\"')", "abc"),
        ("fromJSON('-1234.5')", -1234.5),
        ("fromJSON('12345678901234567890')", 12345678901234567890.0),
        ("fromJSON('1e999') == Infinity", True),
        ("fromJSON(' [1, \"a\", null] ')", [1.0, "a", None]),
        ("fromJSON('{\"a\": [{}]}').a", [{}]),
        ('fromJSON(\'{"a": 1, "a": 2}\').a', 2.0),
        ("fromJSON('\"\\u00fc\\n\"')", "ü\n"),
        ("fromJSON('\"\\ud83d\\ude00\"')", "😀"),
        ("fromJSON('\"a\nb\"')", "a\nb"),
        ("fromjson('[true]')[0]", True),
    ],
    "fromJSON, example: a boolean or an integer from a variable": [
        ("fromJSON(env.first)", 1.0),
        ("fromJSON(inputs.flag)", True),
        ("fromJSON(matrix.node)", 16.0),
        ("fromJSON(toJSON(matrix.list))", ["zero", "one", "two"]),
    ],
    "Ours: half a surrogate pair is U+FFFD, so that each text can be encoded": [
        ("fromJSON('\"\\ud83d\"')", "\ufffd"),
        ("fromJSON('\"\\ude00\\ud83d x\"')", "\ufffd\ufffd x"),
        ("fromJSON('\"\\\\ud83d\"')", "\\ud83d"),
    ],
}

REFUSED = [
    ("‸format('{0')", "a lone '{' in the text to format; write '{{' for itself"),
    ("‸format('{0}}', '')", "a lone '}' in the text to format; write '}}' for itself"),
    ("‸format('}{0}', '')", "a lone '}'"),
    ("‸format('{{0}', '')", "a lone '}'"),
    ("‸format('{}', '')", "a lone '{'"),
    ("‸format('{x}', '')", "a lone '{'"),
    ("‸format('{-1}', '')", "a lone '{'"),
    ("‸format('{0:x}', 1)", "a lone '{'"),
    ("‸format('{0}')", "has {0} and there are 0 values"),
    ("1 == ‸format('{0}{1}', 'abc')", "has {1} and there are 1 values"),
    ("‸format('{999999999}', 1)", "has {999999999}"),
    ("‸format('{9999999999}', 1)", "a lone '{'"),
    ("‸fromJSON('')", "the text is not JSON: it is empty"),
    ("‸fromJSON('  ')", "the text is not JSON: it is empty"),
    (
        "‸fromJSON('{a: 1}')",
        "the text is not JSON: Expecting property name enclosed in double quotes at line 1, column 2",
    ),
    ("‸fromJSON('[1] 2')", "the text is not JSON: Extra data at line 1, column 5"),
    ("‸fromJSON('NaN')", "the text is not JSON: NaN is no JSON"),
    ("‸fromJSON('[-Infinity]')", "the text is not JSON: -Infinity is no JSON"),
    ("‸fromJSON(github)", "the text is not JSON"),
    ("case(‸'true', 1, 2)", "a condition of case() must be true or false, not string"),
    ("case(false, 1, ‸null, 1, 2)", "a condition of case() must be true or false, not null"),
    ("1 || 2 && ‸success()", None),
    ("0 || ‸success()", "success() has no meaning here"),
    ("‸hashFiles('**/go.sum')", "hashFiles() has no meaning here"),
]


@pytest.mark.parametrize(("expression", "expected"), cases(SEARCHING, TEXTS, JSON))
def test_the_value_of(expression: str, expected: Value) -> None:
    check_value(expression, expected)


@pytest.mark.parametrize(("marked", "message"), REFUSED)
def test_what_cannot_be_evaluated(marked: str, message: str | None) -> None:
    """format: values and braces must match; fromJSON: the text must be JSON; case: predicates are booleans."""
    before, _, after = marked.partition("‸")
    tree = parse_expression(before + after)
    if message is None:
        assert evaluate(tree, CONTEXTS) == 1
        return
    with pytest.raises(ExpressionError) as caught:
        evaluate(tree, CONTEXTS)
    assert message in str(caught.value)
    assert caught.value.at == len(before)


def test_an_error_never_holds_a_value() -> None:
    for text in (
        "fromJSON(secrets.TOKEN)",
        "format(secrets.TOKEN)",
        "case(secrets.TOKEN, 1, 2)",
        "format('{1}', secrets)",
    ):
        with pytest.raises(ExpressionError) as caught:
            evaluate(parse_expression(text), {"secrets": {"TOKEN": "hunter{2"}})
        assert "hunter" not in str(caught.value)


class Asked:
    """Surroundings that remember what they were asked to hash."""

    def __init__(self, *, success: bool = True, failure: bool = False, cancelled: bool = False) -> None:
        self._answers = (success, failure, cancelled)
        self.hashed: list[tuple[str, ...]] = []

    def success(self) -> bool:
        return self._answers[0]

    def failure(self) -> bool:
        return self._answers[1]

    def cancelled(self) -> bool:
        return self._answers[2]

    def hash_files(self, patterns: tuple[str, ...]) -> str:
        self.hashed.append(patterns)
        return "cafe"


@pytest.mark.parametrize(
    ("surroundings", "success", "failure", "cancelled"),
    [
        (Asked(), True, False, False),
        (Asked(success=False, failure=True), False, True, False),
        (Asked(success=False, cancelled=True), False, False, True),
    ],
)
def test_status_functions(surroundings: Asked, success: bool, failure: bool, cancelled: bool) -> None:
    """Status check functions: success, failure and cancelled say what came before; always is always true."""
    for text, expected in (
        ("success()", success),
        ("Failure( )", failure),
        ("cancelled()", cancelled),
        ("!cancelled()", not cancelled),
        ("always()", True),
        ("ALWAYS()", True),
        ("failure() && github.event_name == 'push'", failure),
    ):
        assert evaluate(parse_expression(text), CONTEXTS, surroundings) is expected, text


def test_hash_files() -> None:
    """hashFiles: one pattern or several, each as a string."""
    surroundings = Asked()
    tree = parse_expression("format('{0}-{1}', hashFiles('**/a', github.ref, 1), HASHFILES('b'))")
    assert evaluate(tree, CONTEXTS, surroundings) == "cafe-cafe"
    assert surroundings.hashed == [("**/a", "refs/heads/main", "1"), ("b",)]


def test_to_json_is_json() -> None:
    value = {"a": [1.5, {"b": '\u2028\x7f\x00"\\'}, [], {}, None, True], "": "é"}
    assert json.loads(str(evaluate(parse_expression("toJSON(x)"), {"x": value}))) == value
