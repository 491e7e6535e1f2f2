"""The filters of serverless-cd's `triggers`: conditions on what a forge sent, as `body.ref in ["refs/heads/main"]`.

    condition    all { || all }          all   not { && not }
    not          ! not | comparison      comparison   value [ ( == | != | in | not in ) value ]
    value        text | number | true | false | null | [ values ] | body{.NAME}{[value]} | ( condition )

`and`, `or` and `not` may be written, too. What the payload does not have is null. Values are equal only if their kinds
are, and lists and objects never; `in` looks into a list, for a part of a text, or for a key. Nothing can be called, and
every condition ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_LENGTH = 2000
"""Characters of a filter."""

MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"\\]*"|'[^'\\]*')|(?P<number>-?[0-9]{1,15}(?:\.[0-9]{1,15})?)"""
    r"""|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<sign>===?|!==?|&&|\|\||[!()\[\],.]))"""
)
_WORDS = {"and": "&&", "or": "||", "not": "!", "===": "==", "!==": "!="}
_CONSTANTS = {"true": True, "false": False, "null": None, "undefined": None}

Value = Callable[[Any], Any]
"""Of a payload."""


def parse_filter(text: str) -> Callable[[Any], bool]:
    """What says of a payload whether it fits. Raises `ValueError` that says what is wrong with the filter."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a filter is at most {MAX_LENGTH:,} characters")
    parser = _Parser(_tokens(text))
    value = parser.condition()
    parser.expect("")
    return lambda payload: _truth(value(payload))


def _tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each; a sign's kind is the sign itself, and the end's is empty."""
    found, at = [], 0
    while text[at:].strip():
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"cannot read {text[at:].strip()[:20]!r}")
        kind, word = str(token.lastgroup), token[str(token.lastgroup)]
        sign = _WORDS.get(word, word if kind == "sign" or word == "in" else "") if kind != "text" else ""
        found.append((sign or kind, word))
        at = token.end()
    return [*found, ("", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def condition(self) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        parts = [self._all()]
        while self._take("||"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else lambda payload: any(_truth(part(payload)) for part in parts)

    def expect(self, kind: str) -> str:
        found, word = self._tokens[self._at]
        if found != kind:
            raise ValueError(f"expected {kind or 'the end'}, found {word or 'the end'}")
        self._at += kind != ""
        return word

    def _all(self) -> Value:
        parts = [self._not()]
        while self._take("&&"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda payload: all(_truth(part(payload)) for part in parts)

    def _not(self) -> Value:
        negations = 0
        while self._take("!"):
            negations += 1
        value = self._comparison()
        if not negations:
            return value
        return lambda payload: _truth(value(payload)) == (negations % 2 == 0)

    def _comparison(self) -> Value:
        left = self._value()
        if self._take("=="):
            right = self._value()
            return lambda payload: _equal(left(payload), right(payload))
        if self._take("!="):
            right = self._value()
            return lambda payload: not _equal(left(payload), right(payload))
        negated = self._take("!")
        if not negated and not self._take("in"):
            return left
        if negated:
            self.expect("in")
        right = self._value()
        return lambda payload: _within(left(payload), right(payload)) != negated

    def _value(self) -> Value:
        kind, word = self._tokens[self._at]
        self._at += kind != ""
        match kind:
            case "text":
                return _constant(word[1:-1])
            case "number":
                return _constant(float(word))
            case "[":
                return self._list()
            case "(":
                inner = self.condition()
                self.expect(")")
                return inner
            case "name" if word in _CONSTANTS:
                return _constant(_CONSTANTS[word])
            case "name" if word == "body":
                return self._path()
        raise ValueError(f"expected a value such as body.ref or a text, found {word[:40] or 'the end'}")

    def _list(self) -> Value:
        items: list[Value] = []
        while not self._take("]"):
            if items:
                self.expect(",")
            self._depth += 1
            items.append(self.condition())
            self._depth -= 1
        return lambda payload: [item(payload) for item in items]

    def _path(self) -> Value:
        keys: list[Value] = []
        while True:
            if self._take("."):
                keys.append(_constant(self.expect("name")))
            elif self._take("["):
                keys.append(self.condition())
                self.expect("]")
            else:
                return lambda payload: _found(payload, [key(payload) for key in keys])

    def _take(self, kind: str) -> bool:
        found = self._tokens[self._at][0] == kind
        self._at += found
        return found


def _constant(value: Any) -> Value:
    return lambda _payload: value


def _found(value: Any, keys: list[Any]) -> Any:
    """What is at the end of the path, null where there is none."""
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, float) and key.is_integer() and 0 <= key < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, list | Mapping) or isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _within(left: Any, right: Any) -> bool:
    if isinstance(right, list):
        return any(_equal(left, item) for item in right)
    return isinstance(left, str) and isinstance(right, str | Mapping) and left in right


def _truth(value: Any) -> bool:
    """As JavaScript has it: null, false, 0 and the empty text are not true."""
    return isinstance(value, list | Mapping) or bool(value)
