"""How many cases hold the workflow language against GitHub's documentation, and that each says which sentence it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
import test_commands
import test_environment_files
import test_expressions_access
import test_expressions_comparison
import test_expressions_functions
import test_expressions_values
import test_globs
import test_matrix
import test_planning_calls
import test_planning_course
import test_planning_jobs
import test_runner_commands
import test_step_semantics

BY_SENTENCE: dict[str, tuple[Mapping[str, Collection[Any]], ...]] = {
    "expressions": (
        *(test_expressions_values.LITERALS, test_expressions_values.TRUTH, test_expressions_values.PRECEDENCE),
        *(test_expressions_comparison.EQUALITY, test_expressions_comparison.ORDER, test_expressions_access.ACCESS),
        *(test_expressions_functions.SEARCHING, test_expressions_functions.TEXTS, test_expressions_functions.JSON),
    ),
    "globs": (test_globs.CHARACTERS, test_globs.REFS, test_globs.PATHS, test_globs.INVALID),
    "planning": (test_planning_course.COURSES, test_matrix.MADE),
    "commands and files": (test_runner_commands.MASKS, test_commands.SAID, test_commands.SILENT),
}
"""Tables with any number of cases under each sentence."""

CASE_BY_CASE: dict[str, tuple[Collection[Any], ...]] = {
    "planning": (
        *(test_planning_jobs.NAMES, test_planning_jobs.EVALUATED, test_matrix.EVALUATED),
        *(test_planning_calls.INPUTS, test_planning_calls.REFUSED),
    ),
    "commands and files": (
        *(test_environment_files.SETS, test_environment_files.WRONG, test_environment_files.VARIABLES),
        *(test_environment_files.PATHS, test_step_semantics.SAYS, test_step_semantics.CONDITIONS),
    ),
}
"""Tables of cases that each begin with a sentence of their own."""

WANTED = {"expressions": 300, "globs": 60, "planning": 80, "commands and files": 60}


@pytest.mark.parametrize(("subject", "wanted"), WANTED.items(), ids=WANTED)
def test_there_are_as_many_cases_as_were_asked_for(subject: str, wanted: int) -> None:
    together = sum(len(rows) for table in BY_SENTENCE[subject] for rows in table.values())
    alone = sum(map(len, CASE_BY_CASE.get(subject, ())))
    assert together + alone >= wanted


@pytest.mark.parametrize("subject", WANTED)
def test_each_names_its_sentence(subject: str) -> None:
    for sentences in _sentences(subject):
        assert len(set(sentences)) == len(sentences), "no two cases of a table are told alike"
        assert [sentence for sentence in sentences if len(sentence.split()) < 3] == []


def _sentences(subject: str) -> Iterator[list[str]]:
    """The sentences of each table."""
    for table in BY_SENTENCE[subject]:
        assert all(table.values()), "no sentence is without a case"
        yield list(table)
    for cases in CASE_BY_CASE.get(subject, ()):
        yield [case if isinstance(case, str) else case[0] for case in cases]
