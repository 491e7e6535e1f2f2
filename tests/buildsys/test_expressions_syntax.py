"""What can be read as an expression, a template or a condition, and what is said where it cannot.

A `‸` in a text marks the place that an error names. Sources: "Literals" and "Operators" of the expressions reference,
`jobs.<job_id>.if` of the syntax reference, and GitHub's published runner for what may follow what.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from expression_cases import CONTEXTS
from test_expressions_functions import Asked

from buildsys.core.expressions import (
    ExpressionError,
    Node,
    Value,
    evaluate,
    is_true,
    parse_condition,
    parse_expression,
    parse_template,
)


def check_refused(parse: Callable[[str], Node], marked: str, message: str) -> None:
    before, mark, after = marked.partition("‸")
    assert mark
    with pytest.raises(ExpressionError) as caught:
        parse(before + after)
    assert message in str(caught.value)
    assert caught.value.at == len(before), caught.value


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("‸", "expected an expression, found nothing"),
        ("  ‸", "expected an expression, found nothing"),
        ("1 ==‸", "expected a value, found the end"),
        ("‸== 1", "expected a value, found '=='"),
        ("1 == ‸&& 2", "expected a value, found '&&'"),
        ("1 ‸2", "expected an operator or the end, found '2'"),
        ("1 ‸!2", "expected an operator or the end, found '!'"),
        ("github.ref ‸and true", "expected an operator or the end, found 'and'; did you mean '&&'?"),
        ("a ‸OR b", "did you mean '||'?"),
        ("a ‸= b", "unexpected '='; == compares"),
        ("a ‸& b", "unexpected '&'; && means and"),
        ("a ‸| b", "unexpected '|'; || means or"),
        ("a ‸+ b", "unexpected '+'; there is no arithmetic in expressions"),
        ("a ‸- b", "there is no arithmetic"),
        ("a ‸/ b", "there is no arithmetic"),
        ("1 ‸* 2", "expected an operator or the end, found '*'"),
        ('github.ref == ‸"main"', "unexpected '\"'; a text stands in single quotes"),
        ("‸'abc", "a text without its closing quote"),
        ("‸'abc''", "a text without its closing quote"),
        ("'a' ‸'b'", "expected an operator or the end, found 'b'"),
        ("‸1a", "unexpected '1a'; not a number"),
        ("‸-abc", "not a number"),
        ("‸1.2.3", "not a number"),
        ("‸0x", "not a number"),
        ("‸-0x1", "not a number"),
        ("‸0x1ffffffff", "not a number"),
        ("‸-NaN", "not a number"),
        ("‸a$b", "unexpected 'a$b'"),
        ("‸#", "unexpected '#'"),
        ("a ‸? b : c", "unexpected '?'"),
        ("‸{}", "unexpected '{}'"),
        ("‸\0", "unexpected '\\x00'"),
        ("foo.‸b@r", "unexpected 'b@r'"),
        ("foo.‸1", "expected the name of a property, or *, found '1'"),
        ("foo.‸'x'", "expected the name of a property, or *, found 'x'"),
        ("foo.‸", "expected the name of a property, or *, found the end"),
        ("foo.‸.bar", "expected the name of a property, or *, found '.'"),
        ("foo.bar‸()", "expected an operator or the end, found '('"),
        ("foo.* ‸bar", "expected an operator or the end, found 'bar'"),
        ("foo[‸]", "expected a value, found ']'"),
        ("foo[1‸", "expected an operator or ']', found the end"),
        ("foo[1‸)", "expected an operator or ']', found ')'"),
        ("foo[* ‸1]", "expected an operator or ']', found '1'"),
        ("‸*", "expected a value, found '*'"),
        ("'abc'‸.length", "expected an operator or the end, found '.'"),
        ("true‸.x", "expected an operator or the end, found '.'"),
        ("'abc'‸[0]", "expected an operator or the end, found '['"),
        ("(1‸", "expected an operator or ')', found the end"),
        ("(1 == 1‸]", "expected an operator or ')', found ']'"),
        ("(‸)", "expected a value, found ')'"),
        ("1‸)", "expected an operator or the end, found ')'"),
        ("(1‸, 2)", "expected an operator or ')', found ','"),
        ("1‸, 2", "expected an operator or the end, found ','"),
        ("contains('a', ‸)", "expected a value, found ')'"),
        ("contains(‸, 'a')", "expected a value, found ','"),
        ("contains('a'‸", "expected an operator, ',' or ')', found the end"),
        ("contains('a' ‸'b')", "expected an operator, ',' or ')', found 'b'"),
        ("true ‸}}", "unexpected '}'"),
    ],
)
def test_what_cannot_be_read(marked: str, message: str) -> None:
    check_refused(parse_expression, marked, message)


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("‸contain('a', 'b')", "unknown function 'contain'; did you mean 'contains'?"),
        ("1 == ‸Fromjsn('1')", "unknown function 'Fromjsn'; did you mean 'fromJSON'?"),
        ("‸canceled()", "unknown function 'canceled'; did you mean 'cancelled'?"),
        ("‸eval('x')", "unknown function 'eval'"),
        ("‸github('x')", "unknown function 'github'"),
        ("null‸()", "found '('"),
        ("‸contains('a')", "contains() takes 2 arguments, not 1"),
        ("‸contains('a', 'b', 'c')", "contains() takes 2 arguments, not 3"),
        ("‸startsWith()", "startsWith() takes 2 arguments, not 0"),
        ("‸endsWith('a')", "endsWith() takes 2 arguments, not 1"),
        ("‸format()", "format() takes 1 to 255 arguments, not 0"),
        ("‸join()", "join() takes 1 to 2 arguments, not 0"),
        ("‸join(a, b, c)", "join() takes 1 to 2 arguments, not 3"),
        ("‸tojson()", "toJSON() takes 1 argument, not 0"),
        ("‸fromJSON('1', '2')", "fromJSON() takes 1 argument, not 2"),
        ("‸hashFiles()", "hashFiles() takes 1 to 255 arguments, not 0"),
        ("‸success(1)", "success() takes 0 arguments, not 1"),
        ("‸always(true)", "always() takes 0 arguments, not 1"),
        ("‸failure('a')", "failure() takes 0 arguments, not 1"),
        ("‸cancelled(1)", "cancelled() takes 0 arguments, not 1"),
        ("‸case(true)", "case() takes 3 to 255 arguments, not 1"),
        ("‸case(true, 1)", "case() takes pairs"),
        ("‸case(true, 1, false, 2)", "case() takes pairs"),
        (f"‸format({', '.join(['1'] * 256)})", "format() takes 1 to 255 arguments, not 256"),
    ],
)
def test_calls_that_cannot_be(marked: str, message: str) -> None:
    """Functions: only those of the reference; runner: the number of arguments is checked before anything runs."""
    check_refused(parse_expression, marked, message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain $ { } }} $${ text", "plain $ { } }} $${ text"),
        ("${{ github.ref }}", "refs/heads/main"),
        ("${{github.ref}}", "refs/heads/main"),
        ("${{ matrix.node }}", 16.0),
        ("${{ true }}", True),
        ("${{ null }}", None),
        ("${{ fromJSON('[1]') }}", [1.0]),
        (" ${{ matrix.node }}", " 16"),
        ("${{ matrix.node }}\n", "16\n"),
        ("${{ true }}${{ false }}", "truefalse"),
        ("on ${{ matrix.os }} and ${{ matrix.node }}!", "on linux and 16!"),
        ("${{ null }}.", "."),
        ("a ${{ matrix.list }} b", "a Array b"),
        ("a ${{ matrix }} b", "a Object b"),
        ("${{ 'a }} b' }}", "a }} b"),
        ("${{ 'it''s }}' }} x", "it's }} x"),
        ("${{ '${{' }}", "${{"),
        ("{0} ${{ 'b' }} {1} it's", "{0} b {1} it's"),
        ("${{ format('{{{0}}}', 1) }}", "{1}"),
        ("$${{ 1 }}", "$1"),
        ("${{ 1 }}}", "1}"),
        ("${{\n  'a'\n  ||\n  'b'\n}}", "a"),
    ],
)
def test_templates(text: str, expected: Value) -> None:
    """Expressions: `${{ <expression> }}` stands for its value; runner: one that is the whole value keeps its type."""
    assert evaluate(parse_template(text), CONTEXTS) == expected


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("a ‸${{ github.ref", "'${{' without '}}'"),
        ("‸${{", "'${{' without '}}'"),
        ("${{ a ‸}", "unexpected '}'"),
        ("${{ ‸}}", "expected an expression, found nothing"),
        ("x ${{‸}} y", "expected an expression, found nothing"),
        ("${{ 1 }} ${{ ‸}}", "expected an expression, found nothing"),
        ("${{ ‸'a }}", "a text without its closing quote"),
        ('${{ ‸"it\'s" }}', "a text stands in single quotes"),
        ("${{ a == ‸}} b", "expected a value, found the end"),
        ("${{ 1 }} and ${{ ‸unknown(1) }}", "unknown function"),
        ("${{ a }} ‸${{ b", "'${{' without '}}'"),
        ("${{ ‸${{ a }} }}", "unexpected '${{'"),
        ("${{ foo.‸}}", "expected the name of a property"),
    ],
)
def test_what_is_no_template(marked: str, message: str) -> None:
    check_refused(parse_template, marked, message)


@pytest.mark.parametrize(
    ("text", "when_good", "when_failed", "when_cancelled"),
    [
        ("", True, False, False),
        ("  ", True, False, False),
        ("true", True, False, False),
        ("false", False, False, False),
        ("${{ true }}", True, False, False),
        ("github.event_name == 'push'", True, False, False),
        ("${{ github.event_name == 'PUSH' }}", True, False, False),
        ("github.event_name", True, False, False),
        ("github.missing", False, False, False),
        ("0 || 'x'", True, False, False),
        ("success()", True, False, False),
        ("failure()", False, True, False),
        ("always()", True, True, True),
        ("cancelled()", False, False, True),
        ("!cancelled()", True, True, False),
        ("${{ !cancelled() }}", True, True, False),
        ("failure() && needs.b.result == 'failure'", False, True, False),
        ("true || always()", True, True, True),
        ("false && always()", False, False, False),
        ("contains('always()', 'x') || true", True, False, False),
        ("format('{0}', failure()) == 'true'", False, True, False),
        ("${{ false }} ", True, False, False),
        ("${{ github.ref }} == 'x'", True, False, False),
        ("${{ false }}${{ '' }}", True, False, False),
        ("x == ${{ failure() }}", True, True, True),
    ],
)
def test_conditions(text: str, when_good: bool, when_failed: bool, when_cancelled: bool) -> None:
    """Status check functions: success() is applied unless one of them is included; if: `${{ }}` may be left out.

    Runner: text around a `${{ }}` makes the condition a text, which is true.
    """
    tree = parse_condition(text)
    for expected, surroundings in (
        (when_good, Asked()),
        (when_failed, Asked(success=False, failure=True)),
        (when_cancelled, Asked(success=False, cancelled=True)),
    ):
        assert is_true(evaluate(tree, CONTEXTS, surroundings)) is expected


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("github.ref ‸= 1", "== compares"),
        ("a ‸and b", "did you mean '&&'?"),
        ("‸${{ a", "'${{' without '}}'"),
    ],
)
def test_what_is_no_condition(marked: str, message: str) -> None:
    check_refused(parse_condition, marked, message)
