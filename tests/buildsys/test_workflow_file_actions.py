"""What a composite action's file is refused for, and where."""

from __future__ import annotations

import pytest
from workflow_text import Table, cases, check_one

from buildsys.core.workflow_file import decode_action
from buildsys.errors import WorkflowError

STEP = "{run: x, shell: sh}"


def action(steps: str, rest: str = "") -> str:
    return f"name: x\n{rest}runs: {{using: composite, steps: [{steps}]}}\n"


ERRORS: Table = {
    "an action has runs": [
        ("‸name: x", "missing 'runs'"),
        ("name: x\nruns: ‸x", "runs: expected a mapping, found 'x'"),
        ("name: x\nruns: ‸{steps: [" + STEP + "]}", "runs: missing 'using'"),
        ("name: x\nruns: ‸{using: composite}", "runs: missing 'steps'"),
        (action(STEP, "‸input: {}\n"), "input: unknown key; did you mean 'inputs'?"),
    ],
    "a script of an action says its shell": [
        (action("‸{run: x}"), "missing 'shell'"),
        (action("{run: x, shell: ‸fish}"), "unknown shell 'fish'"),
    ],
    "steps of an action have no timeout-minutes and no secrets": [
        (action("{run: x, shell: sh, ‸timeout-minutes: 1}"), "unknown key"),
        (action("{run: '${{ ‸secrets.A }}', shell: sh}"), "'secrets' cannot be used in runs.steps.run"),
        (action("{run: x, shell: sh, if: ‸vars.A}"), "'vars' cannot be used in runs.steps.if"),
        (action("{run: x, shell: sh, id: a}, {run: x, shell: sh, id: ‸a}"), "stands here again"),
    ],
    "inputs and outputs have names": [
        (action(STEP, "inputs: {‸a b: {}}\n"), "an input's name is at most 100 letters"),
        (action(STEP, "inputs: {a: {‸defualt: x}}\n"), "unknown key; did you mean 'default'?"),
        (action(STEP, "inputs: {a: {required: ‸maybe}}\n"), "expected true or false"),
        (action(STEP, "inputs: {a: {default: '${{ ‸inputs.b }}'}}\n"), "'inputs' cannot be used"),
        (action(STEP, "outputs: {‸a: {description: x}}\n"), "outputs.a: missing 'value'"),
        (action(STEP, "outputs: {a: {value: '${{ ‸needs.b }}'}}\n"), "'needs' cannot be used in outputs"),
    ],
}

WARNINGS: Table = {
    "an action may be of another kind than composite": [
        ("name: x\nruns: {using: ‸node20, main: index.js}", "actions of the kind 'node20' are not built in"),
        ("name: x\nruns: {using: ‸docker, image: Dockerfile}", "actions of the kind 'docker' are not built in"),
    ],
    "an action of another repository is not built in": [
        (action("{uses: ‸actions/cache@v4}"), "actions/cache@v4 is not built in; do its work in a 'run' step"),
    ],
    "inputs has the action's own": [
        (action("{run: '${{ inputs.‸a }}', shell: sh}"), "'inputs' has no property 'a'"),
        (action(STEP, "outputs: {a: {value: '${{ steps.‸b.outputs.x }}'}}\n"), "'steps' has no property 'b'"),
    ],
    "nothing of a script is written by strangers": [
        (action("{run: 'x ${{ ‸github.head_ref }}', shell: sh}"), "becomes part of the script"),
        (action("{run: x, shell: 'sh ${{ ‸github.head_ref }} {0}'}"), "becomes part of the command that reads"),
        (action("{run: x, shell: sh, working-directory: '${{ ‸github.head_ref }}'}"), "says in which folder"),
    ],
}


@pytest.mark.parametrize(("text", "expected"), cases(ERRORS))
def test_what_is_wrong_is_told_at_its_place(text: str, expected: str) -> None:
    check_one(text, expected, action=True)


@pytest.mark.parametrize(("text", "expected"), cases(WARNINGS))
def test_what_is_hardly_meant(text: str, expected: str) -> None:
    check_one(text, expected, severity="warning", action=True)


def test_an_action_that_is_wrong_is_refused() -> None:
    with pytest.raises(WorkflowError) as caught:
        decode_action(action("{run: x}"), file="greet/action.yml")
    assert caught.value.errors == (
        "greet/action.yml:2:34: runs.steps[0]: missing 'shell', which a composite action's scripts need",
    )
