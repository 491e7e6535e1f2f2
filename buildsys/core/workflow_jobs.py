"""The `jobs` of a workflow: their steps, what they need, where they run."""

from __future__ import annotations

import graphlib
import posixpath
import re

from buildsys.core.plan import Condition, JobPlan, StepPlan
from buildsys.core.yaml_reading import Field, Reader
from buildsys.core.yaml_source import Mapping, Scalar, Sequence

MAX_MINUTES = 7200
"""Five days: the longest that GitHub lets a job run, by its usage limits for self-hosted runners."""

SHELLS = ("sh", "bash", "python")

_JOB = ("name", "runs-on", "container", "env", "needs", "timeout-minutes", "steps", "permissions")
_JOB_LATER = (
    *("concurrency", "continue-on-error", "defaults", "environment", "if", "outputs"),
    *("secrets", "services", "snapshot", "strategy", "uses", "with"),
)
_STEP = ("id", "name", "run", "uses", "with", "env", "working-directory", "shell", "if", "continue-on-error")
_STEP_LATER = ("timeout-minutes",)
_CONTAINER = ("image", "env")
_CONTAINER_LATER = ("credentials", "options", "ports", "volumes")
_CHECKOUT = re.compile(r"actions/checkout@[A-Za-z0-9._/-]+")
_CHECKOUT_WITH = ("clean", "persist-credentials", "set-safe-directory", "show-progress")
"""Inputs of actions/checkout that change nothing in what later steps find."""
_CHECKOUT_LATER = (
    *("fetch-depth", "fetch-tags", "filter", "github-server-url", "lfs", "path", "ref", "repository"),
    *("sparse-checkout", "sparse-checkout-cone-mode", "ssh-key", "ssh-known-hosts", "ssh-strict", "ssh-user"),
    *("submodules", "token"),
)
_SHELLS_LATER = ("pwsh", "powershell", "cmd")
_JOB_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_CONDITION = re.compile(r"(success|failure|always)\s*\(\s*\)")
_BRACES = re.compile(r"\$\{\{(.*)\}\}", re.DOTALL)


def read_jobs(reader: Reader, field: Field, *, env: dict[str, str]) -> tuple[JobPlan, ...]:
    """Read all jobs, each after those it needs and otherwise in the file's order; `env` is the workflow's."""
    jobs: dict[str, JobPlan] = {}
    needs: dict[str, tuple[Field, ...]] = {}
    for job in reader.entries(field.value, field.path, expected="a mapping of jobs"):
        if not _JOB_ID.fullmatch(job.name):
            expected = "a job's id is at most 100 letters, digits, - and _, and begins with a letter or _"
            reader.error(job.key, job.path, expected)
        jobs[job.name], needs[job.name] = _job(reader, job, env)
    if isinstance(field.value, Mapping) and not jobs:
        reader.error(field.value, field.path, "expected at least one job")
    return tuple(jobs[id] for id in _ordered(reader, needs))


def _job(reader: Reader, job: Field, workflow_env: dict[str, str]) -> tuple[JobPlan, tuple[Field, ...]]:
    fields = reader.fields(job.value, job.path, known=_JOB, later=_JOB_LATER)
    if isinstance(job.value, Mapping) and "uses" not in {key.text for key, _ in job.value.entries}:
        for required in ("runs-on", "steps"):
            if required not in fields:
                reader.error(job.key, job.path, f"missing {required!r}")
    image, container_env = _container(reader, fields["container"]) if "container" in fields else (None, {})
    needs = reader.texts(fields["needs"], expected="a job or a list of jobs") if "needs" in fields else ()
    minutes = None
    if "timeout-minutes" in fields:
        minutes = reader.number(fields["timeout-minutes"], above=0, to=MAX_MINUTES)
    plan = JobPlan(
        id=job.name,
        name=reader.text(fields["name"]) if "name" in fields else job.name,
        steps=_steps(reader, fields["steps"]) if "steps" in fields else (),
        needs=tuple(dict.fromkeys(_word(need) for need in needs)),
        runs_on=_runs_on(reader, fields["runs-on"]) if "runs-on" in fields else (),
        image=image,
        env=workflow_env | container_env | reader.env(fields.get("env")),
        timeout=None if minutes is None else minutes * 60,
    )
    return plan, needs


def _runs_on(reader: Reader, field: Field) -> tuple[str, ...]:
    if isinstance(field.value, Mapping):
        reader.error(field.value, field.path, "runner groups are not supported yet; name a label or a list of labels")
        return ()
    return tuple(_word(label) for label in reader.texts(field, expected="a label or a list of labels"))


def _container(reader: Reader, field: Field) -> tuple[str | None, dict[str, str]]:
    if not isinstance(field.value, Mapping):
        return _image(reader, field), {}
    fields = reader.fields(field.value, field.path, known=_CONTAINER, later=_CONTAINER_LATER)
    if "image" not in fields:
        reader.error(field.key, field.path, "missing 'image'")
    return _image(reader, fields["image"]) if "image" in fields else None, reader.env(fields.get("env"))


def _image(reader: Reader, field: Field) -> str:
    image = reader.text(field, expected="an image")
    if image.startswith("-") or re.search(r"[\x00-\x20\x7f]", image):
        reader.error(field.value, field.path, f"not the name of an image: {image[:60]!r}")
    return image


def _steps(reader: Reader, field: Field) -> tuple[StepPlan, ...]:
    """The steps that run something: a checkout is done before the first of them."""
    steps: list[StepPlan] = []
    items = reader.items(field, expected="a list of steps")
    for item in items:
        step = _step(reader, item, number=len(steps) + 1)
        if step is not None:
            steps.append(step)
    if isinstance(field.value, Sequence) and not items:
        reader.error(field.value, field.path, "expected at least one step")
    return tuple(steps)


def _step(reader: Reader, step: Field, *, number: int) -> StepPlan | None:
    fields = reader.fields(step.value, step.path, known=_STEP, later=_STEP_LATER)
    if "uses" in fields:
        _checkout(reader, fields)
        return None
    if "run" not in fields:
        if isinstance(step.value, Mapping):
            reader.error(step.value, step.path, "missing 'run'")
        return None
    if "with" in fields:
        reader.error(fields["with"].key, fields["with"].path, "'with' belongs to a step that uses an action")
    run = reader.text(fields["run"], expected="a script")
    if "\0" in run:
        reader.error(fields["run"].value, fields["run"].path, "a script cannot hold a NUL")
    first_line = next(iter(run.strip().splitlines()), "")
    return StepPlan(
        number=number,
        name=reader.text(fields["name"]) if "name" in fields else f"Run {first_line}"[:100],
        run=run,
        shell=_shell(reader, fields["shell"]) if "shell" in fields else "sh",
        env=reader.env(fields.get("env")),
        working_directory=_directory(reader, fields["working-directory"]) if "working-directory" in fields else ".",
        condition=_condition(reader, fields["if"]) if "if" in fields else Condition.SUCCESS,
        continue_on_error="continue-on-error" in fields and reader.boolean(fields["continue-on-error"]),
    )


def _checkout(reader: Reader, fields: dict[str, Field]) -> None:
    action = fields["uses"]
    if "run" in fields:
        reader.error(fields["run"].key, fields["run"].path, "a step has either 'run' or 'uses'")
    if not _CHECKOUT.fullmatch(reader.text(action, expected="an action")):
        reader.error(action.value, action.path, "not supported yet: the only action is actions/checkout")
    elif "with" in fields:
        reader.fields(fields["with"].value, fields["with"].path, known=_CHECKOUT_WITH, later=_CHECKOUT_LATER)


def _shell(reader: Reader, field: Field) -> str:
    shell = reader.text(field, expected="a shell")
    if shell in _SHELLS_LATER:
        reader.error(
            field.value, field.path, f"not supported yet; expected {', '.join(SHELLS)} or a command with {{0}}"
        )
    elif shell not in SHELLS and "{0}" not in shell:
        hint = reader.suggestion(shell, SHELLS)
        reader.error(field.value, field.path, f"expected {', '.join(SHELLS)} or a command with {{0}}{hint}")
    return shell


def _directory(reader: Reader, field: Field) -> str:
    directory = reader.text(field, expected="a directory")
    normal = posixpath.normpath(directory)
    if normal.startswith("/") or normal.split("/")[0] == ".." or "\0" in directory:
        reader.error(field.value, field.path, "expected a directory inside the workspace, relative to it")
    return directory


def _condition(reader: Reader, field: Field) -> Condition:
    text = field.value.text.strip() if isinstance(field.value, Scalar) else ""
    if braces := _BRACES.fullmatch(text):
        text = braces[1].strip()
    if found := _CONDITION.fullmatch(text):
        return Condition(f"{found[1]}()")
    reader.error(field.value, field.path, "expected success(), failure() or always(); others are not supported yet")
    return Condition.SUCCESS


def _ordered(reader: Reader, needs: dict[str, tuple[Field, ...]]) -> tuple[str, ...]:
    """The jobs' ids, each after those it needs; in the file's order where there is no such order."""
    graph: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for id in needs:
        graph.add(id)
    for id, wanted in needs.items():
        for need in wanted:
            if _word(need) in needs:
                graph.add(id, _word(need))
            else:
                hint = reader.suggestion(_word(need), needs)
                reader.error(need.value, need.path, f"there is no job {_word(need)[:100]!r}{hint}")
    try:
        return tuple(graph.static_order())
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1][::-1]
        at = next(need for need in needs[circle[0]] if _word(need) == circle[1])
        reader.error(at.value, at.path, f"jobs need each other: {' needs '.join(circle)}")
        return tuple(needs)


def _word(field: Field) -> str:
    """The text of a field that `Reader.texts` returned."""
    assert isinstance(field.value, Scalar)
    return field.value.text
