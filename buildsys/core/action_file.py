"""A composite action's file, `action.yml`: its inputs, outputs and steps.

Source: "Metadata syntax" in GitHub's reference of custom actions.
"""

from __future__ import annotations

from buildsys.core.built_in import COMPOSITE, lacking_kind
from buildsys.core.definition import Action, Input, Step, Template
from buildsys.core.expression_shapes import texts
from buildsys.core.findings import Rule
from buildsys.core.step_reading import ID, read_steps
from buildsys.core.template_reading import TemplateReader, properties
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping

_KNOWN = ("name", "author", "description", "inputs", "outputs", "runs", "branding")
_INPUT = ("description", "required", "default", "deprecationMessage")


def read_action(reader: TemplateReader, whole: Field, file: str) -> Action:
    """The action; of one that is not composite `runs` is not read."""
    fields = reader.fields(whole.value, whole.path, known=_KNOWN)
    if "runs" not in fields and isinstance(whole.value, Mapping):
        reader.error(whole.value, "", "missing 'runs'")
    for name in ("author", "description"):
        if name in fields:
            reader.text(fields[name], empty=True)
    inputs = _inputs(reader, fields["inputs"]) if "inputs" in fields else {}
    reader.scope["inputs"] = properties(texts(inputs))
    using, steps = _runs(reader, fields["runs"]) if "runs" in fields else (COMPOSITE, ())
    return Action(
        name=(reader.text(fields["name"], empty=True) if "name" in fields else "") or file,
        steps=steps,
        using=using,
        inputs=inputs,
        outputs=_outputs(reader, fields["outputs"]) if "outputs" in fields else {},
    )


def _inputs(reader: TemplateReader, field: Field) -> dict[str, Input]:
    found = {}
    for item in reader.entries(field.value, field.path, expected="a mapping of inputs"):
        _check_name(reader, item, "an input's")
        fields = reader.fields(item.value, item.path, known=_INPUT) if isinstance(item.value, Mapping) else {}
        default = fields.get("default")
        found[item.name] = Input(
            description=reader.text(fields["description"], empty=True) if "description" in fields else "",
            required="required" in fields and reader.boolean(fields["required"]),
            default=reader.template(default, place="inputs.<input_id>.default", empty=True) if default else None,
        )
    return found


def _outputs(reader: TemplateReader, field: Field) -> dict[str, Template]:
    found = {}
    for item in reader.entries(field.value, field.path, expected="a mapping of outputs"):
        _check_name(reader, item, "an output's")
        fields = reader.fields(item.value, item.path, known=("description", "value"))
        if "value" not in fields:
            reader.error(item.key, item.path, "missing 'value'")
            continue
        found[item.name] = reader.template(fields["value"], place="outputs.<output_id>.value", empty=True)
    return found


def _check_name(reader: TemplateReader, item: Field, whose: str) -> None:
    if not ID.fullmatch(item.name):
        rule = "name is at most 100 letters, digits, - and _, and begins with a letter or _"
        reader.error(item.key, item.path, f"{whose} {rule}")


def _runs(reader: TemplateReader, field: Field) -> tuple[str, tuple[Step, ...]]:
    """The action's kind, and the steps of a composite one."""
    keys = {runs.name: runs for runs in reader.entries(field.value, field.path)}
    using = (reader.text(keys["using"], expected=COMPOSITE) if "using" in keys else "") or COMPOSITE
    if lacking := lacking_kind(using):
        reader.error(keys["using"].value, keys["using"].path, lacking, rule=Rule.NOT_BUILT_IN)
        return using, ()
    fields = reader.fields(field.value, field.path, known=("using", "steps"))
    for required in ("using", "steps"):
        if required not in fields and isinstance(field.value, Mapping):
            reader.error(field.value, field.path, f"missing {required!r}")
    return using, read_steps(reader, fields["steps"], within="runs.steps") if "steps" in fields else ()
