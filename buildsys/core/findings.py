"""What is found in a file of the user's, each at its place and by the rule that it breaks."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

Severity = Literal["error", "warning"]


class Rule(StrEnum):
    YAML = "yaml"
    """The file cannot be read at all."""

    SYNTAX = "syntax"
    """A key, a value or a name that the language does not have there."""

    EXPRESSION = "expression"
    """An expression that cannot be read, or uses what its place does not have."""

    NEEDS = "needs"
    """A job needs or calls what does not exist or cannot be called, or needs itself."""

    NOT_BUILT_IN = "not-built-in"
    """GitHub has it, this system does not: a job that needs it fails, the others run."""

    UNSUPPORTED = "unsupported"
    """A part of the language that this system does not have."""

    TYPE = "type"
    """A property that does not exist, a comparison that never holds: evaluated, it is empty or false."""

    USE = "use"
    """What is used is not there, or is given what it does not take, or not what it requires."""

    TRUST = "trust"
    """What runs only in a project that an administrator trusts."""

    UNREACHABLE = "unreachable"
    """A job that never runs."""

    INJECTION = "injection"
    """A script that strangers can write a part of."""


WARNINGS = frozenset({Rule.NOT_BUILT_IN, Rule.TYPE, Rule.USE, Rule.TRUST, Rule.UNREACHABLE, Rule.INJECTION})
"""What is no reason to refuse a file: found by `lint`."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A place in a file and what is wrong there. Lines and columns count from 1; `path` is such as `jobs.test.if`."""

    file: str
    line: int
    column: int
    path: str
    message: str
    rule: Rule

    @property
    def severity(self) -> Severity:
        return "warning" if self.rule in WARNINGS else "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return f"{where}{self.path}: {self.message}" if self.path else where + self.message
