"""Workflow files for tests: a text with a `‸` at the place that is told of, and what is said there."""

from __future__ import annotations

import pytest

from buildsys.core.findings import Finding
from buildsys.core.workflow_file import Examined, examine_action, examine_workflow

MARK = "‸"

Table = dict[str, list[tuple[str, str]]]
"""By the sentence of GitHub's documentation that says so, told in our words: marked texts and what is said of them."""


def cases(table: Table) -> list[object]:
    return [
        pytest.param(text, expected, id=f"{sentence} | {expected[:40]}")
        for sentence, rows in table.items()
        for text, expected in rows
    ]


def examine(text: str, *, action: bool = False) -> Examined:
    return examine_action(text, file="action.yml") if action else examine_workflow(text, file="ci.yml")


def workflow(jobs: str) -> str:
    return f"on: push\njobs:\n  {jobs}"


def job(fields: str) -> str:
    """A workflow of one job with steps, and these fields in flow style beside them."""
    return workflow(f"a: {{runs-on: x, steps: [run: x], {fields}}}")


def step(fields: str, *, before: str = "") -> str:
    """A workflow of one job whose last step has these fields, in flow style."""
    return workflow(f"a:\n    runs-on: x\n    steps:\n{before}      - {{{fields}}}\n")


def check_one(marked: str, expected: str, *, severity: str = "error", action: bool = False) -> Finding:
    """The text without its mark has one finding: at the mark, and it says what is expected."""
    before, mark, after = marked.partition(MARK)
    assert mark
    (finding,) = examine(before + after, action=action).findings
    place = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert (finding.line, finding.column) == place, str(finding)
    assert expected in str(finding)
    assert finding.severity == severity
    return finding
