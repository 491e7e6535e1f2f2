"""Evaluates what of a job is evaluated before it starts, and refuses what is not of the kind that its place takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildsys.core.definition import Amount, Switch, Template, Tree
from buildsys.core.expression_tokens import OPEN
from buildsys.core.expressions import (
    ExpressionError,
    Node,
    Surroundings,
    Value,
    Work,
    evaluate,
    is_true,
    parse_condition,
    parse_template,
    to_text,
)

_UNITS = 8
"""Work for a character of a template, each time that it is evaluated: what walking its tree takes."""

_TRUTHS: Mapping[object, bool] = {"true": True, "false": False}


class PlanError(Exception):
    """A job that cannot be planned, with the key that is to blame; shown to the user as why the job failed."""


class Evaluator:
    """Evaluates templates over the same contexts.

    All evaluations of an evaluator, and of those made from it by `within` and `over`, share one allowance of work: a
    matrix of 256 costs no more than one expression may. Every method raises `PlanError` with `key` in front.
    """

    def __init__(self, contexts: Mapping[str, Any]) -> None:
        self.contexts = contexts
        self._work = Work()
        self._parsed: dict[str, Node] = {}

    def within(self, **contexts: Any) -> Evaluator:
        """An evaluator with these contexts beside its own."""
        return self.over({**self.contexts, **contexts})

    def over(self, contexts: Mapping[str, Any]) -> Evaluator:
        """An evaluator with these contexts only."""
        other = Evaluator(contexts)
        other._work, other._parsed = self._work, self._parsed
        return other

    def value(self, template: Template, key: str) -> Any:
        """Of any kind: a template that is one `${{ }}` keeps that of its value."""
        if OPEN not in template:
            return template
        try:
            self._work.spend(len(template) * _UNITS, at=0)
            if template not in self._parsed:
                self._parsed[template] = parse_template(template)
            return evaluate(self._parsed[template], self.contexts, work=self._work)
        except ExpressionError as error:
            raise PlanError(f"{key}: {error}") from None

    def tree(self, tree: Tree, key: str) -> Any:
        """The tree with all its templates evaluated; numbers are floats, as everywhere in expressions."""
        if isinstance(tree, str):
            return self.value(tree, key)
        if isinstance(tree, Mapping):
            return {name: self.tree(value, f"{key}.{name[:60]}") for name, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.tree(item, f"{key}[{number}]") for number, item in enumerate(tree)]
        return float(tree) if isinstance(tree, int) and not isinstance(tree, bool) else tree

    def text(self, template: Template, key: str) -> str:
        value = self.value(template, key)
        if isinstance(value, Mapping | list):
            raise PlanError(f"{key}: expected a text, found {found(value)}")
        return to_text(value)

    def texts(self, template: Template, key: str) -> tuple[str, ...]:
        """The texts of an array that the template gives, or the only one."""
        value = self.value(template, key)
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, Mapping | list) for item in items):
            raise PlanError(f"{key}: expected a text or a list of texts, found {found(value)}")
        return tuple(to_text(item) for item in items)

    def switch(self, switch: Switch, key: str) -> bool:
        value = self.value(switch, key) if isinstance(switch, str) else switch
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in _TRUTHS:
            return _TRUTHS[value]
        raise PlanError(f"{key}: expected true or false, found {found(value)}")

    def amount(self, amount: Amount, key: str, *, above: float, to: float) -> float:
        """A number above one and up to the other; texts are read as numbers."""
        value = self.value(amount, key) if isinstance(amount, str) else amount
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= to:
            raise PlanError(f"{key}: expected a number above {above:g} and up to {to:g}, found {found(value)}")
        return float(value)

    def holds(self, condition: str, key: str, surroundings: Surroundings) -> bool:
        """Whether an `if` lets its job run."""
        try:
            return is_true(evaluate(parse_condition(condition), self.contexts, surroundings, work=self._work))
        except ExpressionError as error:
            raise PlanError(f"{key}: {error}") from None


def found(value: Value) -> str:
    """What a value is, for a message that says what else was expected."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None or value == "" else repr(to_text(value)[:60])


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
