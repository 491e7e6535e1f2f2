"""A build as it is fixed when it is triggered: its workflow, what that calls, and the contexts of the event.

    gather       the workflows that a workflow calls              (called_workflows)
    plan_build   those and the contexts: a `BuildPlan`            (here)
    refuse_build the same for a file that is wrong                (here)
    Course       which jobs run, given which are over             (course)
    spread       a job that is to run: its `PlannedJob`s          (job_planning)

Everything is pure: a plan is stored as JSON with its build, and with the ends of the jobs it tells, at any time and in
any process, what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from buildsys.core.definition import Concurrency, Job, Workflow
from buildsys.core.named_secrets import SecretNames, secrets_of_build
from buildsys.core.plan_values import Evaluator, PlanError
from buildsys.core.planned import ConcurrencyGroup
from buildsys.errors import WorkflowError

LONGEST = 255
"""Characters of a name that people read, and of a concurrency group."""

QUEUE_OR_CANCEL = "what cancels those in progress does not wait for them: 'queue: max' needs no 'cancel-in-progress'"
"""GitHub refuses the two together, too."""


class PlanSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the installation and the project say: images by runner label, the one where no label has any, and trust.

    The image of the first known label is taken. A trusted project's containers may reach out to the host.
    """

    images: dict[str, str] = {}
    image: str | None = None
    trusted: bool = False


class BuildPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A build before any of its jobs; `called` are by path, `contexts` are those of `contexts.build_contexts`.

    `run_name` is None where the workflow has none. `secrets` are all that any of the jobs names; they are empty for a
    build that is `secretless`, as one of a pull request from a fork is. `errors` are why nothing of it can run.
    """

    workflow: Workflow
    called: dict[str, Workflow]
    contexts: dict[str, Any]
    settings: PlanSettings
    run_name: str | None
    concurrency: ConcurrencyGroup | None
    secrets: SecretNames
    secretless: bool = False
    errors: tuple[str, ...] = ()


def plan_build(
    workflow: Workflow,
    *,
    called: Mapping[str, Workflow],
    contexts: Mapping[str, Any],
    settings: PlanSettings,
    secretless: bool = False,
) -> BuildPlan:
    """Fix a build. Raises `WorkflowError` where the file's own expressions fail, or secrets are not taken by name."""
    evaluator = Evaluator(contexts)
    try:
        run_name = None if workflow.run_name is None else evaluator.text(workflow.run_name, "run-name")
        return BuildPlan(
            workflow=workflow,
            called=dict(called),
            contexts=dict(contexts),
            settings=settings,
            run_name=shown(run_name or "") or None,
            concurrency=group_of(workflow.concurrency, evaluator, "concurrency", holder=""),
            secrets=secrets_of_build(workflow, called),
            secretless=secretless,
        )
    except PlanError as error:
        raise WorkflowError(f"{workflow.path}: {error}") from None


def refuse_build(workflow: Workflow, errors: Iterable[str], *, contexts: Mapping[str, Any]) -> BuildPlan:
    """Fix a build of a workflow that cannot be used: one job, which stands for all of it, and what is wrong."""
    job = Job(id="workflow", name="Workflow file")
    return BuildPlan(
        workflow=Workflow(path=workflow.path, name=workflow.name, on=workflow.on, jobs={job.id: job}),
        called={},
        contexts=dict(contexts),
        settings=PlanSettings(),
        run_name=None,
        concurrency=None,
        secrets=SecretNames(),
        errors=tuple(errors),
    )


def group_of(
    concurrency: Concurrency | None, evaluator: Evaluator, key: str, *, holder: str
) -> ConcurrencyGroup | None:
    """A concurrency group with its name evaluated. Raises `PlanError`, also where the name comes out empty."""
    if concurrency is None:
        return None
    group = evaluator.text(concurrency.group, f"{key}.group").strip()
    if not group or len(group) > LONGEST or "\0" in group:
        raise PlanError(f"{key}.group: expected a name of up to {LONGEST} characters, found {group[:60]!r}")
    cancel = evaluator.switch(concurrency.cancel_in_progress, f"{key}.cancel-in-progress")
    if cancel and concurrency.queue == "max":
        raise PlanError(f"{key}: {QUEUE_OR_CANCEL}")
    return ConcurrencyGroup(group=group.lower(), cancel_in_progress=cancel, queue=concurrency.queue, holder=holder)


def shown(name: str) -> str:
    """A name as people get to see it: one line, nothing that moves a terminal's cursor, cut where it is too long."""
    printable = "".join(character if character.isprintable() else " " for character in name[: 4 * LONGEST])
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
