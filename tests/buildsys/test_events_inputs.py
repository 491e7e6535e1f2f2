"""What becomes of inputs, against "Providing inputs" and `on.workflow_call.inputs` of GitHub's references.

A sentence begins with the section that it is in, told in our words; "Ours" is where that is silent.
"""

from __future__ import annotations

from typing import Any

import pytest

from buildsys.core.definition import Input
from buildsys.core.events import Event
from buildsys.core.inputs import MAX_PAYLOAD, call_inputs, inputs_of
from buildsys.errors import Invalid

TEXT = Input()
FLAG = Input(type="boolean")
COUNT = Input(type="number")
LEVEL = Input(type="choice", options=("info", "warning", "debug"))
PLACE = Input(type="environment")

Table = dict[str, list[tuple[Input, Any, Any]]]
"""By sentence: an input, what is given for it (`...` for nothing), and what it is worth."""

DISPATCHED: Table = {
    "workflow_dispatch: a string is the text": [
        (TEXT, "x", "x"),
        (TEXT, " a b ", " a b "),
        (TEXT, "true", "true"),
        (TEXT, "$(reboot)", "$(reboot)"),
        (Input(default="warning"), "", ""),
        (Input(type="choice", options=("", "a"), default="a"), "", ""),
        (PLACE, "staging", "staging"),
    ],
    "workflow_dispatch: the inputs context keeps booleans as booleans": [
        (FLAG, "true", True),
        (FLAG, "false", False),
        (FLAG, True, True),
        (FLAG, False, False),
    ],
    "workflow_dispatch: a number is a number": [
        (COUNT, "5", 5.0),
        (COUNT, "-1.5", -1.5),
        (COUNT, 7, 7.0),
        (COUNT, "0x10", 16.0),
    ],
    "workflow_dispatch: a choice is one of its options, a text": [(LEVEL, "debug", "debug")],
    "workflow_dispatch: the default is used for what is not given": [
        (Input(default="warning"), ..., "warning"),
        (Input(default="warning"), None, "warning"),
        (Input(default="warning", required=True), ..., "warning"),
        (Input(type="boolean", default=True), ..., True),
        (Input(type="boolean", default=True), "false", False),
        (Input(type="boolean", default=True), "", True),
        (Input(type="number", default=2.0), "", 2.0),
        (Input(type="number", default=3.0), ..., 3.0),
        (Input(type="choice", options=("a", "b"), default="b"), ..., "b"),
    ],
    "on.workflow_call.inputs: without a default it is false, 0 or an empty text": [
        (TEXT, ..., ""),
        (FLAG, ..., False),
        (COUNT, ..., 0.0),
        (LEVEL, ..., ""),
        (PLACE, "", ""),
    ],
    "Ours: other values are written as expressions write them": [
        (TEXT, 5, "5"),
        (TEXT, True, "true"),
        (TEXT, 1.5, "1.5"),
    ],
}

REFUSED: dict[str, list[tuple[Input, Any, str]]] = {
    "workflow_dispatch: a required input must be supplied": [
        (Input(required=True), ..., "input 'x' is required"),
        (Input(required=True), "", "input 'x' is required"),
        (Input(type="boolean", required=True), ..., "input 'x' is required"),
    ],
    "workflow_dispatch: a choice is a single one of its options": [
        (LEVEL, "verbose", "input 'x': expected one of info, warning, debug, found 'verbose'"),
        (LEVEL, "Info", "input 'x': expected one of info, warning, debug, found 'Info'"),
    ],
    "workflow_dispatch: a boolean is true or false": [
        (FLAG, "yes", "input 'x': expected true or false, found 'yes'"),
        (FLAG, 1, "input 'x': expected true or false, found '1'"),
    ],
    "workflow_dispatch: a number is a number": [
        (COUNT, "five", "input 'x': expected a number, found 'five'"),
        (COUNT, " ", "input 'x': expected a number, found ' '"),
        (COUNT, "Infinity", "input 'x': expected a number, found 'Infinity'"),
        (COUNT, True, "input 'x': expected a number, found 'true'"),
        (COUNT, 10**400, "input 'x': expected a number, found 'Infinity'"),
    ],
    "Ours: what is no single value is refused": [
        (TEXT, ["a"], "input 'x': expected a text, found a list"),
        (TEXT, {"a": 1}, "input 'x': expected a text, found an object"),
        (FLAG, [], "input 'x': expected true or false, found a list"),
    ],
}

CALLED: Table = {
    "on.workflow_call.inputs.type: values have the type that is said": [
        (TEXT, "x", "x"),
        (TEXT, "", ""),
        (FLAG, True, True),
        (COUNT, 5, 5.0),
    ],
    "on.workflow_call.inputs: without a default it is false, 0 or an empty text": [
        (TEXT, ..., ""),
        (FLAG, ..., False),
        (COUNT, ..., 0.0),
        (COUNT, None, 0.0),
    ],
    "Context availability: a default may use github, inputs and vars": [
        (Input(default="${{ github.ref }}"), ..., "refs/heads/main"),
        (Input(default="on ${{ vars.HOST }}"), ..., "on example"),
        (Input(type="boolean", default="${{ github.ref == 'refs/heads/main' }}"), ..., True),
        (Input(type="number", default="${{ inputs.count }}"), ..., 4.0),
    ],
    "Ours: a text takes what is written without quotes": [(TEXT, 1.5, "1.5"), (TEXT, False, "false")],
}

UNCALLED: dict[str, list[tuple[Input, Any, str]]] = {
    "jobs.<job_id>.with: a value must match the type of the input": [
        (FLAG, "true", "input 'x': expected true or false, found 'true'"),
        (COUNT, "5", "input 'x': expected a number, found '5'"),
        (FLAG, 0, "input 'x': expected true or false, found '0'"),
        (TEXT, ["a"], "input 'x': expected a text, found a list"),
        (
            Input(type="boolean", default="${{ github.ref }}"),
            ...,
            "input 'x': expected true or false, found 'refs/heads/main'",
        ),
    ],
    "on.workflow_call.inputs: a required input must be supplied": [
        (Input(required=True), ..., "input 'x' is required")
    ],
    "Ours: a default that cannot be evaluated is an error of that input": [
        (Input(default="${{ fromJSON('{') }}"), ..., "input 'x': "),
    ],
}

CONTEXTS: dict[str, Any] = {"github": {"ref": "refs/heads/main"}, "vars": {"HOST": "example"}, "inputs": {"count": 4}}


def rows(table: dict[str, list[tuple[Input, Any, Any]]]) -> list[Any]:
    return [
        pytest.param(*row, id=f"{sentence} | {number}")
        for sentence, cases in table.items()
        for number, row in enumerate(cases)
    ]


def dispatched(inputs: dict[str, Input], **given: Any) -> Any:
    event = Event(name="workflow_dispatch", ref="refs/heads/main", sha="1" * 40, inputs=given)
    return inputs_of(event, inputs)


def given(value: Any) -> dict[str, Any]:
    return {} if value is ... else {"x": value}


@pytest.mark.parametrize(("input", "value", "expected"), rows(DISPATCHED))
def test_an_input_of_a_dispatch(input: Input, value: Any, expected: Any) -> None:
    found = dispatched({"x": input}, **given(value))
    assert found == {"x": expected}
    assert type(found["x"]) is type(expected)


@pytest.mark.parametrize(("input", "value", "message"), rows(REFUSED))
def test_an_input_that_a_dispatch_cannot_give(input: Input, value: Any, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        dispatched({"x": input}, **given(value))
    assert str(refused.value) == message


@pytest.mark.parametrize(("input", "value", "expected"), rows(CALLED))
def test_an_input_of_a_call(input: Input, value: Any, expected: Any) -> None:
    found = call_inputs(given(value), {"x": input}, CONTEXTS)
    assert found == {"x": expected}
    assert type(found["x"]) is type(expected)


@pytest.mark.parametrize(("input", "value", "message"), rows(UNCALLED))
def test_an_input_that_a_caller_cannot_give(input: Input, value: Any, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        call_inputs(given(value), {"x": input}, CONTEXTS)
    assert str(refused.value).startswith(message)


def test_all_that_is_wrong_is_said_at_once() -> None:
    inputs = {"level": LEVEL, "flag": FLAG, "name": Input(required=True)}
    with pytest.raises(Invalid) as refused:
        dispatched(inputs, level="x", flag="no", levle="info")
    assert str(refused.value) == (
        "unknown input 'levle'; did you mean 'level'?; "
        "input 'level': expected one of info, warning, debug, found 'x'; "
        "input 'flag': expected true or false, found 'no'; "
        "input 'name' is required"
    )


def test_only_a_dispatch_has_inputs() -> None:
    event = Event(name="push", ref="refs/heads/main", sha="1" * 40, inputs={"x": "1"})
    assert inputs_of(event, {"x": Input(required=True)}) == {}


def test_the_inputs_of_a_dispatch_are_of_a_limited_size() -> None:
    """GitHub: the maximum payload for inputs is 65,535 characters."""
    frame = len('{"x":""}')
    assert dispatched({"x": TEXT}, x="ü" * (MAX_PAYLOAD - frame))["x"][-1] == "ü"
    with pytest.raises(Invalid, match="more than 65535 characters"):
        dispatched({"x": TEXT}, x="ü" * (MAX_PAYLOAD - frame + 1))


def test_what_is_wrong_is_said_briefly() -> None:
    with pytest.raises(Invalid) as refused:
        dispatched({"x": FLAG}, x="y" * 5000)
    assert len(str(refused.value)) < 200
