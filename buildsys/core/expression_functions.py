"""The functions of expressions that need nothing but their arguments, and how many arguments each function takes.

Source: "Functions" in GitHub's expressions reference; limits of arguments as in GitHub's published runner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from buildsys.core.expression_limits import ITEM, Work
from buildsys.core.expression_tree import ExpressionError
from buildsys.core.expression_values import Kind, Value, equal, fold, is_primitive, kind, to_json_text, to_text

MOST = 255
"""Arguments of a call, at most."""

MAX_JSON_DEPTH = 64
"""Arrays and objects within one another that fromJSON reads, as on GitHub's runners."""

ARGUMENTS = {
    "contains": (2, 2),
    "startsWith": (2, 2),
    "endsWith": (2, 2),
    "format": (1, MOST),
    "join": (1, 2),
    "toJSON": (1, 1),
    "fromJSON": (1, 1),
    "case": (3, MOST),
    "hashFiles": (1, MOST),
    "success": (0, 0),
    "always": (0, 0),
    "cancelled": (0, 0),
    "failure": (0, 0),
}
"""Every function, with the least and the most arguments that it takes; `case` takes an odd number."""

STATUS = frozenset({"success", "always", "cancelled", "failure"})
"""The status check functions: an `if` that calls none of them is read as `success() && (…)`."""

_JSON_UNITS = 8
"""Work for a character of JSON: as much as what is made of it takes memory."""

_PLACEHOLDER = re.compile(r"[^{}]+|\{\{|\}\}|\{[0-9]{1,9}\}|[{}]")
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def contains(arguments: Sequence[Value], work: Work, at: int) -> Value:
    """Whether a text has a part, or an array an item; neither regards case."""
    searched, wanted = arguments
    if kind(searched) == Kind.ARRAY:
        assert isinstance(searched, Sequence)
        for item in searched:
            work.spend(ITEM + _length(item) + _length(wanted), at=at)
            if equal(wanted, item):
                return True
        return False
    texts = _texts(arguments, work, at)
    return texts is not None and texts[1] in texts[0]


def starts_with(arguments: Sequence[Value], work: Work, at: int) -> Value:
    texts = _texts(arguments, work, at)
    return texts is not None and texts[0].startswith(texts[1])


def ends_with(arguments: Sequence[Value], work: Work, at: int) -> Value:
    texts = _texts(arguments, work, at)
    return texts is not None and texts[0].endswith(texts[1])


def format_text(arguments: Sequence[Value], work: Work, at: int) -> Value:
    """The first argument with `{0}`, `{1}`… replaced by those after it; `{{` and `}}` are braces."""
    pattern, *values = (to_text(argument) for argument in arguments)
    return work.join(formatted(pattern, values, at), at=at)


def join(arguments: Sequence[Value], work: Work, at: int) -> Value:
    """The items of an array as texts, with `,` or the second argument between them; a primitive is its own text."""
    items = arguments[0]
    if isinstance(items, str) or not isinstance(items, Sequence):
        return to_text(items) if is_primitive(items) else ""
    separator = to_text(arguments[1]) if len(arguments) > 1 and is_primitive(arguments[1]) else ","
    return work.join(_separated(items, separator), at=at)


def to_json(arguments: Sequence[Value], work: Work, at: int) -> Value:
    """The value in JSON, each item on a line of its own and indented by two spaces."""
    return work.join(_json(arguments[0]), at=at)


def from_json(arguments: Sequence[Value], work: Work, at: int) -> Value:
    """The value that a text is in JSON; half a surrogate pair is read as U+FFFD, so that every text can be encoded."""
    text = to_text(arguments[0])
    work.spend(len(text) * _JSON_UNITS, at=at)
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += (bracket[0] in "[{") - (bracket[0] in "]}")
        if depth > MAX_JSON_DEPTH:
            raise ExpressionError(f"the JSON is nested deeper than {MAX_JSON_DEPTH} levels", at=at)
    text = _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)
    try:
        value: Value = json.loads(text, parse_int=float, parse_constant=_no_constant, strict=False)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}" if text.strip() else "it is empty"
        raise ExpressionError(f"the text is not JSON: {where}", at=at) from None
    return value


PURE: dict[str, Callable[[Sequence[Value], Work, int], Value]] = {
    "contains": contains,
    "startsWith": starts_with,
    "endsWith": ends_with,
    "format": format_text,
    "join": join,
    "toJSON": to_json,
    "fromJSON": from_json,
}


def _length(value: Value) -> int:
    return len(value) if isinstance(value, str) else 0


def _texts(arguments: Sequence[Value], work: Work, at: int) -> tuple[str, str] | None:
    """Two primitives as texts without case; None where one is no primitive."""
    left, right = arguments
    if not is_primitive(left) or not is_primitive(right):
        return None
    work.spend(_length(left) + _length(right), at=at)
    return fold(to_text(left)), fold(to_text(right))


def formatted(pattern: str, values: Sequence[str], at: int) -> Iterator[str]:
    for part in _PLACEHOLDER.findall(pattern):
        if part in ("{{", "}}"):
            yield part[0]
        elif part in ("{", "}"):
            raise ExpressionError(f"a lone {part!r} in the text to format; write {part * 2!r} for itself", at=at)
        elif part[0] == "{":
            number = int(part[1:-1])
            if number >= len(values):
                raise ExpressionError(f"the text to format has {part} and there are {len(values)} values", at=at)
            yield values[number]
        else:
            yield part


def _separated(items: Sequence[Value], separator: str) -> Iterator[str]:
    for number, item in enumerate(items):
        if number:
            yield separator
        yield to_text(item)


def _json(value: Value) -> Iterator[str]:
    """The pieces of a value's JSON, made without recursion: a context may be nested as deep as it likes."""
    within: list[tuple[Iterator[tuple[str, Value]], str]] = []
    entry: tuple[str, Value] | None = ("", value)
    while entry is not None:
        lead, item = entry
        if is_primitive(item):
            yield lead + to_json_text(item)
        else:
            opening, closing = "{}" if isinstance(item, Mapping) else "[]"
            yield lead + opening
            within.append(
                (_entries(item, len(within) + 1), closing if not item else f"\n{'  ' * len(within)}{closing}")
            )
        entry = None
        while within and (entry := next(within[-1][0], None)) is None:
            yield within.pop()[1]


def _entries(value: Value, depth: int) -> Iterator[tuple[str, Value]]:
    """What stands before each entry of an array or object, and the entry."""
    margin = "\n" + "  " * depth
    if isinstance(value, Mapping):
        for number, (name, item) in enumerate(value.items()):
            yield f"{',' if number else ''}{margin}{to_json_text(name)}: ", item
    elif isinstance(value, Sequence):
        for number, item in enumerate(value):
            yield f"{',' if number else ''}{margin}", item


def _no_constant(name: str) -> Value:
    raise json.JSONDecodeError(f"{name} is no JSON", name, 0)
