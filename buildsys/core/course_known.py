"""What a build's plan makes of its jobs: their order, their `if`s, their instances, the outputs of those that call."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

import msgspec

from buildsys.core.called_workflows import MAX_JOBS, interface_of, outputs_of, weights
from buildsys.core.decisions import Result
from buildsys.core.definition import Job, Workflow
from buildsys.core.job_planning import Scope, Spread, spread
from buildsys.core.named_secrets import secrets_of_job
from buildsys.core.plan_values import Evaluator, PlanError
from buildsys.core.planned import PlannedJob
from buildsys.core.planning import BuildPlan

T = TypeVar("T")


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a job with all its instances, or of a workflow.

    `succeeded` and `failed` are what success() and failure() are for a job that needs this one: they look at all jobs
    before it, however far.
    """

    result: Result
    outputs: dict[str, str] = {}
    order: float = 0.0
    succeeded: bool = True
    failed: bool = False

    @property
    def context(self) -> dict[str, Any]:
        """A property of `needs` and of `jobs`."""
        return {"result": str(self.result), "outputs": self.outputs}


class Known:
    """What a build's plan makes of its jobs, each made once; there is nothing in it that cannot be made again.

    Every method raises `PlanError` where the file's expressions fail, each time anew.
    """

    def __init__(self, plan: BuildPlan) -> None:
        self._plan = plan
        self._weight = weights(plan.called)
        self._size = sum(map(self._weight, plan.workflow.jobs.values()))
        self._made: dict[tuple[str, ...], Any] = {}

    def order(self, workflow: Workflow) -> tuple[Job, ...]:
        """The jobs of a workflow, each after those that it needs."""

        def make() -> tuple[Job, ...]:
            graph = graphlib.TopologicalSorter({job.id: job.needs for job in workflow.jobs.values()})
            return tuple(workflow.jobs[id] for id in graph.static_order())

        return self._once(("order", workflow.path), make)

    def holds(self, scope: Scope, job: Job, needs: Mapping[str, End], *, cancelled: bool) -> bool:
        """Whether a job's `if` lets it run, given the ends of those that it needs."""

        def make() -> bool:
            contexts = {need: end.context for need, end in needs.items()}
            status = _Status(needs.values(), cancelled=cancelled)
            return Evaluator({**scope.contexts, "needs": contexts}).holds(job.condition, "if", status)

        return self._once(("if", scope.id_of(job), str(cancelled)), make)

    def spread(self, scope: Scope, job: Job, needs: Mapping[str, End]) -> Spread:
        """The instances of a job. Fails as well where the build would have too many jobs with them."""

        def make() -> Spread:
            made = spread(
                scope,
                job,
                needs={need: end.context for need, end in needs.items()},
                called=self._plan.called,
                settings=self._plan.settings,
                secrets=self._once(
                    ("secrets", scope.workflow.path, job.id), lambda: secrets_of_job(job, scope.workflow)
                ),
            )
            size = self._size + (len(made.instances) - 1) * self._weight(job)
            if size > MAX_JOBS:
                raise PlanError(f"strategy.matrix: with it the build has {size} jobs; there may be {MAX_JOBS}")
            self._size = size
            return made

        return self._once(("spread", scope.id_of(job)), make)

    def returned(self, scope: Scope, ends: Mapping[str, End]) -> dict[str, str]:
        """The outputs of a called workflow whose jobs are over."""

        def make() -> dict[str, str]:
            evaluator = Evaluator({**scope.contexts, "jobs": {id: end.context for id, end in ends.items()}})
            return outputs_of(interface_of(scope.workflow), evaluator, f"{scope.workflow.path}: outputs")

        return self._once(("outputs", scope.id), make)

    def planned(self, id: str) -> PlannedJob | None:
        for owner in (id, id.rpartition(".")[0]):
            if isinstance(known := self._made.get(("spread", owner)), Spread):
                return next((job for job in known.jobs if job.id == id), None)
        return None

    def _once(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        if key not in self._made:
            try:
                self._made[key] = make()
            except PlanError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, PlanError):
            raise PlanError(str(made))
        return cast(T, made)


class _Status:
    """The status functions of a job's `if`."""

    def __init__(self, needs: Collection[End], *, cancelled: bool) -> None:
        self._needs = needs
        self._cancelled = cancelled

    def success(self) -> bool:
        return not self._cancelled and all(need.succeeded for need in self._needs)

    def failure(self) -> bool:
        return any(need.failed for need in self._needs)

    def cancelled(self) -> bool:
        return self._cancelled

    def hash_files(self, patterns: tuple[str, ...]) -> str:  # noqa: ARG002 - as the protocol names it
        raise PlanError("if: hashFiles() has no files before the job starts")
