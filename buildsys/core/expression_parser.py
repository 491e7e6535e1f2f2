"""Reads an expression by GitHub's grammar.

    either   = both { "||" both }
    both     = equality { "&&" equality }
    equality = relation { ("==" | "!=") relation }
    relation = operand { ("<" | "<=" | ">" | ">=") operand }
    operand  = "!" operand | literal | chain
    chain    = ( name | call | "(" either ")" ) { "." ( name | "*" ) | "[" ( either | "*" ) "]" }
    call     = name "(" [ either { "," either } ] ")"
    literal  = "null" | "true" | "false" | "NaN" | "Infinity" | number | string

Functions are known by name without regard to case. Groups count as depth, which GitHub does not: more than 50 of them
around one another are refused. Source: "Operators" in the expressions reference; where a chain may begin and what may
follow what, as GitHub's published runner has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from buildsys.core.expression_functions import ARGUMENTS
from buildsys.core.expression_tokens import Token, TokenKind, tokens
from buildsys.core.expression_tree import (
    MAX_DEPTH,
    Both,
    Call,
    Compare,
    Context,
    Either,
    ExpressionError,
    Index,
    Literal,
    Node,
    Not,
    Star,
    children,
    suggestion,
)
from buildsys.core.expression_values import parse_number

_CONSTANTS = {"null": None, "true": True, "false": False, "NaN": math.nan, "Infinity": math.inf}
_FUNCTIONS = {name.lower(): name for name in ARGUMENTS}
_COMPARISONS = (("==", "!="), ("<", "<=", ">", ">="))
_WORDS = {"and": "&&", "or": "||", "not": "!", "eq": "==", "ne": "!="}


def read(text: str, *, start: int = 0, braced: bool = False) -> tuple[Node, int]:
    """The expression that begins at `start`, and where the text goes on; `braced` is one that ends with `}}`.

    Raises `ExpressionError` at the first place that is wrong.
    """
    reader = _Reader(tokens(text, start=start, braced=braced))
    node = reader.whole()
    if reader.token.end - start > MAX_DEPTH:  # a level takes a character at least
        _refuse_deep(node)
    return node, reader.token.end


class _Reader:
    """`token` is the next that was not read yet."""

    def __init__(self, source: Iterator[Token]) -> None:
        self._source = source
        self._depth = 0
        self.token = next(source)

    def whole(self) -> Node:
        if self._at_end():
            raise ExpressionError("expected an expression, found nothing", at=self.token.at)
        node = self._either()
        if not self._at_end():
            raise self._unexpected("an operator or the end")
        return node

    def _either(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep(self.token.at)
        at = self.token.at
        operands = [self._both()]
        while self._take("||"):
            operands.append(self._both())
        self._depth -= 1
        return operands[0] if len(operands) == 1 else Either(at=at, operands=tuple(operands))

    def _both(self) -> Node:
        at = self.token.at
        operands = [self._comparison()]
        while self._take("&&"):
            operands.append(self._comparison())
        return operands[0] if len(operands) == 1 else Both(at=at, operands=tuple(operands))

    def _comparison(self, level: int = 0) -> Node:
        if level == len(_COMPARISONS):
            return self._operand()
        left = self._comparison(level + 1)
        while operator := self._take(*_COMPARISONS[level]):
            right = self._comparison(level + 1)
            left = Compare(at=operator.at, operator=operator.text, left=left, right=right)
        return left

    def _operand(self) -> Node:
        signs = []
        while sign := self._take("!"):
            signs.append(sign)
        node = self._primary()
        for sign in reversed(signs):
            node = Not(at=sign.at, operand=node)
        return node

    def _primary(self) -> Node:
        token = self.token
        if token.kind == TokenKind.STRING:
            self._next()
            return Literal(at=token.at, value=token.text)
        if token.kind == TokenKind.NUMBER:
            self._next()
            return Literal(at=token.at, value=parse_number(token.text))
        if token.kind == TokenKind.NAME:
            self._next()
            if token.text in _CONSTANTS:
                return Literal(at=token.at, value=_CONSTANTS[token.text])
            call = self._take("(")
            return self._chain(self._call(token) if call else Context(at=token.at, name=token.text))
        if self._take("("):
            inner = self._either()
            self._expect(")", "an operator or ')'")
            return self._chain(inner)
        raise self._unexpected("a value")

    def _chain(self, node: Node) -> Node:
        while True:
            if self._take("."):
                key = self.token
                if self._take("*"):
                    node = Index(at=key.at, of=node, key=Star(at=key.at))
                elif key.kind == TokenKind.NAME:
                    self._next()
                    node = Index(at=key.at, of=node, key=Literal(at=key.at, value=key.text))
                else:
                    raise self._unexpected("the name of a property, or *")
            elif self._take("["):
                at = self.token.at
                node = Index(at=at, of=node, key=Star(at=at) if self._take("*") else self._either())
                self._expect("]", "an operator or ']'")
            else:
                return node

    def _call(self, name: Token) -> Call:
        function = _FUNCTIONS.get(name.text.lower())
        if function is None:
            raise ExpressionError(f"unknown function {name.text[:60]!r}{suggestion(name.text, ARGUMENTS)}", at=name.at)
        arguments: list[Node] = []
        if not self._take(")"):
            arguments.append(self._either())
            while self._take(","):
                arguments.append(self._either())
            self._expect(")", "an operator, ',' or ')'")
        _refuse_count(function, len(arguments), name.at)
        return Call(at=name.at, name=function, arguments=tuple(arguments))

    def _at_end(self) -> bool:
        return self.token.kind == TokenKind.END

    def _next(self) -> None:
        self.token = next(self._source)

    def _take(self, *symbols: str) -> Token | None:
        """The next token if it is one of these, and then it is read."""
        token = self.token
        if token.kind != TokenKind.SYMBOL or token.text not in symbols:
            return None
        self._next()
        return token

    def _expect(self, symbol: str, expected: str) -> None:
        if not self._take(symbol):
            raise self._unexpected(expected)

    def _unexpected(self, expected: str) -> ExpressionError:
        token = self.token
        if token.kind == TokenKind.END:
            return ExpressionError(f"expected {expected}, found the end", at=token.at)
        meant = _WORDS.get(token.text.lower()) if token.kind == TokenKind.NAME else None
        advice = f"; did you mean {meant!r}?" if meant else ""
        return ExpressionError(f"expected {expected}, found {token.text[:60]!r}{advice}", at=token.at)


def _refuse_count(function: str, count: int, at: int) -> None:
    least, most = ARGUMENTS[function]
    if function == "case" and count % 2 == 0:
        raise ExpressionError("case() takes pairs of a condition and a value, then a value for when none holds", at=at)
    if not least <= count <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ExpressionError(f"{function}() takes {wanted} argument{'s'[: wanted != '1']}, not {count}", at=at)


def _refuse_deep(root: Node) -> None:
    ahead = [(root, 1)]
    while ahead:
        node, depth = ahead.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(node.at)
        ahead.extend((child, depth + 1) for child in children(node))


def _too_deep(at: int) -> ExpressionError:
    return ExpressionError(f"an expression is at most {MAX_DEPTH} levels deep", at=at)
