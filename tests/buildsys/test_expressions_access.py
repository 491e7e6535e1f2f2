"""How expressions reach into contexts: properties, indexes and object filters."""

from __future__ import annotations

import pytest
from expression_cases import Table, cases, check_value

from buildsys.core.expressions import Value

ACCESS: Table = {
    "Contexts: a property by its name, github.sha, or by an index, github['sha']": [
        ("github.ref", "refs/heads/main"),
        ("github['ref']", "refs/heads/main"),
        ("github.event.a-b_c", 1.0),
        ("github.event['a-b_c']", 1.0),
        ("github [ 'event_name' ]", "push"),
        ("needs.a.outputs.x", "1"),
        ("github[format('{0}_name', 'event')]", "push"),
        ('fromJSON(\'{"a": {"b": 1}}\').a.b', 1.0),
    ],
    "Contexts: a property that does not exist is null": [
        ("github.missing", None),
        ("github.missing.deeper.still", None),
        ("github.ref.part", None),
        ("github['missing']", None),
        ("inputs.none.x", None),
        ("github[github]", None),
        ("github[null]", None),
    ],
    "Runner: names of contexts and properties are found without regard to case": [
        ("GITHUB.REF", "refs/heads/main"),
        ("GitHub['Event_Name']", "push"),
        ("github.event.title", "T"),
        ("matrix.OS", "linux"),
    ],
    "Runner: names in env differ by case on Linux": [
        ("env.first", "1"),
        ("env.FIRST", None),
        ("env.Second", "2"),
        ("ENV.second", None),
    ],
    "Runner: a property may have the name of a literal or function": [
        ("github.null", "it is null"),
        ("github.format", "it is format"),
        ("github.true", None),
    ],
    "Runner: an array is indexed from 0 by what becomes a number, rounded down": [
        ("matrix.list[0]", "zero"),
        ("matrix.list[2]", "two"),
        ("matrix.list[3]", None),
        ("matrix.list[-1]", None),
        ("matrix.list[1.9]", "one"),
        ("matrix.list['1']", "one"),
        ("matrix.list[' 0x02 ']", "two"),
        ("matrix.list[null]", "zero"),
        ("matrix.list[true]", "one"),
        ("matrix.list['x']", None),
        ("matrix.list[NaN]", None),
        ("matrix.list[Infinity]", None),
        ("matrix.list[fromJSON('[]')]", None),
        ("matrix.list.length", None),
    ],
    "Runner: an object is indexed by what becomes a text": [
        ("matrix[0]", "by number"),
        ("matrix[true]", "by truth"),
        ("matrix[matrix.list]", None),
    ],
    "Object filters: * selects the items of a collection, and a name those of each that has it": [
        ("github.event.labels.*.name", ["bug", "help wanted"]),
        ("github.event.labels[*].name", ["bug", "help wanted"]),
        ("github.event.labels[*]['NAME']", ["bug", "help wanted"]),
        ("needs.*.result", ["success", "failure"]),
        ("needs.*.outputs.x", ["1"]),
        ("steps.*.colors", [["green", "white", "red"], ["purple"]]),
        ("steps.*.colors.*", ["green", "white", "red", "purple"]),
        ("matrix.list.*", ["zero", "one", "two"]),
        ("contains(needs.*.result, 'failure')", True),
        ("join(github.event.labels.*.name, ', ')", "bug, help wanted"),
    ],
    "Runner: an index after * is applied to each item": [
        ("steps.nested.*[0]", [1, 3]),
        ("steps.nested[*][1]", [2]),
        ("steps.nested.*.*", [1, 2, 3]),
        ("steps.nested.*.x", []),
    ],
    "Runner: * of what is no collection is an empty array": [
        ("github.ref.*", []),
        ("github.missing.*", []),
        ("github.missing.*.name", []),
        ("inputs.none[*]", []),
    ],
}


@pytest.mark.parametrize(("expression", "expected"), cases(ACCESS))
def test_the_value_of(expression: str, expected: Value) -> None:
    check_value(expression, expected)
