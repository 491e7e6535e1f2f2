"""Reads what may hold `${{ }}`: parses and checks each expression where it stands.

An error has the line and column of its place in the expression, and where that cannot be told, of the text's start.
What is known of the contexts is often only known when all is read: so types are checked at the end, by `check_types`.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping as Names
from collections.abc import Sequence as Series

import msgspec

from buildsys.core.definition import Amount, Environment, Switch, Template, Tree
from buildsys.core.expression_shapes import ANY, CONTEXT_SHAPES, TEXT, Shape, closed, opened
from buildsys.core.expression_tokens import MAX_LENGTH, OPEN
from buildsys.core.expression_tree import Problem, Text
from buildsys.core.expressions import (
    PLACES,
    ExpressionError,
    Node,
    check,
    check_types,
    parse_condition,
    parse_parts,
    parse_template,
    references,
)
from buildsys.core.findings import Rule
from buildsys.core.injection import strangers
from buildsys.core.uses import Use, use_of
from buildsys.core.yaml_places import Lines, indexes
from buildsys.core.yaml_reading import VARIABLE_NAME, Field, Reader, kind
from buildsys.core.yaml_source import Mapping, Scalar, Sequence

Scope = ChainMap[str, Shape]
"""What is known of the contexts at a place, then at the place around it; may be filled until types are checked."""

SECRETS = "a job gets only the secrets it names: write secrets.NAME"

_PATIENCE = 300
"""Errors in a file beyond which no expression is read, and warnings beyond which none is looked for: it costs time."""

_OF_STEPS = frozenset({"env", "jobs.<job_id>.env", "jobs.<job_id>.steps.env", "runs.steps.env"})
"""Where the variables are set that steps see."""

_KNOWN = 100
"""Properties of a context beyond which they are taken as unknown."""


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An expression whose types are to be checked, and what is known of the contexts where it stands."""

    field: Field
    node: Node
    condition: bool
    scope: Scope


class TemplateReader(Reader):
    """`scope` is that of the place that is being read.

    `uses` gathers where files of the repository are used.
    """

    def __init__(self, *, file: str, source: str) -> None:
        super().__init__(file=file)
        self.scope: Scope = ChainMap({}, dict(CONTEXT_SHAPES))
        self.uses: list[Use] = []
        self._source = source
        self._lines = Lines(source)
        self._pending: list[_Pending] = []

    def template(
        self, field: Field, *, place: str, expected: str = "a text", empty: bool = False, becomes: str = ""
    ) -> Template:
        """A text as it is written, its expressions checked for `place`, a key of `PLACES`.

        It is empty only after an error, or where it may be. What strangers write must not be in one that
        `becomes` something of `injection`.
        """
        text, node = self._template(field, place=place, expected=expected, empty=empty)
        if node is not None and becomes:
            known = self.scope["env"].names
            found = [Problem(at=one.at, message=f"{one.said} and {becomes}") for one in strangers(node, known)]
            self._problems(field, found, Rule.INJECTION)
        return text

    def optional(
        self, fields: Names[str, Field], name: str, *, place: str, expected: str = "a text", becomes: str = ""
    ) -> Template | None:
        """The template of that name among fields; None where it is missing or empty."""
        if (field := fields.get(name)) is None:
            return None
        return self.template(field, place=place, expected=expected, empty=True, becomes=becomes) or None

    def templates(self, field: Field, *, place: str, expected: str) -> tuple[Template, ...]:
        """The templates of a list, or the only one."""
        items = self.items(field, expected=expected) if isinstance(field.value, Sequence) else (field,)
        return tuple(self.template(item, place=place, expected=expected) for item in items)

    def mapped(self, field: Field, *, place: str, expected: str) -> dict[str, Template]:
        """A mapping of the user's names to templates."""
        return {
            entry.name: self.template(entry, place=place, empty=True)
            for entry in self.entries(field.value, field.path, expected=expected)
        }

    def condition(self, field: Field | None, *, place: str) -> str:
        """An `if`, as it is written; empty where there is none."""
        if field is None:
            return ""
        text = self._written(field, expected="a condition", empty=True)
        self._parsed(field, text, place=place, condition=True)
        return text

    def expression(self, field: Field, *, place: str, expected: str) -> Template:
        """One `${{ }}` and nothing around it but line ends."""
        text = self._written(field, expected=expected, empty=False).rstrip()
        if isinstance(self._parsed(field, text, place=place), Text):
            self.error(field.value, field.path, f"expected {expected}, found {kind(field.value)}")
        return text

    def switch(self, field: Field | None, *, place: str, default: bool = False) -> Switch:
        """True, false or one expression."""
        if field is None:
            return default
        if is_expression(field):
            return self.expression(field, place=place, expected="true, false or one ${{ }}")
        return self.boolean(field)

    def amount(self, field: Field | None, *, place: str, above: float, to: float) -> Amount | None:
        """A number or one expression."""
        if field is None:
            return None
        if is_expression(field):
            return self.expression(field, place=place, expected="a number or one ${{ }}")
        return self.number(field, above=above, to=to)

    def variables(self, field: Field | None, *, place: str) -> Environment:
        """Environment variables: names that a process can have, values as they are written; or one expression."""
        if field is None:
            return {}
        if is_expression(field):
            return self.expression(field, place=place, expected="a mapping of variables or one ${{ }}")
        around = self.scope["env"].names
        found, shapes = {}, {}
        for variable in self.entries(field.value, field.path, expected="a mapping of variables"):
            if not VARIABLE_NAME.fullmatch(variable.name):
                expected = "a variable's name is letters, digits, _, - and ., and begins with a letter or _"
                self.error(variable.key, variable.path, expected)
            expected = "a text, a number, true or false"
            text, node = self._template(variable, place=place, expected=expected, empty=True)
            found[variable.name] = text
            origin = next((one.origin for one in strangers(node, around)), "") if node else ""
            shapes[variable.name] = msgspec.structs.replace(TEXT, strangers=origin)
        if place in _OF_STEPS:
            known = {**around, **shapes}
            self.scope["env"] = opened(TEXT, known if len(known) <= _KNOWN else {})
        return found

    def tree(self, field: Field, *, place: str) -> Tree:
        """A value of any kind with templates in it."""
        match field.value:
            case Mapping():
                return {entry.name: self.tree(entry, place=place) for entry in self.entries(field.value, field.path)}
            case Sequence():
                return [self.tree(item, place=place) for item in self.items(field, expected="a list")]
            case Scalar(value=float(value)) if not math.isfinite(value):
                self.error(field.value, field.path, "expected a smaller number")
                return None
            case Scalar(value=str()):
                return self.template(field, place=place, empty=True)
            case Scalar(value=value):
                return value

    def note_use(self, field: Field, fields: Names[str, Field]) -> None:
        """Note that a file of the repository is used, with the fields beside that `uses`."""
        use = use_of(field, inputs=fields.get("with"), secrets=fields.get("secrets"), file=self._file)
        self.uses.append(use)

    def check_types(self) -> None:
        """Check every expression that was read against what is known of the contexts by now."""
        for pending in self._pending:
            if len(self._found) > _PATIENCE:
                return
            problems = check_types(pending.node, pending.scope, condition=pending.condition)
            self._problems(pending.field, problems, Rule.TYPE)

    def _template(self, field: Field, *, place: str, expected: str, empty: bool) -> tuple[Template, Node | None]:
        """A text, and what it is as a tree where it has expressions that can be read."""
        text = self._written(field, expected=expected, empty=empty)
        return text, self._parsed(field, text, place=place) if OPEN in text else None

    def _written(self, field: Field, *, expected: str, empty: bool) -> str:
        if not isinstance(field.value, Scalar):
            self.error(field.value, field.path, f"expected {expected}, found {kind(field.value)}")
            return ""
        text = "" if field.value.value is None else field.value.text
        if not empty and not text.strip():
            self.error(field.value, field.path, f"expected {expected}, found nothing")
        if "\0" in text:
            self.error(field.value, field.path, f"expected {expected}, found one with a NUL character")
        return text

    def _parsed(self, field: Field, text: str, *, place: str, condition: bool = False) -> Node | None:
        """The expression, with all that is wrong with it noted; None where it cannot be read or was not."""
        if self._errors > _PATIENCE:
            return None
        if len(text) > MAX_LENGTH:
            self.error(field.value, field.path, f"a text with expressions is at most {MAX_LENGTH:,} characters")
            return None
        try:
            node = parse_condition(text) if condition else parse_template(text)
        except ExpressionError as error:
            parts, errors = parse_parts(text) if OPEN in text else ((), (error,))
            problems = [Problem(at=error.at, message=str(error)) for error in errors]
            problems += [problem for part in parts for problem in _misplaced(part, text, place)]
            self._problems(field, problems, Rule.EXPRESSION)
            return None
        problems = _misplaced(node, text, place)
        self._problems(field, problems, Rule.EXPRESSION)
        if not problems:
            self._pending.append(_Pending(field=field, node=node, condition=condition, scope=self.scope))
        return node

    def _problems(self, field: Field, problems: Series[Problem], rule: Rule) -> None:
        if not problems:
            return
        assert isinstance(field.value, Scalar)
        places = indexes(self._source, field.value)
        for problem in problems:
            line, column = (
                self._lines.position(places[problem.at]) if places else (field.value.line, field.value.column)
            )
            self.report(line, column, field.path, problem.message, rule=rule)


def is_expression(field: Field) -> bool:
    """Whether a field holds an expression, or what is meant as one."""
    return isinstance(field.value, Scalar) and OPEN in field.value.text


def properties(names: Names[str, Shape]) -> Shape:
    """An object with these properties, or with any where there are too many to look through them for each use."""
    return closed(names) if len(names) <= _KNOWN else opened(ANY)


def _misplaced(node: Node, text: str, place: str) -> list[Problem]:
    return [*check(node, PLACES[place]), *(_whole_secrets(node) if "secrets" in text.lower() else ())]


def _whole_secrets(node: Node) -> list[Problem]:
    return [
        Problem(at=reference.at, message=SECRETS)
        for reference in references(node)
        if reference.path[0] == "secrets" and (len(reference.path) == 1 or reference.path[1] is None)
    ]
