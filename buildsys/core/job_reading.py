"""The `jobs` of a workflow."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from buildsys.core.built_in import NO_GROUPS, lacking_workflow
from buildsys.core.container_reading import read_container, read_services
from buildsys.core.definition import Call, Concurrency, Defaults, Job, Strategy, Template
from buildsys.core.expression_shapes import ANY, JOB, TEXT, Shape, closed, opened, texts
from buildsys.core.findings import Rule
from buildsys.core.injection import DIRECTORY
from buildsys.core.matrix_reading import read_strategy
from buildsys.core.permission_reading import read_permissions
from buildsys.core.planning import QUEUE_OR_CANCEL
from buildsys.core.step_reading import ID, ID_RULE, MAX_MINUTES, read_shell, read_steps
from buildsys.core.template_reading import Scope, TemplateReader, properties
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, Scalar

_BOTH = ("name", "needs", "if", "permissions", "concurrency", "strategy")
_STEPS = (
    *("runs-on", "environment", "outputs", "env", "defaults", "timeout-minutes", "continue-on-error"),
    *("container", "services", "steps"),
)
_CALL = ("uses", "with", "secrets")
_LATER = ("snapshot", "cancel-timeout-minutes")

_LOCAL = re.compile(r"[.$]/\.github/workflows/[^/\s@]+\.ya?ml")
_REMOTE = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/\.github/workflows/[^/\s@]+\.ya?ml@[^@\s]+")
_OUTPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

ANYWHERE = opened(ANY)


class JobField(msgspec.Struct, frozen=True, kw_only=True):
    """A job with the places in the file that checks among jobs tell of."""

    job: Job
    field: Field
    needs: tuple[Field, ...]
    scope: Scope


def read_jobs(reader: TemplateReader, field: Field) -> tuple[JobField, ...]:
    """Read all jobs, each in a scope of its own within the reader's; what they need is not looked at yet."""
    around = reader.scope
    jobs: list[JobField] = []
    lines: dict[str, int] = {}
    for job in reader.entries(field.value, field.path, expected="a mapping of jobs"):
        if not ID.fullmatch(job.name) or job.name.startswith("__"):
            reader.error(job.key, job.path, f"a job's id {ID_RULE}")
        elif job.name.lower() in lines:
            first = lines[job.name.lower()]
            reader.error(job.key, job.path, f"stands here again but for its case; the first is on line {first}")
        lines.setdefault(job.name.lower(), job.key.line)
        reader.scope = around.new_child({})
        jobs.append(_JobReader(reader, job).read())
    if isinstance(field.value, Mapping) and not jobs:
        reader.error(field.value, field.path, "expected at least one job")
    reader.scope = around
    return tuple(jobs)


def read_concurrency(reader: TemplateReader, field: Field, *, place: str) -> Concurrency:
    """A group's name, or a mapping with it."""
    if not isinstance(field.value, Mapping):
        return Concurrency(group=reader.template(field, place=place, expected="a group or a mapping with it"))
    fields = reader.fields(field.value, field.path, known=("group", "cancel-in-progress", "queue"))
    if "group" not in fields:
        reader.error(field.key, field.path, "missing 'group'")
    cancel = reader.switch(fields.get("cancel-in-progress"), place=place)
    queue = _queue(reader, fields["queue"]) if "queue" in fields else "single"
    if cancel is True and queue == "max":
        reader.error(fields["queue"].key, fields["queue"].path, QUEUE_OR_CANCEL)
    return Concurrency(
        group=reader.template(fields["group"], place=place, expected="a group") if "group" in fields else "",
        cancel_in_progress=cancel,
        queue=queue,
    )


def _queue(reader: TemplateReader, field: Field) -> Literal["single", "max"]:
    text = reader.text(field, expected="'single' or 'max'")
    if text not in ("single", "max", ""):
        reader.error(field.value, field.path, f"expected 'single' or 'max', found {text[:60]!r}")
    return "max" if text == "max" else "single"


def read_defaults(reader: TemplateReader, field: Field, *, place: str | None) -> Defaults:
    """What `run` steps have where they do not say it themselves; without a `place`, no expressions."""
    fields = reader.fields(field.value, field.path, known=("run",))
    run = fields.get("run")
    of_run = reader.fields(run.value, run.path, known=("shell", "working-directory")) if run else {}
    directory = of_run.get("working-directory")
    return Defaults(
        shell=read_shell(reader, of_run["shell"], place=place) if "shell" in of_run else None,
        working_directory=_directory(reader, directory, place) if directory else None,
    )


def job_shape(job: Job) -> Shape:
    """A job as a property of `needs` or `jobs`: of one that calls a workflow, the outputs are that workflow's."""
    outputs = properties(texts(job.outputs)) if job.call is None else opened(TEXT)
    return closed({**JOB.names, "outputs": outputs})


def _directory(reader: TemplateReader, field: Field, place: str | None) -> Template:
    if place is None:
        return reader.text(field, expected="a directory")
    return reader.template(field, place=place, expected="a directory", becomes=DIRECTORY)


class _JobReader:
    def __init__(self, reader: TemplateReader, field: Field) -> None:
        self._reader = reader
        self._field = field
        self._fields = reader.fields(field.value, field.path, known=(*_BOTH, *_STEPS, *_CALL), later=_LATER)

    def read(self) -> JobField:
        reader, fields = self._reader, self._fields
        scope = reader.scope
        strategy, scope["matrix"] = self._strategy()
        needs = reader.texts(fields["needs"], expected="a job or a list of jobs") if "needs" in fields else ()
        job = Job(
            id=self._field.name,
            name=reader.optional(fields, "name", place="jobs.<job_id>.name"),
            needs=tuple(dict.fromkeys(need.value.text for need in needs if isinstance(need.value, Scalar))),
            condition=reader.condition(fields.get("if"), place="jobs.<job_id>.if"),
            concurrency=read_concurrency(reader, fields["concurrency"], place="jobs.<job_id>.concurrency")
            if "concurrency" in fields
            else None,
            permissions=read_permissions(reader, fields["permissions"]) if "permissions" in fields else None,
            strategy=strategy,
        )
        job = self._with_call(job) if "uses" in fields else self._with_steps(job)
        return JobField(job=job, field=self._field, needs=needs, scope=scope)

    def _strategy(self) -> tuple[Strategy, Shape]:
        if "strategy" not in self._fields:
            return Strategy(), closed({})
        return read_strategy(self._reader, self._fields["strategy"])

    def _with_steps(self, job: Job) -> Job:
        reader, fields = self._reader, self._fields
        for name in ("with", "secrets"):
            if name in fields:
                reader.error(fields[name].key, fields[name].path, f"{name!r} belongs to a job with 'uses'")
        for required in ("runs-on", "steps"):
            if required not in fields and isinstance(self._field.value, Mapping):
                reader.error(self._field.key, self._field.path, f"missing {required!r}")
        labels, group = self._runs_on()
        return msgspec.structs.replace(
            job,
            runs_on=labels,
            group=group,
            env=reader.variables(fields.get("env"), place="jobs.<job_id>.env"),
            defaults=read_defaults(reader, fields["defaults"], place="jobs.<job_id>.defaults.run")
            if "defaults" in fields
            else Defaults(),
            timeout_minutes=reader.amount(
                fields.get("timeout-minutes"), place="jobs.<job_id>.timeout-minutes", above=0, to=MAX_MINUTES
            ),
            continue_on_error=reader.switch(fields.get("continue-on-error"), place="jobs.<job_id>.continue-on-error"),
            outputs=self._outputs(fields["outputs"]) if "outputs" in fields else {},
            environment=self._environment(fields["environment"]) if "environment" in fields else None,
            container=read_container(reader, fields["container"]) if "container" in fields else None,
            services=read_services(reader, fields["services"]) if "services" in fields else {},
            steps=read_steps(reader, fields["steps"], within="jobs.<job_id>.steps") if "steps" in fields else (),
        )

    def _runs_on(self) -> tuple[tuple[Template, ...], Template | None]:
        """Labels and a group, which counts for nothing beside them; alone it is what no runner has."""
        reader = self._reader
        field = self._fields.get("runs-on")
        if field is None:
            return (), None
        if not isinstance(field.value, Mapping):
            return self._labels(field), None
        fields = reader.fields(field.value, field.path, known=("labels", "group"))
        if not fields:
            reader.error(field.value, field.path, "expected 'labels'")
        labels = self._labels(fields["labels"]) if "labels" in fields else ()
        if "group" not in fields:
            return labels, None
        reader.error(fields["group"].key, fields["group"].path, NO_GROUPS, rule=Rule.NOT_BUILT_IN)
        return labels, reader.template(fields["group"], place="jobs.<job_id>.runs-on", expected="a group")

    def _labels(self, field: Field) -> tuple[Template, ...]:
        reader = self._reader
        labels = reader.templates(field, place="jobs.<job_id>.runs-on", expected="a label or a list of labels")
        if not labels:
            reader.error(field.value, field.path, "expected at least one label")
        return labels

    def _outputs(self, field: Field) -> dict[str, Template]:
        reader = self._reader
        for output in reader.entries(field.value, field.path, expected="a mapping of outputs"):
            if not _OUTPUT.fullmatch(output.name):
                rule = "an output's name is letters, digits, - and _, and begins with a letter or _"
                reader.error(output.key, output.path, rule)
        return reader.mapped(field, place="jobs.<job_id>.outputs.<output_id>", expected="a mapping of outputs")

    def _environment(self, field: Field) -> Template | None:
        reader, place = self._reader, "jobs.<job_id>.environment"
        if not isinstance(field.value, Mapping):
            return reader.template(field, place=place, empty=True) or None
        fields = reader.fields(field.value, field.path, known=("name", "url", "deployment"))
        if "name" not in fields:
            reader.error(field.key, field.path, "missing 'name'")
        reader.optional(fields, "url", place=f"{place}.url")
        reader.switch(fields.get("deployment"), place=place)
        return reader.optional(fields, "name", place=place)

    def _with_call(self, job: Job) -> Job:
        reader, fields = self._reader, self._fields
        for name in _STEPS:
            if name in fields:
                message = f"{name!r} cannot stand in a job that calls a workflow"
                reader.error(fields[name].key, fields[name].path, message)
        uses = reader.text(fields["uses"], expected="a workflow")
        if _LOCAL.fullmatch(uses):
            reader.note_use(fields["uses"], fields)
        elif _REMOTE.fullmatch(uses) and (lacking := lacking_workflow(uses)):
            reader.error(fields["uses"].value, fields["uses"].path, lacking, rule=Rule.NOT_BUILT_IN)
        elif uses:
            expected = "expected a workflow of this repository, ./.github/workflows/NAME.yml"
            reader.error(fields["uses"].value, fields["uses"].path, f"{expected}, found {uses[:100]!r}")
        call = Call(
            uses=f".{uses[1:]}" if uses.startswith("$/") else uses,
            inputs=self._inputs(fields["with"]) if "with" in fields else {},
            secrets=self._secrets(fields["secrets"]) if "secrets" in fields else {},
        )
        return msgspec.structs.replace(job, call=call)

    def _inputs(self, field: Field) -> dict[str, object]:
        reader = self._reader
        found = {}
        for given in reader.entries(field.value, field.path, expected="a mapping of inputs"):
            if isinstance(given.value, Scalar):
                found[given.name] = reader.tree(given, place="jobs.<job_id>.with.<with_id>")
            else:
                reader.error(given.value, given.path, "expected a text, a number, true or false")
        return found

    def _secrets(self, field: Field) -> dict[str, Template] | None:
        reader = self._reader
        if isinstance(field.value, Scalar):
            if field.value.text != "inherit":
                reader.error(field.value, field.path, "expected 'inherit' or a mapping of secrets")
            return None
        return reader.mapped(field, place="jobs.<job_id>.secrets.<secrets_id>", expected="a mapping of secrets")
