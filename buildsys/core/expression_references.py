"""Which properties of which contexts an expression names, found without evaluating it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from buildsys.core.expression_tree import Both, Compare, Context, Either, Index, Literal, Node, Not, Star, children
from buildsys.core.expression_values import is_primitive, to_text


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is the context's name in lower case, then the properties as they are written.

    None in it is a property that only evaluation can tell: `*`, or an index that is an expression.
    """

    at: int
    path: tuple[str | None, ...]


def references(node: Node) -> tuple[Reference, ...]:
    """Every mention of a context, each with its longest path, in the order of the text."""
    found = []
    ahead = [node]
    while ahead:
        current = ahead.pop()
        root, path, within = _chain(current)
        if isinstance(root, Context):
            found.append(Reference(at=root.at, path=(root.name.lower(), *path)))
            ahead.extend(reversed(within))
        else:
            ahead.extend(reversed([*children(root), *within]))
    return tuple(found)


def names_of(context: str, nodes: Iterable[Node]) -> frozenset[str] | None:
    """The properties of a context that expressions name, as they are written: the secrets of a job, say.

    None where that cannot be told: one takes the context as a whole, filters it, or computes a name.
    """
    names = set()
    for node in nodes:
        for reference in references(node):
            if reference.path[0] != context:
                continue
            name = reference.path[1] if len(reference.path) > 1 else None
            if name is None:
                return None
            names.add(name)
    return frozenset(names)


def needed_of(node: Node, *, asked: bool = False) -> Iterator[Node]:
    """The parts of an expression without those properties of contexts that are only asked about.

    Such are what `||` and `&&` decide by, what stands behind `!`, and what is compared: `secrets.NAME || 'default'`
    needs no secret. The last operand of `||` and `&&` is a value, unless all of it is only asked about, too.
    """
    match node:
        case Either(operands=(*deciding, last)) | Both(operands=(*deciding, last)):
            for operand in deciding:
                yield from needed_of(operand, asked=True)
            yield from needed_of(last, asked=asked)
        case Not() | Compare():
            for operand in children(node):
                yield from needed_of(operand, asked=True)
        case Index() if isinstance(_chain(node)[0], Context):
            if not (asked and isinstance(node.of, Context) and isinstance(node.key, Literal)):
                yield node
        case Context():
            yield node
        case _:
            for child in children(node):
                yield from needed_of(child)


def _chain(node: Node) -> tuple[Node, list[str | None], list[Node]]:
    """What a chain of indexes begins with, the names along it, and the expressions that compute one."""
    path: list[str | None] = []
    within: list[Node] = []
    while isinstance(node, Index):
        match node.key:
            case Literal(value=value) if is_primitive(value):
                path.append(to_text(value))
            case Star():
                path.append(None)
            case computed:
                path.append(None)
                within.append(computed)
        node = node.of
    return node, path[::-1], within[::-1]
