"""Reads a YAML tree as what is expected of it, and gathers everything that is not.

A `Reader` never stops at an error: it notes the place, the key path and what was expected, and goes on with an empty
value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

import msgspec

from buildsys.core.findings import Finding, Rule
from buildsys.core.yaml_source import Mapping, Node, Scalar, Sequence

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""As well what a process can have in its environment and no shell can name: GitHub's own examples have `cache-name`."""

NO_MERGE = "YAML's merge keys are not in the language: write the keys out, or use an alias for a whole value"

_PATIENCE = 100
"""Errors, or words to choose from, beyond which no suggestion is looked for: the search costs time."""

_EXPRESSION = re.compile(r"\$\{\{.*?(?:\}\}|$)", re.DOTALL)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A value and the way to it: `path` is such as `jobs.test.steps[0].run`, `key` where its name stands."""

    path: str
    key: Scalar
    value: Node

    @property
    def name(self) -> str:
        return self.key.text


class Reader:
    """Reads one file's tree; `findings` is what it gathered."""

    def __init__(self, *, file: str) -> None:
        self._file = file
        self._found: set[Finding] = set()
        self._errors = 0

    def error(self, at: Node, path: str, message: str, *, rule: Rule = Rule.SYNTAX) -> None:
        """Note what is wrong, or what to warn of, as the rule says."""
        self.report(at.line, at.column, path, message, rule=rule)

    def report(self, line: int, column: int, path: str, message: str, *, rule: Rule) -> None:
        finding = Finding(file=self._file, line=line, column=column, path=path, message=message, rule=rule)
        self._found.add(finding)
        self._errors += finding.severity == "error"

    def findings(self) -> tuple[Finding, ...]:
        """All that was noted, in the file's order."""
        return tuple(sorted(self._found))

    def suggestion(self, word: str, known: Collection[str]) -> str:
        """`; did you mean 'X'?` where a known word is near, else nothing; looked for in what a person wrote only."""
        if len(self._found) > _PATIENCE or len(known) > _PATIENCE:
            return ""
        near = difflib.get_close_matches(word[:100].lower(), known, n=1)
        near = near or [name for name in known if name.startswith(f"{word.lower()}-")]
        return f"; did you mean {near[0]!r}?" if near else ""

    def entries(self, node: Node, path: str, *, expected: str = "a mapping") -> Iterator[Field]:
        """The fields of a mapping with names of the user's choice, each once."""
        if not isinstance(node, Mapping):
            self.error(node, path, f"expected {expected}, found {kind(node)}")
            return
        first: dict[str, Scalar] = {}
        for key, value in node.entries:
            at = f"{path}.{key.text}" if path else key.text
            if key.text == "<<" and not key.style:
                self.error(key, at, NO_MERGE)
                continue
            if key.text in first:
                self.error(key, at, f"stands here again; the first is on line {first[key.text].line}")
                continue
            first[key.text] = key
            yield Field(path=at, key=key, value=value)

    def fields(self, node: Node, path: str, *, known: Collection[str], later: Collection[str] = ()) -> dict[str, Field]:
        """The known fields of a mapping. Others are errors: those in `later` as not supported yet."""
        found = {}
        for field in self.entries(node, path):
            if field.name in known:
                found[field.name] = field
            elif field.name in later:
                self.error(field.key, field.path, "not supported yet", rule=Rule.UNSUPPORTED)
            else:
                self.error(field.key, field.path, f"unknown key{self.suggestion(field.name, [*known, *later])}")
        return found

    def items(self, field: Field, *, expected: str) -> tuple[Field, ...]:
        """The items of a list."""
        if not isinstance(field.value, Sequence):
            self.error(field.value, field.path, f"expected {expected}, found {kind(field.value)}")
            return ()
        return tuple(
            Field(path=f"{field.path}[{number}]", key=field.key, value=item)
            for number, item in enumerate(field.value.items)
        )

    def text(self, field: Field, *, expected: str = "a text", empty: bool = False) -> str:
        """A scalar's text; empty after an error, or where it may be."""
        text = self._scalar(field, expected=expected)
        if text is not None and not text.strip() and not empty:
            self.error(field.value, field.path, f"expected {expected}, found nothing")
        if text is not None and "\0" in text:
            self.error(field.value, field.path, f"expected {expected}, found one with a NUL character")
        return text or ""

    def texts(self, field: Field, *, expected: str) -> tuple[Field, ...]:
        """The non-empty texts of a list, or the only one; each field's value is a `Scalar`."""
        fields = self.items(field, expected=expected) if isinstance(field.value, Sequence) else (field,)
        return tuple(item for item in fields if self.text(item, expected=expected))

    def boolean(self, field: Field) -> bool:
        if isinstance(field.value, Scalar) and isinstance(field.value.value, bool):
            return field.value.value
        self.error(field.value, field.path, f"expected true or false, found {kind(field.value)}")
        return False

    def number(self, field: Field, *, above: float, to: float) -> float | None:
        value = field.value.value if isinstance(field.value, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and above < value <= to:
            return float(value)
        expected = f"expected a number above {above:g} and up to {to:g}"
        self.error(field.value, field.path, f"{expected}, found {kind(field.value)}")
        return None

    def _scalar(self, field: Field, *, expected: str) -> str | None:
        if not isinstance(field.value, Scalar):
            self.error(field.value, field.path, f"expected {expected}, found {kind(field.value)}")
            return None
        if field.value.value is None:
            return ""
        if expression := _EXPRESSION.search(field.value.text):
            self.error(field.value, field.path, f"expressions are not supported here: {expression[0][:60]}")
        return field.value.text


def kind(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    return "nothing" if node.value is None else repr(node.text[:60])
