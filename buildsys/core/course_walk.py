"""One look at all jobs of a build, those of called workflows included: what is over, and what comes next.

A job is decided when all that it needs are over: its `if` does not hold, or it cannot be planned, or it starts as one
or more planned jobs. Sources: `jobs.<job_id>` in GitHub's workflow syntax, "Status check functions" in its expressions
reference, "Reuse workflows", and its workflow cancellation reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from buildsys.core.built_in import lacking
from buildsys.core.course_known import End, Known
from buildsys.core.decisions import Cancel, Decision, Fail, JobEnd, Result, Rows, Skip, Start
from buildsys.core.definition import Job
from buildsys.core.job_planning import Scope, Spread
from buildsys.core.plan_values import PlanError
from buildsys.core.planned import PlannedJob

CANCELLED = "the build was cancelled"

_WORST_FIRST = (Result.FAILURE, Result.CANCELLED, Result.SUCCESS)


class Walk:
    """Says in `decisions`, `held` and `over` how things stand. One that is not `deciding` has nothing begin or end."""

    def __init__(self, known: Known, rows: Rows, *, deciding: bool) -> None:
        self._known = known
        self._rows = rows
        self._deciding = deciding
        self._begun = {prefix for id in rows for prefix in prefixes(id)}
        self.decisions: list[Decision] = []
        self.held: dict[str, str] = {}
        self.over: set[str] = set()

    def end(self, scope: Scope, *, cancelled: str) -> End | None:
        """The end of a workflow, None while a job of it can still start or run; `cancelled` says why it is, if so."""
        ends: dict[str, End] = {}
        jobs = self._known.order(scope.workflow)
        for job in jobs:
            if all(need in ends for need in job.needs):
                end = self._job(scope, job, {need: ends[need] for need in job.needs}, cancelled)
                if end is not None:
                    ends[job.id] = end
        if len(ends) < len(jobs):
            return None
        try:
            outputs = self._known.returned(scope, ends) if scope.calls else {}
        except PlanError as error:
            return self._fail(scope.id, scope.name, error)
        return msgspec.structs.replace(_together(ends.values()), outputs=outputs)

    def _job(self, scope: Scope, job: Job, needs: Mapping[str, End], cancelled: str) -> End | None:
        end = self._whole(scope, job) or self._instances(scope, job, needs, cancelled)
        if end is None:
            return None
        return msgspec.structs.replace(
            end,
            succeeded=end.result == Result.SUCCESS and all(need.succeeded for need in needs.values()),
            failed=end.result == Result.FAILURE or any(need.failed for need in needs.values()),
        )

    def _whole(self, scope: Scope, job: Job) -> End | None:
        """The end of a job that was skipped, or failed before it had instances."""
        row = self._rows.get(scope.id_of(job))
        if row is None:
            return None
        has_instances = job.call is not None or job.strategy.matrix is not None
        return _over(row) if has_instances or row.result == Result.SKIPPED else None

    def _instances(self, scope: Scope, job: Job, needs: Mapping[str, End], cancelled: str) -> End | None:
        id, name = scope.id_of(job), scope.name_of(job.name or job.id)
        begun = id in self._begun
        if not begun and not self._deciding:
            return None
        try:
            holds = self._known.holds(scope, job, needs, cancelled=bool(cancelled))
        except PlanError as error:
            if not begun or self._rows.get(id) is not None:
                return self._fail(id, name, error)
            holds = False
        if not begun and not holds:
            self.decisions.append(Skip(id=id, name=name, reason=_reason(job, needs, cancelled)))
            return End(result=Result.SKIPPED)
        try:
            made = self._known.spread(scope, job, needs)
        except PlanError as error:
            return self._fail(id, name, error)
        cancelled = "" if holds else cancelled
        return self._scopes(made, cancelled) if made.scopes else self._jobs(made, cancelled)

    def _fail(self, id: str, name: str, error: PlanError) -> End:
        row = self._rows.get(id)
        if row is None:
            self.decisions.append(Fail(id=id, name=name, message=str(error)))
            return End(result=Result.FAILURE)
        return _over(row)

    def _jobs(self, made: Spread, cancelled: str) -> End | None:
        new = [(job, lacking(job.steps, job.defaults)) for job in made.jobs if job.id not in self._rows]
        self.decisions += [Fail(id=job.id, name=job.name, message=why) for job, why in new if why]
        if able := tuple(job for job, why in new if not why):
            self.decisions.append(Start(jobs=able))
        ends = {job.id: _allowed(job, row) for job in made.jobs if (row := self._rows.get(job.id)) is not None}
        left = [job.id for job in made.jobs if job.id not in ends]
        if reason := cancelled or _failed_fast(made, ends):
            running = tuple(id for id in left if id in self._rows)
            self.decisions += [Cancel(ids=running, reason=reason)] if running else []
        self.held |= dict.fromkeys(left[made.max_parallel :], f"max-parallel is {made.max_parallel}")
        return None if left else _together(ends.values())

    def _scopes(self, made: Spread, cancelled: str) -> End | None:
        """Instances beyond `max-parallel` are not looked at before others end: none of their jobs has a row then."""
        if self._deciding and not cancelled:
            cancelled = self._failed_before(made)
        ends: dict[str, End] = {}
        running = 0
        for scope in sorted(made.scopes, key=lambda scope: scope.id not in self._begun):
            row = self._rows.get(scope.id)
            if row is None and running >= made.max_parallel and scope.id not in self._begun:
                continue
            end = self.end(scope, cancelled=cancelled) if row is None else _over(row)
            if end is None:
                running += 1
            else:
                ends[scope.id] = end
                self.over.add(scope.id)
        return _together(ends.values()) if len(ends) == len(made.scopes) else None

    def _failed_before(self, made: Spread) -> str:
        """Why a called workflow that failed cancels its siblings, by the rows there are; empty where none does."""
        if not made.fail_fast or len(made.scopes) < 2:
            return ""
        before = Walk(self._known, self._rows, deciding=False)
        ends = {scope.id: before.end(scope, cancelled="") for scope in made.scopes if scope.id in self._begun}
        return _failed_fast(made, {id: end for id, end in ends.items() if end is not None})


def prefixes(id: str) -> Iterable[str]:
    """An id, and those of what it is within: `deploy`, `deploy.2` and `deploy.2.test`."""
    parts = id.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _reason(job: Job, needs: Mapping[str, End], cancelled: str) -> str:
    if cancelled:
        return cancelled
    others = ", ".join(f"{need} is {end.result}" for need, end in needs.items() if end.result != Result.SUCCESS)
    if job.condition.strip():
        return f"its 'if' does not hold{f'; {others}' if others else ''}"
    return others or "a job before those it needs did not succeed"


def _over(row: JobEnd) -> End:
    return End(result=row.result, outputs=row.outputs, order=row.order)


def _allowed(job: PlannedJob, row: JobEnd) -> End:
    """A failure that `continue-on-error` allows counts as a success, also for the jobs that need it."""
    is_allowed = job.continue_on_error and row.result == Result.FAILURE
    return msgspec.structs.replace(_over(row), result=Result.SUCCESS if is_allowed else row.result)


def _failed_fast(made: Spread, ends: Mapping[str, End]) -> str:
    """Why a failed instance cancels the others, empty where none does."""
    failed = [id for id, end in ends.items() if end.result == Result.FAILURE]
    return f"{failed[0]} failed, and its matrix fails fast" if failed and made.fail_fast else ""


def _together(ends: Collection[End]) -> End:
    """One end of several: failed before cancelled before successful, skipped if all are.

    Of instances that set the same output, the one that ended last has its way; to set nothing is not to set it.
    """
    results = {end.result for end in ends}
    outputs: dict[str, str] = {}
    for end in sorted(ends, key=lambda end: end.order):
        outputs |= {name: value for name, value in end.outputs.items() if value or name not in outputs}
    return End(
        result=next((result for result in _WORST_FIRST if result in results), Result.SKIPPED),
        outputs=outputs,
        order=max((end.order for end in ends), default=0.0),
    )
