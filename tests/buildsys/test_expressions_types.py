"""What is found wrong with an expression before anything runs, and that nothing else is."""

from __future__ import annotations

import pytest

from buildsys.core.expression_shapes import ANY, BOOLEAN, CONTEXT_SHAPES, JOB, NUMBER, STEP, TEXT, closed
from buildsys.core.expressions import check_types, parse_condition, parse_expression, parse_template

SHAPES = {
    **CONTEXT_SHAPES,
    "steps": closed({"build": closed({**STEP.names, "outputs": closed({"path": TEXT})}), "Test": STEP}),
    "needs": closed({"setup": JOB}),
    "matrix": closed({"os": TEXT, "node": NUMBER, "extra": ANY}),
    "inputs": closed({"deploy": BOOLEAN, "environment": TEXT}),
}


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("github.‸reff", "'github' has no property 'reff'; did you mean 'ref'?"),
        ("github.‸branch == 'main'", "'github' has no property 'branch'"),
        ("steps.‸bild.outputs.path", "'steps' has no property 'bild'; did you mean 'build'?"),
        ("steps.build.‸output.path", "'steps.build' has no property 'output'; did you mean 'outputs'?"),
        ("steps.build.outputs.‸pat", "'steps.build.outputs' has no property 'pat'; did you mean 'path'?"),
        ("steps['build'].outputs[‸'pat']", "has no property 'pat'"),
        ("needs.‸setpu.result", "did you mean 'setup'?"),
        ("needs.setup.‸conclusion", "'needs.setup' has no property 'conclusion'"),
        ("matrix.‸version", "'matrix' has no property 'version'"),
        ("inputs.‸enviroment", "did you mean 'environment'?"),
        ("runner.‸arh", "did you mean 'arch'?"),
        ("strategy.‸fail_fast", "did you mean 'fail-fast'?"),
        ("github.ref.‸name", "'github.ref' is a string and has no properties"),
        ("matrix.node[‸0]", "'matrix.node' is a number and has no properties"),
        ("needs.*.‸reslt", "'needs.*' has no property 'reslt'; did you mean 'result'?"),
        ("needs.*.result ‸== 'success'", "this compares an array with a string, which are never equal"),
        ("github.event ‸== 'push'", "this compares an object with a string"),
        ("github ‸< github", "this compares an object with an object"),
        ("steps.build ‸!= true", "this compares an object with a boolean"),
        ("inputs.deploy ‸== 'true'", "this compares a boolean with a string that is no number, so"),
        ("'yes' ‸!= inputs.deploy", "never equal"),
        ("matrix.node ‸== 'lts'", "this compares a number with a string that is no number"),
        ("startsWith(‸github.event, 'x')", "an object stands where a text is expected; toJSON() makes one of it"),
        ("endsWith('x', ‸steps.*.outputs)", "an array stands where a text is expected"),
        ("contains(‸github.event, 'x')", "contains() finds nothing in an object"),
        ("contains(github.ref, ‸needs.*.result)", "an array stands where a text is expected"),
        ("join(‸steps.build.outputs)", "join() makes nothing of an object"),
        ("format('{0}', ‸matrix)", "an object stands where a text is expected"),
        ("fromJSON(‸needs)", "an object stands where a text is expected"),
        ("hashFiles(‸needs)", "an object stands where a text is expected"),
        ("format(‸'{0} {1}', github.ref)", "has {1} and there are 1 values"),
        ("format(‸'{', github.ref)", "a lone '{'"),
        ("case(‸github.ref, 1, 2)", "a condition of case() must be true or false, not a string"),
        ("!(1 && (true || contains(github.‸x, github.ref)))", "no property 'x'"),
        ("fromJSON('{}')[github.‸x]", "no property 'x'"),
    ],
)
def test_what_can_never_be(marked: str, message: str) -> None:
    before, _, after = marked.partition("‸")
    (problem,) = check_types(parse_expression(before + after), SHAPES)
    assert message in problem.message
    assert problem.at == len(before)


@pytest.mark.parametrize(
    "text",
    [
        "github.REF == 'refs/heads/main' && github.event_name != 'push'",
        "github.event.pull_request.head.repo.full_name == github.repository",
        "github.event.labels.*.name",
        "contains(github.event.labels.*.name, 'bug')",
        "contains(needs.*.result, 'failure')",
        "join(needs.*.result, ', ')",
        "steps.TEST.outputs.anything == 'x'",
        "steps.build.outputs.path != ''",
        "inputs.deploy == true || inputs.deploy == '1' || inputs.deploy",
        "matrix.node == '16' && matrix.node >= 14",
        "matrix.extra.deep[0] == 'x'",
        "env.X == 1 || vars.Y == true",
        "secrets.TOKEN != ''",
        "fromJSON(needs.setup.outputs.matrix).include[0]",
        "job.services.postgres.ports[5432]",
        "job.container.id",
        "github == github",
        "toJSON(github)",
        "format('{0} {{x}}', github.ref)",
        "format(env.PATTERN, 1, 2)",
        "runner.os == 'Linux' && strategy.job-index == 0",
        "case(inputs.deploy, 'a', env.x == 'y', 'b', 'c')",
        "unknown.x.y == 1",
        "hashFiles('**/lock')",
        "(github.ref || github.event).x",
        "github.ref_protected && null == github.head_ref",
    ],
)
def test_what_may_be(text: str) -> None:
    assert check_types(parse_expression(text), SHAPES) == ()


def test_objects_in_a_text() -> None:
    (problem,) = check_types(parse_template("echo ${{ github.ref }} ${{ github.event }}"))
    assert (problem.at, problem.message[:9]) == (27, "an object")
    assert check_types(parse_template("${{ github.event }}")) == ()


@pytest.mark.parametrize(
    ("text", "always_true"),
    [
        ("${{ github.ref }} == 'x'", True),
        ("${{ false }} ", True),
        ("x == ${{ failure() }}", True),
        ("${{ github.ref == 'x' }}", False),
        ("github.ref == 'x' || always()", False),
        ("", False),
    ],
)
def test_a_condition_that_is_a_text(text: str, always_true: bool) -> None:
    problems = check_types(parse_condition(text), condition=True)
    assert [problem.message.partition(";")[0] for problem in problems] == (
        ["the text around ${{ }} makes this always true"] if always_true else []
    )
