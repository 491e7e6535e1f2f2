"""GitHub's expression language, `${{ }}`: from a text of a workflow file to a tree, and from the tree to a value.

    parse_template    "on ${{ matrix.os }}"         a tree whose value is a text, or that of a lone `${{ }}`
    parse_condition   "github.ref_name == 'main'"   a tree that calls success() where it says nothing of the status
    parse_expression  "a && b"                      what stands between `${{` and `}}`
    parse_parts       "${{ a }} and ${{ b b }}"     each `${{ }}` on its own, and every error

    check             the contexts and functions that a place in the file does not have
    references        which properties of which contexts a tree names
    check_types       what is always wrong: no such property, a comparison that never holds

    evaluate, is_true, to_text, to_number

Everything is pure, and bounded whatever it is given: an expression is at most 21,000 characters long and 50 levels
deep, evaluation spends at most `MAX_WORK`, and a text is at most `MAX_TEXT` long. What is wrong is an
`ExpressionError` with the offset in the text that was parsed; its message never holds a value.
"""

from __future__ import annotations

from buildsys.core.expression_evaluation import Surroundings, evaluate
from buildsys.core.expression_functions import STATUS
from buildsys.core.expression_limits import MAX_TEXT, MAX_WORK, Work
from buildsys.core.expression_parser import read
from buildsys.core.expression_places import PLACES, Place, check
from buildsys.core.expression_references import Reference, names_of, references
from buildsys.core.expression_tokens import CLOSE, OPEN
from buildsys.core.expression_tree import Both, Call, ExpressionError, Literal, Node, Problem, Text, walk
from buildsys.core.expression_types import check_types
from buildsys.core.expression_values import CaseSensitive, Value, is_true, to_number, to_text

__all__ = [
    "MAX_ERRORS",
    "MAX_TEXT",
    "MAX_WORK",
    "PLACES",
    "CaseSensitive",
    "ExpressionError",
    "Node",
    "Place",
    "Problem",
    "Reference",
    "Surroundings",
    "Value",
    "Work",
    "check",
    "check_types",
    "evaluate",
    "is_true",
    "names_of",
    "parse_condition",
    "parse_expression",
    "parse_parts",
    "parse_template",
    "references",
    "to_number",
    "to_text",
]

MAX_ERRORS = 20
"""Of a text: so many are told."""


def parse_expression(text: str) -> Node:
    """An expression without `${{ }}` around it."""
    return read(text)[0]


def parse_template(text: str) -> Node:
    """A text with any number of `${{ }}` in it; `}}` within a string of an expression does not end it.

    Where the text is one `${{ }}` and nothing else, not even a space, its value keeps its type; else all becomes text.
    """
    parts: list[Node] = []
    at = 0
    while (opening := text.find(OPEN, at)) >= 0:
        if opening > at:
            parts.append(Literal(at=at, value=text[at:opening]))
        node, at = read(text, start=opening + len(OPEN), braced=True)
        parts.append(node)
    if at < len(text) or not parts:
        parts.append(Literal(at=at, value=text[at:]))
    return parts[0] if len(parts) == 1 else Text(at=0, parts=tuple(parts))


def parse_parts(text: str) -> tuple[tuple[Node, ...], tuple[ExpressionError, ...]]:
    """Each `${{ }}` of a template that can be read, and what is wrong with the others: to tell all at once.

    Behind one that is wrong it goes on after the next `}}`. At most `MAX_ERRORS` are told.
    """
    nodes: list[Node] = []
    errors: list[ExpressionError] = []
    at = 0
    while (opening := text.find(OPEN, at)) >= 0 and len(errors) < MAX_ERRORS:
        try:
            node, at = read(text, start=opening + len(OPEN), braced=True)
            nodes.append(node)
        except ExpressionError as error:
            errors.append(error)
            closing = text.find(CLOSE, error.at)
            at = closing + len(CLOSE) if closing >= 0 else len(text)
    return tuple(nodes), tuple(errors)


def parse_condition(text: str) -> Node:
    """An `if`: an expression in `${{ }}` or without, read as `success() && (…)` unless it calls a status function.

    Empty, it is `success()`. Text around a `${{ }}` makes all of it a text, which is true, as on GitHub; `check_types`
    finds that.
    Sources: `jobs.<job_id>.if` and "Status check functions" in GitHub's references.
    """
    success = Call(at=0, name="success", arguments=())
    if not text.strip():
        return success
    node = parse_template(text) if OPEN in text else parse_expression(text)
    if any(isinstance(part, Call) and part.name in STATUS for part in walk(node)):
        return node
    return Both(at=node.at, operands=(success, node))
