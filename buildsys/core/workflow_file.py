"""A workflow file, and a composite action's: decoded as a whole, or refused with everything that is wrong with it.

    name  run-name  on or triggers  permissions  env  defaults  concurrency  jobs
    jobs.ID       name  needs  if  runs-on  environment  concurrency  outputs  env  defaults  strategy  container
                  services  timeout-minutes  continue-on-error  permissions  steps; or uses  with  secrets
    …steps[N]     id  name  if  run  shell  working-directory  uses  with  env  continue-on-error  timeout-minutes

Keys, places and limits are those of GitHub's workflow syntax reference; a key that is not known is an error. Beside
them there are top-level `steps`, for a file of one job, `build`, on any runner and on every push if it has no `on`;
`script`, which is a `run` whose shell is zx unless the step says another; and `container.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Names
from typing import TypeVar

import msgspec

from buildsys.core.action_file import read_action
from buildsys.core.definition import Action, Defaults, Events, Filter, Job, Workflow
from buildsys.core.event_kinds import DISPATCH
from buildsys.core.expression_shapes import ANY, BOOLEAN, NUMBER, TEXT, Shape, closed, opened, texts
from buildsys.core.findings import Finding, Rule
from buildsys.core.job_reading import job_shape, read_concurrency, read_defaults, read_jobs
from buildsys.core.permission_reading import read_permissions
from buildsys.core.step_reading import read_steps
from buildsys.core.template_reading import TemplateReader, properties
from buildsys.core.uses import Use
from buildsys.core.workflow_checks import resolve_needs, warn_of_unreachable
from buildsys.core.workflow_on import read_events
from buildsys.core.workflow_triggers import read_triggers
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, Scalar, YamlError, decoded, parse
from buildsys.errors import WorkflowError

_KNOWN = (
    "name",
    "description",
    "run-name",
    "on",
    "triggers",
    "permissions",
    "env",
    "defaults",
    "concurrency",
    "jobs",
    "steps",
)
Kind = TypeVar("Kind", Workflow, Action)

_PUSH = Events(filters={"push": Filter()})
_SHAPES = {"boolean": BOOLEAN, "number": NUMBER}


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a file, as far as it could be, and all that was found; None where it is no YAML."""

    value: Workflow | Action | None
    findings: tuple[Finding, ...]
    uses: tuple[Use, ...] = ()


def decode_workflow(text: bytes | str, *, file: str) -> Workflow:
    """Read a workflow file; `file` is its path, and its name where it says none.

    Raises `WorkflowError` with every error found, each with its line, its column, and what was expected there. What
    only `lint` warns of is no error.
    """
    examined = examine_workflow(text, file=file)
    assert isinstance(examined.value, Workflow | None)
    return _sound(examined.value, examined.findings)


def decode_action(text: bytes | str, *, file: str) -> Action:
    """Read a composite action's file; raises as `decode_workflow` does."""
    examined = examine_action(text, file=file)
    assert isinstance(examined.value, Action | None)
    return _sound(examined.value, examined.findings)


def examine_workflow(text: bytes | str, *, file: str) -> Examined:
    """Read a workflow file and tell of errors and warnings alike."""
    return _examined(text, file, _read_workflow)


def examine_action(text: bytes | str, *, file: str) -> Examined:
    """Read a composite action's file and tell of errors and warnings alike."""
    return _examined(text, file, read_action)


def _examined(
    text: bytes | str, file: str, read: Callable[[TemplateReader, Field, str], Workflow | Action]
) -> Examined:
    source = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        root = parse(source)
    except YamlError as error:
        wrong = Finding(file=file, line=error.line, column=error.column, path="", message=str(error), rule=Rule.YAML)
        return Examined(value=None, findings=(wrong,))
    reader = TemplateReader(file=file, source=decoded(source))
    nameless = Scalar(line=root.line, column=root.column, text="", value=None)
    value = read(reader, Field(path="", key=nameless, value=root), file)
    reader.check_types()
    return Examined(value=value, findings=reader.findings(), uses=tuple(reader.uses))


def _sound(value: Kind | None, findings: Iterable[Finding]) -> Kind:
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise WorkflowError(*errors)
    assert value is not None
    return value


def _read_workflow(reader: TemplateReader, whole: Field, file: str) -> Workflow:
    fields = reader.fields(whole.value, whole.path, known=_KNOWN)
    short = "steps" in fields and "jobs" not in fields
    for required in ("on", "jobs"):
        is_there = required in fields or (required == "on" and "triggers" in fields)
        if not is_there and not short and isinstance(whole.value, Mapping):
            reader.error(whole.value, "", f"missing {required!r}")
    if "steps" in fields and not short:
        reader.error(fields["steps"].key, "steps", "cannot stand beside 'jobs'; write them into a job")
    on = _read_on(reader, fields)
    reader.scope["inputs"] = _inputs_shape(on)
    if on.filters.keys() == {DISPATCH}:
        event = opened(ANY, {"inputs": properties(texts(on.dispatch))})
        reader.scope["github"] = closed({**reader.scope["github"].names, "event": event})
    env = reader.variables(fields.get("env"), place="env")
    jobs = _read_short(reader, fields["steps"]) if short else _read_jobs(reader, fields.get("jobs"))
    reader.scope["jobs"] = properties({id: job_shape(job) for id, job in jobs.items()})
    if "description" in fields:
        reader.text(fields["description"], empty=True)
    return Workflow(
        path=file,
        name=(reader.text(fields["name"], empty=True) if "name" in fields else "") or file,
        on=on,
        jobs=jobs,
        run_name=reader.optional(fields, "run-name", place="run-name"),
        env=env,
        defaults=read_defaults(reader, fields["defaults"], place=None) if "defaults" in fields else Defaults(),
        concurrency=read_concurrency(reader, fields["concurrency"], place="concurrency")
        if "concurrency" in fields
        else None,
        permissions=read_permissions(reader, fields["permissions"]) if "permissions" in fields else None,
    )


def _read_on(reader: TemplateReader, fields: Names[str, Field]) -> Events:
    """What starts it: `on` or `triggers`, else every push."""
    if "on" in fields and "triggers" in fields:
        reader.error(fields["triggers"].key, "triggers", "cannot stand beside 'on'; write its events there")
    if "on" in fields:
        return read_events(reader, fields["on"])
    return read_triggers(reader, fields["triggers"]) if "triggers" in fields else _PUSH


def _read_jobs(reader: TemplateReader, field: Field | None) -> dict[str, Job]:
    """All jobs, each with what it needs: its expressions know the outputs of those."""
    read = read_jobs(reader, field) if field else ()
    needs = resolve_needs(reader, read)
    warn_of_unreachable(reader, read, needs)
    shapes = {job.job.id: job_shape(job.job) for job in read}
    for job in read:
        job.scope["needs"] = properties({need: shapes[need] for need in needs[job.job.id]})
    return {job.job.id: msgspec.structs.replace(job.job, needs=needs[job.job.id]) for job in read}


def _read_short(reader: TemplateReader, field: Field) -> dict[str, Job]:
    """The only job of a file that has just steps."""
    around = reader.scope
    reader.scope = around.new_child({"needs": closed({}), "matrix": closed({})})
    steps = read_steps(reader, field, within="jobs.<job_id>.steps")
    reader.scope = around
    return {"build": Job(id="build", steps=steps)}


def _inputs_shape(on: Events) -> Shape:
    """What the context `inputs` has: what a person or a caller gives; of another event, nothing."""
    found: dict[str, Shape] = {}
    for inputs in (on.dispatch, on.call.inputs if on.call else {}):
        for name, input in inputs.items():
            shape = _SHAPES.get(input.type, TEXT)
            found[name] = shape if found.get(name, shape) == shape else ANY
    return properties(found)
