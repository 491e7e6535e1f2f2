"""Which contexts and functions each place of a workflow file has, and which properties an expression names."""

from __future__ import annotations

import re

import pytest

from buildsys.core.expression_places import CONTEXTS
from buildsys.core.expressions import (
    PLACES,
    check,
    evaluate,
    names_of,
    parse_condition,
    parse_expression,
    parse_template,
    references,
)

AVAILABILITY = """
run-name | github, inputs, vars |
concurrency | github, inputs, vars |
env | github, secrets, inputs, vars |
jobs.<job_id>.concurrency | github, needs, strategy, matrix, inputs, vars |
jobs.<job_id>.container | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.container.credentials | github, needs, strategy, matrix, env, vars, secrets, inputs |
jobs.<job_id>.container.env.<env_id> | github, needs, strategy, matrix, job, runner, env, vars, secrets, inputs |
jobs.<job_id>.container.image | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.continue-on-error | github, needs, strategy, vars, matrix, inputs |
jobs.<job_id>.defaults.run | github, needs, strategy, matrix, env, vars, inputs |
jobs.<job_id>.env | github, needs, strategy, matrix, vars, secrets, inputs |
jobs.<job_id>.environment | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.environment.url | github, needs, strategy, matrix, job, runner, env, vars, steps, inputs |
jobs.<job_id>.if | github, needs, vars, inputs | always, cancelled, success, failure
jobs.<job_id>.name | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.outputs.<output_id> | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs |
jobs.<job_id>.runs-on | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.secrets.<secrets_id> | github, needs, strategy, matrix, secrets, inputs, vars |
jobs.<job_id>.services | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.services.<service_id>.credentials | github, needs, strategy, matrix, env, vars, secrets, inputs |
jobs.<job_id>.services.<service_id>.env.<env_id> | github, needs, strategy, matrix, job, runner, env, vars, secrets, inputs |
jobs.<job_id>.steps.continue-on-error | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.steps.env | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.steps.if | github, needs, strategy, matrix, job, runner, env, vars, steps, inputs | always, cancelled, success, failure, hashFiles
jobs.<job_id>.steps.name | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.steps.run | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.steps.timeout-minutes | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.steps.with | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.steps.working-directory | github, needs, strategy, matrix, job, runner, env, vars, secrets, steps, inputs | hashFiles
jobs.<job_id>.strategy | github, needs, vars, inputs |
jobs.<job_id>.timeout-minutes | github, needs, strategy, matrix, vars, inputs |
jobs.<job_id>.with.<with_id> | github, needs, strategy, matrix, inputs, vars |
on.workflow_call.inputs.<inputs_id>.default | github, inputs, vars |
on.workflow_call.outputs.<output_id>.value | github, jobs, vars, inputs |
"""  # noqa: E501
"""Contexts, "Context availability": the table's facts, a place in each line."""

ROWS = [tuple(part.strip() for part in line.split("|")) for line in AVAILABILITY.strip().splitlines()]
SPECIAL = ("always", "cancelled", "success", "failure", "hashFiles")


@pytest.mark.parametrize(("key", "contexts", "functions"), ROWS, ids=[row[0] for row in ROWS])
def test_a_place_has_what_the_table_says_and_no_more(key: str, contexts: str, functions: str) -> None:
    place = PLACES[key]
    for context in CONTEXTS:
        there = context in (*contexts.split(", "), "buildsys")
        assert bool(check(parse_expression(f"{context}.x"), place)) is not there, context
    for function in SPECIAL:
        call = f"{function}({'1' if function == 'hashFiles' else ''})"
        assert bool(check(parse_expression(call), place)) is not (function in functions.split(", ")), function
    assert check(parse_expression("contains(toJSON(fromJSON(format(join('1')))), '1')"), place) == ()


def test_every_place_of_a_workflow_is_in_the_table() -> None:
    of_actions = re.compile(r"(runs\.steps|inputs\.|outputs\.)")
    assert {key for key in PLACES if not of_actions.match(key)} == {row[0] for row in ROWS}


def test_secrets_are_in_no_place_of_an_action() -> None:
    """Contexts: the `secrets` context is not available for composite actions."""
    places = [place for key, place in PLACES.items() if key.startswith(("runs.", "inputs.", "outputs."))]
    assert len(places) == 10
    assert all(check(parse_expression("secrets.x"), place) for place in places)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("jobs.<job_id>.if", "matrix.os == 'x'", [(0, "'matrix' cannot be used in jobs.<job_id>.if; there are")]),
        ("jobs.<job_id>.if", "always() && secrets.a", [(12, "'secrets' cannot be used")]),
        (
            "jobs.<job_id>.if",
            "gihub.ref == x",
            [(0, "unknown context 'gihub'; did you mean 'github'?"), (13, "unknown context 'x'")],
        ),
        ("run-name", "success() || hashFiles('a')", [(0, "success() cannot be used in"), (13, "hashFiles() cannot")]),
        ("run-name", "contains(env.a, github[runner.os])", [(9, "'env' cannot"), (23, "'runner' cannot")]),
        ("run-name", "GITHUB.ref == Inputs.a", []),
        ("jobs.<job_id>.steps.run", "format('{0}', steps.a.outputs[matrix.b])", []),
    ],
)
def test_all_that_a_place_does_not_have_is_reported(key: str, text: str, expected: list[tuple[int, str]]) -> None:
    problems = check(parse_expression(text), PLACES[key])
    assert [problem.at for problem in problems] == [at for at, _ in expected]
    for problem, (_, message) in zip(problems, expected, strict=True):
        assert message in problem.message


def test_positions_are_those_of_the_whole_text() -> None:
    text = "echo ${{ github.ref }} ${{ 'x' }} ${{ nope.a }} ${{ failure() }}"
    problems = check(parse_template(text), PLACES["jobs.<job_id>.steps.run"])
    assert [text[problem.at :].split()[0] for problem in problems] == ["nope.a", "failure()"]
    assert check(parse_condition("true"), PLACES["jobs.<job_id>.if"]) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", []),
        ("github", [("github",)]),
        ("GitHub.Ref", [("github", "Ref")]),
        ("github['ref']", [("github", "ref")]),
        ("github.event.pull_request.title", [("github", "event", "pull_request", "title")]),
        ("github.event.labels[0].name", [("github", "event", "labels", "0", "name")]),
        ("github.event.*.name", [("github", "event", None, "name")]),
        ("needs[*].result", [("needs", None, "result")]),
        ("secrets[matrix.name].x", [("secrets", None, "x"), ("matrix", "name")]),
        ("secrets[format('{0}', env.a)]", [("secrets", None), ("env", "a")]),
        ("fromJSON(needs.a.outputs.m).list[env.i]", [("needs", "a", "outputs", "m"), ("env", "i")]),
        ("(a.b || c.d).e", [("a", "b"), ("c", "d")]),
        ("!a.b && c.d == e.f", [("a", "b"), ("c", "d"), ("e", "f")]),
        ("toJSON(secrets)", [("secrets",)]),
        ("github[github[github.a].b].c", [("github", None, "c"), ("github", None, "b"), ("github", "a")]),
        ("case(a.b, c.d, e.f)", [("a", "b"), ("c", "d"), ("e", "f")]),
    ],
)
def test_references(text: str, expected: list[tuple[str | None, ...]]) -> None:
    assert [reference.path for reference in references(parse_expression(text))] == expected


def test_references_know_where_they_stand() -> None:
    text = "x ${{ github.ref }} ${{ env.a == secrets.B }}"
    assert [text[reference.at :][:3] for reference in references(parse_template(text))] == ["git", "env", "sec"]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ([], set()),
        (["no secrets", "${{ github.secrets }}"], set()),
        (["${{ secrets.A }} ${{ secrets['b'] }}", "${{ Secrets.A == secrets.c.d }}"], {"A", "b", "c"}),
        (["${{ secrets.A }}", "${{ toJSON(secrets) }}"], None),
        (["${{ secrets.* }}"], None),
        (["${{ secrets[format('A_{0}', matrix.os)] }}"], None),
        (["${{ github[secrets.A] }}"], {"A"}),
    ],
)
def test_the_secrets_that_a_job_names(texts: list[str], names: set[str] | None) -> None:
    assert names_of("secrets", [parse_template(text) for text in texts]) == names


def test_a_text_without_expressions_refers_to_nothing() -> None:
    tree = parse_template("echo $HOME {0} }}")
    assert references(tree) == ()
    assert evaluate(tree, {}) == "echo $HOME {0} }}"
