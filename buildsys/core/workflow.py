"""The workflow file: GitHub's syntax, decoded as a whole or refused with everything that is wrong with it.

    on  env  jobs.ID            name  runs-on  container  env  needs  timeout-minutes  steps
    jobs.ID.steps[N]            name  run  env  working-directory  shell  if  continue-on-error

A key that is not known is an error, and so is one of GitHub's that is not run yet: nothing is passed over in silence
but `permissions`, `run-name` and a step's `id`, which change nothing here. The commit is in the workspace before the
first step, so a step that uses `actions/checkout` is done.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from buildsys.core.plan import JobPlan, Plan, StepPlan
from buildsys.core.project import ProjectSettings
from buildsys.core.workflow_events import Events, read_events
from buildsys.core.workflow_jobs import read_jobs
from buildsys.core.yaml_reading import Field, Reader
from buildsys.core.yaml_source import Scalar, YamlError, parse
from buildsys.errors import WorkflowError

_KNOWN = ("name", "run-name", "on", "permissions", "env", "jobs")
_LATER = ("concurrency", "defaults")


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded file. The jobs stand each after those it needs; the workflow's `env` is in each of them.

    A job's `image` is that of its `container`, None where it has none.
    """

    name: str
    on: Events
    jobs: tuple[JobPlan, ...]


class WorkflowFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Workflow files by path, as they are at a commit, and the first line of the commit's message."""

    files: Mapping[str, bytes]
    subject: str


def decode(text: bytes | str, *, file: str) -> Workflow:
    """Read a workflow file; `file` is its path for messages, and its name where it says none.

    Raises `WorkflowError` with every error found, each with its line, its column, and what was expected there.
    """
    try:
        root = parse(text)
    except YamlError as error:
        raise WorkflowError(f"{file}:{error.line}:{error.column}: {error}") from None
    reader = Reader(file=file)
    whole = Field(path="", key=Scalar(line=root.line, column=root.column, text="", value=None), value=root)
    workflow = _read(reader, whole, file)
    reader.finish()
    return workflow


def plan(workflow: Workflow, *, images: Mapping[str, str], default_image: str | None) -> Plan:
    """The workflow's jobs with their images: the job's own, or that of its first known label, or the default."""
    jobs = []
    for job in workflow.jobs:
        labelled = (images[label] for label in job.runs_on if label in images)
        jobs.append(msgspec.structs.replace(job, image=job.image or next(labelled, default_image)))
    return Plan(workflow=workflow.name, jobs=tuple(jobs))


def freestyle(settings: ProjectSettings, *, default_image: str | None) -> Plan:
    """One job of the project's own commands, for a repository without a workflow file: build, then deploy."""
    commands = (("Build", settings.build_command), ("Deploy", settings.deploy_command))
    wanted = [(name, command) for name, command in commands if command]
    steps = tuple(StepPlan(number=number, name=name, run=run) for number, (name, run) in enumerate(wanted, 1))
    job = JobPlan(id="build", name="build", steps=steps, image=settings.image or default_image)
    return Plan(workflow="build", jobs=(job,))


def _read(reader: Reader, whole: Field, file: str) -> Workflow:
    fields = reader.fields(whole.value, whole.path, known=_KNOWN, later=_LATER)
    for required in ("on", "jobs"):
        if required not in fields:
            reader.error(whole.value, "", f"missing {required!r}")
    env = reader.env(fields.get("env"))
    return Workflow(
        name=reader.text(fields["name"]) if "name" in fields else file,
        on=read_events(reader, fields["on"]) if "on" in fields else Events(names=()),
        jobs=read_jobs(reader, fields["jobs"], env=env) if "jobs" in fields else (),
    )
