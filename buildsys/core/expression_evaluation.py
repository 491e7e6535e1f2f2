"""Evaluates an expression: total, without effects, and within the limits of `expression_limits`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, assert_never

from buildsys.core.expression_functions import PURE
from buildsys.core.expression_limits import ITEM, Work
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
    Star,
    Text,
    suggestion,
)
from buildsys.core.expression_values import (
    CaseSensitive,
    Kind,
    Value,
    equal,
    fold,
    is_primitive,
    is_true,
    kind,
    less,
    to_number,
    to_text,
)


class Surroundings(Protocol):
    """What an expression asks of where it is evaluated."""

    def success(self) -> bool:
        """Whether all steps before, or all needed jobs, succeeded."""

    def failure(self) -> bool:
        """Whether a step before, or a job among all that are needed, failed."""

    def cancelled(self) -> bool:
        """Whether the build is being canceled."""

    def hash_files(self, patterns: tuple[str, ...]) -> str:
        """One hash of the workspace's files that match; empty where none does."""


def evaluate(
    node: Node, contexts: Mapping[str, Value], surroundings: Surroundings | None = None, *, work: Work | None = None
) -> Value:
    """The value of an expression; a number is always a float.

    Contexts and their properties are found without regard to case; a property that is missing is null. `work` is what
    several evaluations may spend together; without it, each has `MAX_WORK`. Raises `ExpressionError` where a context
    is not among `contexts`, a function needs the surroundings and there are none, an argument cannot be used, or a
    limit is reached; and what the surroundings raise.
    """
    value = _Evaluation(contexts, surroundings, work or Work()).value(node)
    return to_number(value) if kind(value) == Kind.NUMBER else value


class _Filtered(list[Value]):
    """What `*` selected: a further index applies to each item, not to the array."""


class _Evaluation:
    def __init__(self, contexts: Mapping[str, Value], surroundings: Surroundings | None, work: Work) -> None:
        self._contexts = contexts
        self._surroundings = surroundings
        self._work = work

    def value(self, node: Node) -> Value:
        match node:
            case Literal(value=value):
                return value
            case Context():
                return self._context(node)
            case Index():
                return self._index(node)
            case Not(operand=operand):
                return not is_true(self.value(operand))
            case Compare():
                return self._compare(node)
            case Both(operands=operands):
                return self._first(operands, stop=False)
            case Either(operands=operands):
                return self._first(operands, stop=True)
            case Call():
                return self._call(node)
            case Text(at=at, parts=parts):
                return self._work.join((to_text(self.value(part)) for part in parts), at=at)
            case Star():
                raise AssertionError("a star is the key of an index")
        assert_never(node)

    def _context(self, node: Context) -> Value:
        for name, value in self._contexts.items():
            if name.lower() == node.name.lower():
                return value
        hint = suggestion(node.name, self._contexts)
        raise ExpressionError(f"there is no context {node.name[:60]!r} here{hint}", at=node.at)

    def _index(self, node: Index) -> Value:
        of = self.value(node.of)
        if isinstance(node.key, Star):
            return self._all(of, node.at)
        key = self.value(node.key)
        if isinstance(of, _Filtered):
            return _Filtered(found for item in of for found in self._found(item, key, node.at))
        return next(iter(self._found(of, key, node.at)), None)

    def _all(self, of: Value, at: int) -> _Filtered:
        selected = _Filtered()
        for collection in of if isinstance(of, _Filtered) else (of,):
            items = _items(collection)
            self._work.spend(ITEM * (1 + len(items)), at=at)
            selected.extend(items)
        return selected

    def _found(self, of: Value, key: Value, at: int) -> tuple[Value, ...]:
        """The value of a property or an item as the only one, or nothing."""
        self._work.spend(ITEM, at=at)
        if isinstance(of, Mapping):
            return self._property(of, to_text(key), at) if is_primitive(key) else ()
        number = to_number(key)
        items = _items(of)
        return (items[int(number)],) if 0 <= number < len(items) else ()

    def _property(self, of: Mapping[str, Value], name: str, at: int) -> tuple[Value, ...]:
        if name in of:
            return (of[name],)
        if isinstance(of, CaseSensitive):
            return ()
        self._work.spend(len(of) * ITEM, at=at)
        wanted = fold(name)
        for other, value in of.items():
            if len(other) == len(name):
                self._work.spend(len(name), at=at)
                if fold(other) == wanted:
                    return (value,)
        return ()

    def _compare(self, node: Compare) -> bool:
        left, right = self.value(node.left), self.value(node.right)
        self._work.spend(sum(len(side) for side in (left, right) if isinstance(side, str)), at=node.at)
        match node.operator:
            case "==":
                return equal(left, right)
            case "!=":
                return not equal(left, right)
            case "<":
                return less(left, right)
            case ">":
                return less(right, left)
            case "<=":
                return less(left, right) or equal(left, right)
            case _:
                return less(right, left) or equal(left, right)

    def _first(self, operands: Iterable[Node], *, stop: bool) -> Value:
        """The first value that is as true as `stop`, else the last; what follows is not evaluated."""
        value: Value = None
        for operand in operands:
            value = self.value(operand)
            if is_true(value) == stop:
                break
        return value

    def _call(self, node: Call) -> Value:
        if node.name == "case":
            return self._case(node)
        if node.name == "always":
            return True
        arguments = [self.value(argument) for argument in node.arguments]
        if pure := PURE.get(node.name):
            return pure(arguments, self._work, node.at)
        if self._surroundings is None:
            raise ExpressionError(f"{node.name}() has no meaning here", at=node.at)
        match node.name:
            case "success":
                return self._surroundings.success()
            case "failure":
                return self._surroundings.failure()
            case "cancelled":
                return self._surroundings.cancelled()
            case _:
                return self._surroundings.hash_files(tuple(to_text(argument) for argument in arguments))

    def _case(self, node: Call) -> Value:
        *pairs, otherwise = node.arguments
        for predicate, chosen in zip(pairs[::2], pairs[1::2], strict=True):
            holds = self.value(predicate)
            if not isinstance(holds, bool):
                raise ExpressionError(
                    f"a condition of case() must be true or false, not {kind(holds)}", at=predicate.at
                )
            if holds:
                return self.value(chosen)
        return self.value(otherwise)


def _items(value: Value) -> Sequence[Value]:
    """The items of an array and the values of an object; a primitive has none."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
