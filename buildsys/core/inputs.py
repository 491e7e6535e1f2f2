"""The values of inputs: what was given, made what the workflow says that it is.

Sources: "Providing inputs" of "Events that trigger workflows", `on.workflow_call.inputs` and `jobs.<job_id>.with` in
GitHub's workflow syntax reference.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from buildsys.core.definition import Input
from buildsys.core.event_kinds import DISPATCH
from buildsys.core.events import Event
from buildsys.core.expressions import ExpressionError, Value, evaluate, parse_template, to_number, to_text
from buildsys.errors import Invalid

InputType = Literal["string", "boolean", "number", "choice", "environment"]

MAX_PAYLOAD = 65_535
"""Characters of all inputs of a dispatch, written as JSON; GitHub's limit."""

_WITHOUT: dict[str, Value] = {"boolean": False, "number": 0.0}
_SHOWN = 60


def inputs_of(event: Event, inputs: Mapping[str, Input]) -> dict[str, Value]:
    """The `inputs` of a build that the event starts: empty unless it is a dispatch.

    A dispatch brings texts: `true` and `false` become booleans and digits numbers where the workflow says so. An empty
    text is no boolean or number, and not enough for what is required. Raises `Invalid` with everything that is wrong.
    """
    if event.name != DISPATCH:
        return {}
    if len(msgspec.json.encode(event.inputs).decode()) > MAX_PAYLOAD:
        raise Invalid(f"the inputs have more than {MAX_PAYLOAD} characters")
    given = {name: value for name, value in event.inputs.items() if value != "" or _may_be_empty(inputs.get(name))}
    return _values(given, inputs, written=True, default=lambda default: default)


def with_inputs(event: Event, inputs: Mapping[str, Value]) -> Event:
    """A dispatch whose payload has these inputs, of which each is a text there; any other event is as it was.

    Source: "`inputs` context" in GitHub's contexts reference, which has the two differ in their types alone.
    """
    if event.name != DISPATCH:
        return event
    texts = {name: to_text(value) for name, value in inputs.items()}
    return msgspec.structs.replace(event, payload={**event.payload, "inputs": texts})


def call_inputs(
    given: Mapping[str, Value], inputs: Mapping[str, Input], contexts: Mapping[str, Value]
) -> dict[str, Value]:
    """The `inputs` of a reusable workflow whose caller gives it values, which must be of the types it says.

    Only a text takes a boolean or a number as it is written. `contexts` are those of the defaults: `github`, `inputs`
    and `vars` of the caller. Raises `Invalid` with everything that is wrong.
    """

    def default(value: Value) -> Value:
        return evaluate(parse_template(value), contexts) if isinstance(value, str) else value

    return _values(given, inputs, written=False, default=default)


def typed(value: object, input: Input, *, written: bool) -> Value:
    """A value as the input's type. Where it is `written` a text may stand for a boolean or a number.

    Raises `ValueError` that says what was expected.
    """
    if input.type == "boolean":
        return _boolean(value, written=written)
    if input.type == "number":
        return _number(value, written=written)
    text = to_text(value) if isinstance(value, str | bool | int | float) else None
    if text is None:
        raise ValueError(f"expected a text, found {_shown(value)}")
    if input.type == "choice" and text not in input.options:
        raise ValueError(f"expected one of {', '.join(input.options)}, found {_shown(text)}")
    return text


def _values(
    given: Mapping[str, Any], inputs: Mapping[str, Input], *, written: bool, default: Callable[[Value], Value]
) -> dict[str, Value]:
    problems = [f"unknown input {name[:_SHOWN]!r}{_suggestion(name, inputs)}" for name in given if name not in inputs]
    values: dict[str, Value] = {}
    for name, input in inputs.items():
        try:
            if given.get(name) is not None:
                values[name] = typed(given[name], input, written=written)
            elif input.default is not None:
                values[name] = typed(default(input.default), input, written=written)
            elif input.required:
                problems.append(f"input {name!r} is required")
            else:
                values[name] = _WITHOUT.get(input.type, "")
        except (ValueError, ExpressionError) as error:
            problems.append(f"input {name!r}: {error}")
    if problems:
        raise Invalid("; ".join(problems))
    return values


def _may_be_empty(input: Input | None) -> bool:
    return input is None or not (input.required or input.type in _WITHOUT)


def _boolean(value: object, *, written: bool) -> bool:
    if isinstance(value, bool):
        return value
    if written and value in ("true", "false"):
        return value == "true"
    raise ValueError(f"expected true or false, found {_shown(value)}")


def _number(value: object, *, written: bool) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        number = float(value)
    elif written and isinstance(value, str) and value.strip():
        number = to_number(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a number, found {_shown(value)}")
    return number


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, str | bool | int | float):
        return repr(to_text(value)[:_SHOWN])
    return "a list" if value is not None else "nothing"


def _suggestion(name: str, known: Mapping[str, Input]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
