"""Finds what is wrong with an expression whatever the values are: for `lint`, before anything runs.

It says nothing where it does not know: a problem is something that can never be, or never hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from buildsys.core.expression_functions import formatted
from buildsys.core.expression_references import references
from buildsys.core.expression_shapes import ANY, BOOLEAN, CONTEXT_SHAPES, NULL, NUMBER, TEXT, Shape
from buildsys.core.expression_tree import (
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
    Problem,
    Star,
    Text,
    suggestion,
)
from buildsys.core.expression_values import Kind, fold, kind, parse_number, to_number, to_text

_FEW = 10
"""Words that a message tells all of."""

_COLLECTIONS = (Kind.ARRAY, Kind.OBJECT)
_LITERALS = {Kind.NULL: NULL, Kind.BOOLEAN: BOOLEAN, Kind.NUMBER: NUMBER, Kind.STRING: TEXT}
_RESULTS = {
    **dict.fromkeys(("contains", "startsWith", "endsWith", "success", "always", "cancelled", "failure"), BOOLEAN),
    **dict.fromkeys(("format", "join", "toJSON", "hashFiles"), TEXT),
}


def check_types(
    node: Node, shapes: Mapping[str, Shape] = CONTEXT_SHAPES, *, condition: bool = False
) -> tuple[Problem, ...]:
    """Properties that do not exist, comparisons that never hold, arguments that a function has no use for.

    `shapes` are what is known of the contexts, by their names in lower case. A `condition` that is a text, because
    of what stands around its `${{ }}`, is a problem as well: it is always true.
    """
    types = _Types(shapes)
    types.shape(node)
    if condition:
        body = node.operands[-1] if isinstance(node, Both) else node
        if isinstance(body, Text):
            types.report(0, "the text around ${{ }} makes this always true; put all of it into one ${{ }}, or none")
    return tuple(sorted(types.problems, key=lambda problem: problem.at))


class _Types:
    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes
        self.problems: list[Problem] = []

    def report(self, at: int, message: str) -> None:
        self.problems.append(Problem(at=at, message=message))

    def shape(self, node: Node) -> Shape:
        match node:
            case Literal(value=value):
                return _LITERALS[kind(value)]
            case Context(name=name):
                return self._shapes.get(name.lower(), ANY)
            case Index():
                return self._index(node)
            case Not(operand=operand):
                self.shape(operand)
                return BOOLEAN
            case Compare():
                self._compare(node)
                return BOOLEAN
            case Both(operands=operands) | Either(operands=operands):
                return _common([self.shape(operand) for operand in operands])
            case Call():
                return self._call(node)
            case Text(parts=parts):
                for part in parts:
                    self._refuse_collection(part, self.shape(part))
                return TEXT
            case Star():
                return ANY

    def _index(self, node: Index) -> Shape:
        of = self.shape(node.of)
        if isinstance(node.key, Star):
            item = (of.item or ANY) if of.kind == Kind.ARRAY else _common([*of.names.values(), *_maybe(of.rest)])
            return Shape(kind=Kind.ARRAY, item=item, filtered=True)
        self.shape(node.key)
        if not isinstance(node.key, Literal):
            return ANY
        if of.filtered:
            item = self._property(node, node.key, of.item or ANY)
            return Shape(kind=Kind.ARRAY, item=item, filtered=True)
        return self._property(node, node.key, of)

    def _property(self, node: Index, key: Literal, of: Shape) -> Shape:
        name = to_text(key.value)
        if of.kind == Kind.OBJECT:
            found = of.names.get(name) or _named_otherwise(of, name)
            if found is None:
                hint = suggestion(name, of.names)
                self.report(node.at, f"{_named(node.of)} has no property {name[:60]!r}{hint}")
            return found or ANY
        if of.kind == Kind.ARRAY:
            if math.isnan(to_number(key.value)):
                self.report(
                    node.at, f"{_named(node.of)} is an array; '.*.{name[:60]}' takes {name[:60]!r} of each item"
                )
            return of.item or ANY
        if of.kind is not None:
            self.report(node.at, f"{_named(node.of)} is a {of.kind} and has no properties")
        return ANY

    def _compare(self, node: Compare) -> None:
        left, right = self.shape(node.left), self.shape(node.right)
        if left.kind is None or right.kind is None:
            return
        kinds = f"this compares {_a(left.kind)} with {_a(right.kind)}"
        if left.kind in _COLLECTIONS or right.kind in _COLLECTIONS:
            if left.kind != right.kind or node.operator not in ("==", "!="):
                self.report(node.at, f"{kinds}, which are never equal, nor is one the greater")
        elif left.kind != right.kind and any(_is_word(side) for side in (node.left, node.right)):
            never = "they are never equal" if node.operator in ("==", "!=") else "this is never true"
            self.report(node.at, f"{kinds} that is no number, so {never}; write true and numbers unquoted")
        elif node.operator in ("==", "!="):
            self._refuse_unknown(node.left, left, node.right)
            self._refuse_unknown(node.right, right, node.left)

    def _refuse_unknown(self, of: Node, shape: Shape, word: Node) -> None:
        """A word that is compared with what is never that word."""
        if not shape.words or not isinstance(word, Literal) or not isinstance(word.value, str) or not word.value:
            return
        if fold(word.value) not in map(fold, shape.words):
            there_are = f"; it is one of {', '.join(shape.words)}" if len(shape.words) < _FEW else ""
            hint = suggestion(word.value, shape.words) or there_are
            self.report(word.at, f"{_named(of)} is never {word.value[:60]!r}{hint}")

    def _call(self, node: Call) -> Shape:
        shapes = [self.shape(argument) for argument in node.arguments]
        match node.name:
            case "case":
                for predicate, shape in zip(node.arguments[:-1:2], shapes[:-1:2], strict=True):
                    if shape.kind not in (None, Kind.BOOLEAN):
                        self.report(
                            _start(predicate), f"a condition of case() must be true or false, not {_a(shape.kind)}"
                        )
                return _common([*shapes[1:-1:2], shapes[-1]])
            case "contains":
                if shapes[0].kind == Kind.OBJECT:
                    self.report(
                        _start(node.arguments[0]), "contains() finds nothing in an object; '.*' makes an array of it"
                    )
                elif shapes[0].kind not in (None, Kind.ARRAY):
                    self._refuse_collection(node.arguments[1], shapes[1])
            case "join":
                if shapes[0].kind == Kind.OBJECT:
                    self.report(
                        _start(node.arguments[0]), "join() makes nothing of an object; '.*' makes an array of it"
                    )
            case "startsWith" | "endsWith" | "format" | "fromJSON" | "hashFiles":
                for argument, shape in zip(node.arguments, shapes, strict=True):
                    self._refuse_collection(argument, shape)
        if node.name == "format":
            self._format(node)
        return _RESULTS.get(node.name, ANY)

    def _format(self, node: Call) -> None:
        pattern = node.arguments[0]
        if isinstance(pattern, Literal):
            try:
                for _ in formatted(to_text(pattern.value), [""] * (len(node.arguments) - 1), pattern.at):
                    pass
            except ExpressionError as error:
                self.report(pattern.at, str(error))

    def _refuse_collection(self, node: Node, shape: Shape) -> None:
        if shape.kind in _COLLECTIONS:
            self.report(_start(node), f"{_a(shape.kind)} stands where a text is expected; toJSON() makes one of it")


def _named_otherwise(of: Shape, name: str) -> Shape | None:
    """A property that is written in another case, or of a name that is not known."""
    folded = fold(name)
    return next((shape for known, shape in of.names.items() if fold(known) == folded), of.rest)


def _common(shapes: list[Shape]) -> Shape:
    """The shape of a value that has one of these."""
    return shapes[0] if shapes and all(shape == shapes[0] for shape in shapes) else ANY


def _maybe(shape: Shape | None) -> tuple[Shape, ...]:
    return () if shape is None else (shape,)


def _start(node: Node) -> int:
    """Where the text of a node begins: an index and a comparison are told by what stands in them."""
    while isinstance(node, Index | Compare):
        node = node.of if isinstance(node, Index) else node.left
    return node.at


def _is_word(node: Node) -> bool:
    """Whether a node is a text that is compared with other kinds as NaN."""
    return isinstance(node, Literal) and isinstance(node.value, str) and math.isnan(parse_number(node.value))


def _named(node: Node) -> str:
    """A context's property as it is written, `steps.build.outputs`; where it is something else, `this`."""
    found = references(node)
    path = found[0].path if len(found) == 1 and isinstance(node, Context | Index) else ()
    return repr(".".join("*" if name is None else name[:60] for name in path)) if path else "this"


def _a(kind: Kind | None) -> str:
    return f"{'an' if kind in _COLLECTIONS else 'a'} {kind}"
