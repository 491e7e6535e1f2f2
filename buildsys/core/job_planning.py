"""Spreads a job that is to run over its matrix, with everything evaluated that can be told before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from buildsys.core.built_in import NO_GROUPS, lacking_workflow
from buildsys.core.called_workflows import inputs_of, interface_of, path_of
from buildsys.core.definition import Call, CallInterface, Defaults, Job, Workflow
from buildsys.core.expression_tokens import OPEN
from buildsys.core.expressions import ExpressionError, parse_template, references
from buildsys.core.matrix import MAX_COMBINATIONS, Combination, combinations, suffixed
from buildsys.core.named_secrets import SecretNames, secrets_of_call
from buildsys.core.plan_values import Evaluator, PlanError
from buildsys.core.planned import ConcurrencyGroup, PassedSecrets, PlannedContainer, PlannedJob
from buildsys.core.planned_containers import plan_container
from buildsys.core.planning import LONGEST, PlanSettings, group_of, shown

MAX_MINUTES = 7200
"""Five days: the longest that GitHub lets a job run, by its usage limits for self-hosted runners."""

MAX_LABELS = 100
"""Labels of `runs-on`, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A workflow within a build: its own, or one that a job calls, whose planned `id` and `name` it has then.

    `calls` lead to it, the outermost first. `contexts` are `github`, `inputs`, `vars` and `buildsys`.
    """

    workflow: Workflow
    contexts: Mapping[str, Any]
    id: str = ""
    name: str = ""
    groups: tuple[ConcurrencyGroup, ...] = ()
    calls: tuple[tuple[Call, CallInterface], ...] = ()
    passed: tuple[PassedSecrets, ...] = ()

    def id_of(self, job: Job) -> str:
        return f"{self.id}.{job.id}" if self.id else job.id

    def name_of(self, name: str) -> str:
        return shown(f"{self.name} / {name}" if self.name else name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What a job becomes: jobs of its own or, where it calls a workflow, one scope for each combination."""

    jobs: tuple[PlannedJob, ...] = ()
    scopes: tuple[Scope, ...] = ()
    fail_fast: bool
    max_parallel: int

    @property
    def instances(self) -> tuple[PlannedJob | Scope, ...]:
        return self.scopes or self.jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instance:
    """One combination; `evaluator` has all contexts of its place."""

    id: str
    name: str
    evaluator: Evaluator


def spread(
    scope: Scope,
    job: Job,
    *,
    needs: Mapping[str, Any],
    called: Mapping[str, Workflow],
    settings: PlanSettings,
    secrets: SecretNames,
) -> Spread:
    """All instances of a job whose needs are over and whose `if` holds; `secrets` are those it names, as it sees them.

    Raises `PlanError` with the key that is to blame.
    """
    evaluator = Evaluator({**scope.contexts, "needs": needs})
    made = _combinations(job, evaluator)
    fail_fast = evaluator.switch(job.strategy.fail_fast, "strategy.fail-fast")
    max_parallel = len(made)
    if job.strategy.max_parallel is not None:
        above = evaluator.amount(job.strategy.max_parallel, "strategy.max-parallel", above=0, to=1 << 31)
        max_parallel = min(max(1, int(above)), MAX_COMBINATIONS)
    instances = []
    for index, combination in enumerate(made):
        strategy = {
            "fail-fast": fail_fast,
            "job-index": index,
            "job-total": len(made),
            "max-parallel": max_parallel,
        }
        inner = evaluator.within(strategy=strategy, matrix=combination)
        id = scope.id_of(job) if combination is None else f"{scope.id_of(job)}.{index + 1}"
        instances.append(_Instance(id=id, name=_name(scope, job, inner, combination), evaluator=inner))
    if job.call is not None:
        if lacking := lacking_workflow(job.call.uses):
            raise PlanError(lacking)
        target = called[path_of(job.call)]
        scopes = tuple(_scope(scope, job, job.call, target, instance) for instance in instances)
        return Spread(scopes=scopes, fail_fast=fail_fast, max_parallel=max_parallel)
    names = secrets
    for call, interface in reversed(scope.calls):
        names = secrets_of_call(call, interface, names, f"jobs.{job.id}")
    jobs = tuple(_planned(scope, job, instance, settings, names) for instance in instances)
    return Spread(jobs=jobs, fail_fast=fail_fast, max_parallel=max_parallel)


def _combinations(job: Job, evaluator: Evaluator) -> tuple[Combination | None, ...]:
    """One without a combination where the job has no matrix."""
    if job.strategy.matrix is None:
        return (None,)
    return combinations(evaluator.tree(job.strategy.matrix, "strategy.matrix"))


def _name(scope: Scope, job: Job, evaluator: Evaluator, combination: Combination | None) -> str:
    """What the file says, else the id; the values of the combination follow where the name has no expression."""
    name = job.name or job.id
    if OPEN in name:
        return scope.name_of(evaluator.text(name, "name") or job.id)
    return scope.name_of(name if combination is None else suffixed(name, combination))


def _planned(scope: Scope, job: Job, instance: _Instance, settings: PlanSettings, secrets: SecretNames) -> PlannedJob:
    evaluator = instance.evaluator
    runs_on = _runs_on(job, evaluator)
    own_group = group_of(job.concurrency, evaluator, "concurrency", holder=instance.id)
    timeout = None
    if job.timeout_minutes is not None:
        timeout = evaluator.amount(job.timeout_minutes, "timeout-minutes", above=0, to=MAX_MINUTES) * 60
    return PlannedJob(
        id=instance.id,
        name=instance.name,
        runs_on=runs_on,
        contexts={**evaluator.contexts, "github": {**scope.contexts["github"], "job": job.id}},
        steps=job.steps,
        container=_container(job, evaluator, runs_on, settings),
        services=dict(_services(job, evaluator, settings)),
        environments=tuple(environment for environment in (scope.workflow.env, job.env) if environment),
        defaults=_defaults(scope.workflow.defaults, job.defaults),
        outputs=job.outputs,
        timeout=timeout,
        continue_on_error=evaluator.switch(job.continue_on_error, "continue-on-error"),
        concurrency=scope.groups if own_group is None else (*scope.groups, own_group),
        secrets=tuple(sorted(secrets.required | secrets.optional)),
        optional_secrets=tuple(sorted(secrets.optional)),
        passed_secrets=scope.passed,
        trusted=settings.trusted,
    )


def _scope(scope: Scope, job: Job, call: Call, target: Workflow, instance: _Instance) -> Scope:
    """The called workflow: it has the caller's `github` and `vars`, `inputs` of its own, and nothing of its `env`."""
    interface = interface_of(target)
    contexts = {**scope.contexts, "inputs": inputs_of(call, interface, instance.evaluator, f"jobs.{job.id}")}
    groups = (
        group_of(job.concurrency, instance.evaluator, "concurrency", holder=instance.id),
        group_of(
            target.concurrency, instance.evaluator.over(contexts), f"{target.path}: concurrency", holder=instance.id
        ),
    )
    passed = scope.passed
    if call.secrets is not None:
        named = _contexts_of(call.secrets, instance.evaluator.contexts)
        passed = (*passed, PassedSecrets(contexts=named, secrets=call.secrets))
    return Scope(
        workflow=target,
        contexts=contexts,
        id=instance.id,
        name=instance.name,
        groups=(*scope.groups, *(group for group in groups if group is not None)),
        calls=(*scope.calls, (call, interface)),
        passed=passed,
    )


def _contexts_of(texts: Mapping[str, str], contexts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the contexts that the texts name."""
    try:
        trees = [parse_template(text) for text in texts.values()]
    except ExpressionError as error:
        raise PlanError(f"secrets: {error}") from None
    wanted = {reference.path[0] for tree in trees for reference in references(tree)}
    return {name: value for name, value in contexts.items() if name in wanted}


def _runs_on(job: Job, evaluator: Evaluator) -> tuple[str, ...]:
    if job.group and not job.runs_on:
        raise PlanError(f"runs-on: {NO_GROUPS}")
    labels = tuple(label for template in job.runs_on for label in evaluator.texts(template, "runs-on"))
    if len(labels) > MAX_LABELS:
        raise PlanError(f"runs-on: {len(labels)} labels; there may be {MAX_LABELS}")
    for label in labels:
        if not label.strip() or len(label) > LONGEST or "\0" in label:
            raise PlanError(f"runs-on: expected a label, found {label[:60]!r}")
    if job.runs_on and not labels:
        raise PlanError("runs-on: expected a label, found an empty list")
    return labels


def _container(
    job: Job, evaluator: Evaluator, runs_on: tuple[str, ...], settings: PlanSettings
) -> PlannedContainer | None:
    """The job's own, else one of the image that the first known label stands for, or the default."""
    if job.container is not None:
        own = plan_container(job.container, evaluator, "container", service=False, trusted=settings.trusted)
        if own is not None:
            return own
    labelled = (settings.images[label] for label in runs_on if label in settings.images)
    image = next(labelled, settings.image)
    return None if image is None else PlannedContainer(image=image)


def _services(job: Job, evaluator: Evaluator, settings: PlanSettings) -> Iterator[tuple[str, PlannedContainer]]:
    for name, service in job.services.items():
        planned = plan_container(service, evaluator, f"services.{name}", service=True, trusted=settings.trusted)
        if planned is not None:
            yield name, planned


def _defaults(workflow: Defaults, job: Defaults) -> Defaults:
    """Each setting of the job's, else the workflow's."""
    return Defaults(
        shell=job.shell if job.shell is not None else workflow.shell,
        working_directory=(job.working_directory if job.working_directory is not None else workflow.working_directory),
    )
