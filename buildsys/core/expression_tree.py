"""What an expression is once it was read: a tree whose every node knows where it stands in the text."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

import msgspec

MAX_DEPTH = 50
"""Nodes above one another, as GitHub allows; so a tree may be walked by recursion."""

_PATIENCE = 100
"""Characters of a misspelt word within which a suggestion is looked for."""


class ExpressionError(Exception):
    """An expression that cannot be read or evaluated; `at` is the offset in the text that was read.

    Messages hold parts of the expression itself, never a value of a context: that may be a secret.
    """

    def __init__(self, message: str, *, at: int) -> None:
        super().__init__(message)
        self.at = at


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with an expression that can be read; `at` is the offset in the text that was read."""

    at: int
    message: str


class Literal(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    value: bool | float | str | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A context by its name as it is written, such as `github`."""

    at: int
    name: str


class Star(msgspec.Struct, frozen=True, kw_only=True):
    """The `*` of an object filter; stands only as the `key` of an `Index`."""

    at: int


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """`of.name`, `of[key]`, `of.*` or `of[*]`; `at` is where the key stands."""

    at: int
    of: Node
    key: Node


class Not(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    operand: Node


class Compare(msgspec.Struct, frozen=True, kw_only=True):
    """`operator` is one of `== != < <= > >=`; `at` is where it stands."""

    at: int
    operator: str
    left: Node
    right: Node


class Both(msgspec.Struct, frozen=True, kw_only=True):
    """`a && b && …`: the first operand that is false, else the last."""

    at: int
    operands: tuple[Node, ...]


class Either(msgspec.Struct, frozen=True, kw_only=True):
    """`a || b || …`: the first operand that is true, else the last."""

    at: int
    operands: tuple[Node, ...]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a function that exists, with a number of arguments that it takes; `name` is as GitHub writes it."""

    at: int
    name: str
    arguments: tuple[Node, ...]


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Text with `${{ }}` in it: all parts as texts, one after the other."""

    at: int
    parts: tuple[Node, ...]


Node = Literal | Context | Star | Index | Not | Compare | Both | Either | Call | Text


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right under a node, in the order of the text."""
    match node:
        case Index(of=of, key=key):
            return of, key
        case Not(operand=operand):
            return (operand,)
        case Compare(left=left, right=right):
            return left, right
        case Both(operands=nodes) | Either(operands=nodes) | Call(arguments=nodes) | Text(parts=nodes):
            return nodes
        case Literal() | Context() | Star():
            return ()


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, each before those under it, in the order of the text."""
    ahead = [node]
    while ahead:
        current = ahead.pop()
        yield current
        ahead.extend(reversed(children(current)))


def suggestion(word: str, known: Collection[str]) -> str:
    """`; did you mean 'X'?` where a known word is near, else nothing."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word[:_PATIENCE].lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
