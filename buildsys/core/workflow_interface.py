"""What a workflow takes and gives: the inputs of `workflow_dispatch`, and all of `workflow_call`.

Sources: `on.workflow_dispatch` and `on.workflow_call` in GitHub's workflow syntax reference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

from buildsys.core.definition import CallInterface, Input, Template
from buildsys.core.inputs import InputType, typed
from buildsys.core.secret_names import GITHUB_TOKEN
from buildsys.core.template_reading import TemplateReader
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Scalar

MAX_INPUTS = 25
"""Of `workflow_dispatch`, as GitHub allows."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_CALL_TYPES: tuple[InputType, ...] = ("string", "boolean", "number")
_DISPATCH_TYPES: tuple[InputType, ...] = (*_CALL_TYPES, "choice", "environment")
_DEFAULT = "on.workflow_call.inputs.<inputs_id>.default"
_VALUE = "on.workflow_call.outputs.<output_id>.value"


def read_dispatch(reader: TemplateReader, field: Field) -> dict[str, Input]:
    """Read `workflow_dispatch`: its inputs are strings unless they say otherwise."""
    inputs = _parts(reader, field, ("inputs",)).get("inputs")
    if inputs is None:
        return {}
    found = {item.name: _dispatch_input(reader, item) for item in _named(reader, inputs, "inputs")}
    if len(found) > MAX_INPUTS:
        reader.error(inputs.key, inputs.path, f"at most {MAX_INPUTS} inputs, found {len(found)}")
    return found


def read_call(reader: TemplateReader, field: Field) -> CallInterface:
    """Read `workflow_call`: its inputs say their types, its outputs their values."""
    parts = _parts(reader, field, ("inputs", "outputs", "secrets"))
    inputs, outputs, secrets = (
        {item.name: item for item in _named(reader, parts[name], name)} if name in parts else {}
        for name in ("inputs", "outputs", "secrets")
    )
    return CallInterface(
        inputs={name: _call_input(reader, item) for name, item in inputs.items()},
        outputs={name: _output(reader, item) for name, item in outputs.items()},
        secrets={name: _secret(reader, item) for name, item in secrets.items()},
    )


def _dispatch_input(reader: TemplateReader, field: Field) -> Input:
    fields = _parts(reader, field, ("description", "type", "required", "default", "options"))
    type = _type(reader, fields["type"], _DISPATCH_TYPES) if "type" in fields else "string"
    options = _options(reader, fields["options"]) if "options" in fields else ()
    if type == "choice" and not options:
        at = fields.get("options", field)
        reader.error(at.key, at.path, "a choice needs its 'options', a list of texts")
        return Input()
    input = Input(
        type=type,
        description=_description(reader, fields),
        required="required" in fields and reader.boolean(fields["required"]),
        options=options,
    )
    return _with_default(reader, input, fields.get("default"), written=True)


def _call_input(reader: TemplateReader, field: Field) -> Input:
    fields = _parts(reader, field, ("description", "type", "required", "default"))
    if "type" not in fields:
        reader.error(field.key, field.path, f"expected a 'type': {_list(_CALL_TYPES)}")
    input = Input(
        type=_type(reader, fields["type"], _CALL_TYPES) if "type" in fields else "string",
        description=_description(reader, fields),
        required="required" in fields and reader.boolean(fields["required"]),
    )
    return _with_default(reader, input, fields.get("default"), written=False)


def _output(reader: TemplateReader, field: Field) -> Template:
    fields = _parts(reader, field, ("description", "value"))
    _description(reader, fields)
    if "value" not in fields:
        reader.error(field.key, field.path, "expected a 'value', such as ${{ jobs.test.outputs.result }}")
        return ""
    return reader.template(fields["value"], place=_VALUE)


def _secret(reader: TemplateReader, field: Field) -> bool:
    if field.name.upper() == GITHUB_TOKEN:
        reader.error(field.key, field.path, "every workflow has this secret: it is not declared")
    fields = _parts(reader, field, ("description", "required"))
    _description(reader, fields)
    return "required" in fields and reader.boolean(fields["required"])


def _with_default(reader: TemplateReader, input: Input, field: Field | None, *, written: bool) -> Input:
    """The input with its default; one of a call may be an expression, whose type is seen when it is called."""
    if field is None or _is_nothing(field):
        return input
    if not isinstance(field.value, Scalar):
        reader.error(field.value, field.path, "expected a text, a number, true or false")
        return input
    if not written and "${{" in field.value.text:
        return msgspec.structs.replace(input, default=reader.template(field, place=_DEFAULT))
    if field.value.text.strip():
        reader.text(field)
    value = field.value.value if input.type in ("boolean", "number") else field.value.text
    try:
        return msgspec.structs.replace(input, default=typed(value, input, written=written))
    except ValueError as error:
        reader.error(field.value, field.path, str(error))
        return input


def _type(reader: TemplateReader, field: Field, known: tuple[InputType, ...]) -> InputType:
    text = reader.text(field, expected=_list(known))
    for type in known:
        if text == type:
            return type
    if text:
        reader.error(field.value, field.path, f"expected {_list(known)}{reader.suggestion(text, known)}")
    return "string"


def _options(reader: TemplateReader, field: Field) -> tuple[str, ...]:
    return tuple(
        item.value.text if isinstance(item.value, Scalar) else reader.text(item, expected="an option")
        for item in reader.items(field, expected="a list of options")
    )


def _description(reader: TemplateReader, fields: Mapping[str, Field]) -> str:
    field = fields.get("description")
    if field is None or _is_nothing(field):
        return ""
    return field.value.text if isinstance(field.value, Scalar) else reader.text(field)


def _named(reader: TemplateReader, field: Field, what: str) -> Iterator[Field]:
    """The entries of a mapping, by names that expressions can use."""
    if _is_nothing(field):
        return
    for item in reader.entries(field.value, field.path, expected=f"a mapping of {what}"):
        if not _NAME.fullmatch(item.name):
            expected = "a name begins with a letter or _ and goes on with letters, digits, - and _"
            reader.error(item.key, item.path, expected)
        yield item


def _parts(reader: TemplateReader, field: Field, known: Collection[str]) -> dict[str, Field]:
    return {} if _is_nothing(field) else reader.fields(field.value, field.path, known=known)


def _is_nothing(field: Field) -> bool:
    return isinstance(field.value, Scalar) and field.value.value is None


def _list(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
