"""The combinations that a matrix makes, and those that it must not. Each case names its sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from planning_cases import PUSH, Build, only_job, why

from buildsys.core.matrix import combinations, suffixed
from buildsys.core.plan_values import PlanError

FRUITS = {
    "fruit": ["apple", "pear"],
    "animal": ["cat", "dog"],
    "include": [
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ],
}

MADE: dict[str, list[tuple[Any, list[dict[str, Any]]]]] = {
    "matrix: a job for each value of a single variable": [
        ({"version": [10, 12, 14]}, [{"version": 10}, {"version": 12}, {"version": 14}]),
    ],
    "matrix: a job for each combination; the order of the variables is that of the jobs": [
        (
            {"version": [10, 12], "os": ["u", "w"]},
            [
                {"version": 10, "os": "u"},
                {"version": 10, "os": "w"},
                {"version": 12, "os": "u"},
                {"version": 12, "os": "w"},
            ],
        ),
        ({"os": ["u"], "version": [10]}, [{"os": "u", "version": 10}]),
    ],
    "matrix: a variable's value may be an object": [
        (
            {"os": ["u"], "node": [{"version": 14}, {"version": 20, "env": "X=1"}]},
            [{"os": "u", "node": {"version": 14}}, {"os": "u", "node": {"version": 20, "env": "X=1"}}],
        ),
        ({"list": [[1, 2], []]}, [{"list": [1, 2]}, {"list": []}]),
        ({"v": [None, True, 1.5, "x"]}, [{"v": None}, {"v": True}, {"v": 1.5}, {"v": "x"}]),
    ],
    "include: is added to each combination of which it overwrites no original value, added ones it may overwrite": [
        (
            FRUITS,
            [
                {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
                {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
                {"fruit": "pear", "animal": "cat", "color": "pink"},
                {"fruit": "pear", "animal": "dog", "color": "green"},
                {"fruit": "banana"},
                {"fruit": "banana", "animal": "cat"},
            ],
        ),
    ],
    "include: one with values of all axes expands that combination only": [
        (
            {"os": ["w", "u"], "node": [12, 16], "include": [{"os": "w", "node": 16, "npm": 6}]},
            [
                {"os": "w", "node": 12},
                {"os": "w", "node": 16, "npm": 6},
                {"os": "u", "node": 12},
                {"os": "u", "node": 16},
            ],
        ),
    ],
    "include: one that fits nowhere is a combination of its own": [
        (
            {"os": ["m"], "version": [12], "include": [{"os": "w", "version": 17}]},
            [{"os": "m", "version": 12}, {"os": "w", "version": 17}],
        ),
        (
            {"version": [6], "experimental": [False], "include": [{"version": 9, "experimental": True}]},
            [{"version": 6, "experimental": False}, {"version": 9, "experimental": True}],
        ),
    ],
    "include: without other variables each item is a combination": [
        (
            {"include": [{"site": "p", "n": 1}, {"site": "s"}]},
            [{"site": "p", "n": 1}, {"site": "s"}],
        ),
        ({"include": [{"a": 1}, {"a": 1}]}, [{"a": 1}, {"a": 1}]),
    ],
    "include: values are compared as a whole and by their kind": [
        (
            {"n": [{"v": 1, "w": 2}], "include": [{"n": {"w": 2, "v": 1}, "x": 1}, {"n": {"v": 1}, "x": 2}]},
            [{"n": {"v": 1, "w": 2}, "x": 1}, {"n": {"v": 1}, "x": 2}],
        ),
        ({"n": [1], "include": [{"n": True, "x": 1}]}, [{"n": 1}, {"n": True, "x": 1}]),
        ({"n": [1], "include": [{"n": "1", "x": 1}]}, [{"n": 1}, {"n": "1", "x": 1}]),
        ({"n": [0], "include": [{"n": False}]}, [{"n": 0}, {"n": False}]),
    ],
    "exclude: a partial match is enough": [
        (
            {
                "os": ["m", "w"],
                "version": [12, 14, 16],
                "environment": ["staging", "production"],
                "exclude": [
                    {"os": "m", "version": 12, "environment": "production"},
                    {"os": "w", "version": 16},
                ],
            },
            [
                {"os": "m", "version": 12, "environment": "staging"},
                {"os": "m", "version": 14, "environment": "staging"},
                {"os": "m", "version": 14, "environment": "production"},
                {"os": "m", "version": 16, "environment": "staging"},
                {"os": "m", "version": 16, "environment": "production"},
                {"os": "w", "version": 12, "environment": "staging"},
                {"os": "w", "version": 12, "environment": "production"},
                {"os": "w", "version": 14, "environment": "staging"},
                {"os": "w", "version": 14, "environment": "production"},
            ],
        ),
        ({"n": [1, 2], "exclude": [{"n": 3}]}, [{"n": 1}, {"n": 2}]),
        ({"n": [{"v": 1}, {"v": 2}], "exclude": [{"n": {"v": 1}}]}, [{"n": {"v": 2}}]),
        ({"n": [1, 2], "exclude": []}, [{"n": 1}, {"n": 2}]),
    ],
    "exclude: include comes after it, and may add back what it took": [
        ({"n": [1, 2], "exclude": [{"n": 1}], "include": [{"n": 1}]}, [{"n": 2}, {"n": 1}]),
        ({"n": [1], "exclude": [{"n": 1}], "include": [{"x": 1}]}, [{"x": 1}]),
    ],
    "matrix: at most 256 jobs, counted once exclude and include are done": [
        (
            {"a": list(range(20)), "b": list(range(20)), "exclude": [{"a": n} for n in range(8)]},
            [{"a": a, "b": b} for a in range(8, 20) for b in range(20)],
        ),
        ({"a": list(range(256))}, [{"a": n} for n in range(256)]),
        ({"a": list(range(256)), "include": [{"x": 1}]}, [{"a": n, "x": 1} for n in range(256)]),
    ],
}


@pytest.mark.parametrize(
    ("matrix", "made"),
    [
        pytest.param(matrix, made, id=f"{sentence} | {number}")
        for sentence, cases in MADE.items()
        for number, (matrix, made) in enumerate(cases)
    ],
)
def test_combinations(matrix: Any, made: list[dict[str, Any]]) -> None:
    assert [list(combination.items()) for combination in combinations(matrix)] == [
        list(combination.items()) for combination in made
    ]


REFUSED: list[tuple[Any, str]] = [
    ({}, "there is no combination left; a matrix must have at least one"),
    ({"include": []}, "there is no combination left; a matrix must have at least one"),
    ({"a": [1], "exclude": [{"a": 1}]}, "there is no combination left; a matrix must have at least one"),
    ({"a": []}, "strategy.matrix.a: the list has no values; an axis must have at least one"),
    ({"a": "x"}, "strategy.matrix.a: expected a list of values, found 'x'"),
    ({"a": {"b": 1}}, "strategy.matrix.a: expected a list of values, found a mapping"),
    ({"a": None}, "strategy.matrix.a: expected a list of values, found nothing"),
    ("", "strategy.matrix: expected a mapping of axes, found nothing"),
    ([{"a": 1}], "strategy.matrix: expected a mapping of axes, found a list"),
    ({"a": [1], "include": {"a": 1}}, "strategy.matrix.include: expected a list of mappings, found a mapping"),
    ({"a": [1], "include": ["x"]}, "strategy.matrix.include: expected a list of mappings, found a list"),
    ({"a": [1], "exclude": "all"}, "strategy.matrix.exclude: expected a list of mappings, found 'all'"),
    ({"a": [1], "exclude": [{"b": 1}]}, "strategy.matrix.exclude: 'b' is no axis of the matrix"),
    ({"a": list(range(257))}, "257 combinations; a matrix makes at most 256 jobs"),
    ({"a": list(range(300)), "include": [{"a": -1}]}, "300 combinations; a matrix makes at most 256 jobs"),
    ({"a": list(range(16)), "b": list(range(17))}, "272 combinations; a matrix makes at most 256 jobs"),
    ({"include": [{"a": n} for n in range(257)]}, "strategy.matrix.include: 257 items; there may be 256"),
    ({"a": list(range(200)), "include": [{"a": -1 - n} for n in range(57)]}, "257 combinations"),
    ({str(n): [1, 2] for n in range(30)}, "more than 4096 combinations; a matrix makes at most 256 jobs"),
    ({str(n): list(range(100)) for n in range(100)}, "more than 4096 combinations; a matrix makes at most 256 jobs"),
    ({"a": ["x" * (1 << 18)]}, "strategy.matrix: larger than 256 KiB"),
    ({"a": list(range(256)), "include": [{str(n): n for n in range(300)}]}, "strategy.matrix: more than 256 names"),
]


@pytest.mark.parametrize(("matrix", "told"), REFUSED)
def test_refused(matrix: Any, told: str) -> None:
    with pytest.raises(PlanError) as refused:
        combinations(matrix)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 200


NAMED: list[tuple[dict[str, Any], str]] = [
    ({"version": 3.11, "os": "ubuntu"}, "test (3.11, ubuntu)"),
    ({"n": 10.0}, "test (10)"),
    ({"flag": True, "none": None, "empty": ""}, "test (true)"),
    ({"node": {"version": 14, "tags": ["a", "b"]}, "os": "u"}, "test (14, a, b, u)"),
    ({"long": "x" * 200}, f"test ({'x' * 91}..."),
]


@pytest.mark.parametrize(("combination", "name"), NAMED)
def test_a_name_with_its_combination(combination: dict[str, Any], name: str) -> None:
    """GitHub shows a job of a matrix as its name with the values in parentheses, cut at 100 characters."""
    assert suffixed("test", combination) == name


EVALUATED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "strategy: expressions may use github, needs, vars and inputs": (
        "{m: {strategy: {matrix: {ref: ['${{ github.ref_name }}', x], v: ['${{ vars.V }}']}}}}",
        [{"ref": "main", "v": "7"}, {"ref": "x", "v": "7"}],
    ),
    "matrix: fromJSON makes an axis": (
        '{m: {strategy: {matrix: {n: "${{ fromJSON(\'[1, {\\"a\\": [true]}]\') }}"}}}}',
        [{"n": 1.0}, {"n": {"a": [True]}}],
    ),
    "matrix: fromJSON makes all of it": (
        '{m: {strategy: {matrix: "${{ fromJSON(vars.ALL) }}"}}}',
        [{"os": "u", "x": 1.0}, {"os": "w"}],
    ),
    "matrix: fromJSON makes the includes": (
        '{m: {strategy: {matrix: {include: "${{ fromJSON(\'[{\\"a\\": 1}]\') }}"}}}}',
        [{"a": 1.0}],
    ),
    "matrix: items of contexts": (
        "{m: {strategy: {matrix: {version: '${{ github.event.client_payload.versions }}'}}}}",
        [{"version": 12.0}, {"version": 14.0}],
    ),
    "matrix: an expression within a value": (
        "{m: {strategy: {matrix: {n: [{tag: 'v${{ vars.V }}'}]}}}}",
        [{"n": {"tag": "v7"}}],
    ),
}


@pytest.mark.parametrize(("jobs", "made"), EVALUATED.values(), ids=EVALUATED)
def test_evaluated(jobs: str, made: list[dict[str, Any]]) -> None:
    payload = {"client_payload": {"versions": [12, 14]}}
    event = type(PUSH)(name="repository_dispatch", ref=PUSH.ref, sha=PUSH.sha, payload=payload)
    everything = {"os": ["u", "w"], "include": [{"os": "u", "x": 1}]}
    build = Build.of(jobs, event=event, variables={"V": "7", "ALL": json.dumps(everything)})
    assert build.notes == {}
    assert [job.contexts["matrix"] for job in build.jobs.values()] == made


def test_a_matrix_from_an_output_of_an_earlier_job() -> None:
    """GitHub, "Using an output to define two matrices": one job writes JSON, two others take it."""
    jobs = """
    define: {outputs: {colors: '${{ steps.c.outputs.colors }}'}, steps: [{id: c, run: 'true'}]}
    produce: {needs: define, strategy: {matrix: {color: '${{ fromJSON(needs.define.outputs.colors) }}'}}}
    consume: {needs: produce, strategy: {matrix: {n: [1]}}}
    """
    build = Build.of(jobs).end("define", colors='["red", "green"]')
    assert build.states == {"define": "success", "produce.1": "runs", "produce.2": "runs"}
    assert [build.names[id] for id in ("produce.1", "produce.2")] == ["produce (red)", "produce (green)"]
    assert build.end("produce.1").end("produce.2").states["consume.1"] == "runs"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("", "strategy.matrix.color: the text is not JSON: it is empty"),
        ("[", "strategy.matrix.color: the text is not JSON: Expecting value at line 1, column 2"),
        ("[]", "strategy.matrix.color: the list has no values; an axis must have at least one"),
        ('"red"', "strategy.matrix.color: expected a list of values, found 'red'"),
        ("[" * 1000, "strategy.matrix.color: the JSON is nested deeper than 64 levels"),
        (json.dumps(list(range(300))), "strategy.matrix: 300 combinations; a matrix makes at most 256 jobs"),
        (json.dumps(["x" * 300_000]), "strategy.matrix: larger than 256 KiB"),
        ("[" + "1," * 5_000_000 + "1]", "strategy.matrix.color: the expression takes too much work on too much data"),
    ],
)
def test_a_hostile_output_fails_the_job_that_takes_it(output: str, told: str) -> None:
    jobs = "{a: {}, b: {needs: a, strategy: {matrix: {color: '${{ fromJSON(needs.a.outputs.colors) }}'}}}}"
    build = Build.of(jobs).end("a", colors=output)
    assert build.states == {"a": "success", "b": "failure"}
    assert build.notes == {"b": told}


def test_the_strategy_context() -> None:
    """`strategy` context: fail-fast, job-index from 0, job-total, max-parallel."""
    build = Build.of("{m: {strategy: {fail-fast: false, max-parallel: 2, matrix: {n: [1, 2, 3]}}}}")
    assert [job.contexts["strategy"] for job in build.jobs.values()] == [
        {"fail-fast": False, "job-index": index, "job-total": 3, "max-parallel": 2} for index in range(3)
    ]


def test_without_a_matrix_there_is_one_job() -> None:
    job = only_job("a: {}")
    assert (job.id, job.name) == ("a", "a")
    assert job.contexts["matrix"] is None
    assert job.contexts["strategy"] == {"fail-fast": True, "job-index": 0, "job-total": 1, "max-parallel": 1}


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("strategy: {matrix: {n: [1]}, fail-fast: '${{ vars.X }}'}", "strategy.fail-fast: expected true or false"),
        ("strategy: {matrix: {n: [1]}, max-parallel: '${{ vars.X }}'}", "strategy.max-parallel: expected a number"),
        ("strategy: {matrix: '${{ github.ref }}'}", "strategy.matrix: expected a mapping of axes"),
    ],
)
def test_a_strategy_that_comes_out_wrong(job: str, told: str) -> None:
    assert why(f"a: {{{job}}}").startswith(told)
