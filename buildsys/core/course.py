"""The course of a build: which jobs run, which are skipped, and how it ends, given which jobs are over.

A `Course` has no state but its plan: the ends of the jobs, as they are stored, tell everything else. So it can be made
anew at any time, and what it said before it says again, until it is done.
"""

from __future__ import annotations

from buildsys.core.course_known import Known
from buildsys.core.course_walk import CANCELLED, Walk, prefixes
from buildsys.core.decisions import Progress, Rows
from buildsys.core.job_planning import Scope
from buildsys.core.planned import PlannedJob
from buildsys.core.planning import BuildPlan


class Course:
    """Decides for one build. Call `advance` when the build begins, when a job is over, and on cancel.

    What it decides is stored as rows, and then it is asked again, until it decides nothing but what is said already.
    A call takes time in proportion to the build's jobs; each job's expressions are evaluated once.
    """

    def __init__(self, plan: BuildPlan) -> None:
        self._known = Known(plan)
        self._root = Scope(
            workflow=plan.workflow,
            contexts=plan.contexts,
            groups=() if plan.concurrency is None else (plan.concurrency,),
        )
        self._fresh = True

    def advance(self, rows: Rows, *, cancelled: bool = False) -> Progress:
        """What is to be done, given the rows so far; `cancelled` says that the build is to end.

        A cancelled build cancels the jobs whose `if` does not hold then, and starts those whose does, such as
        `always()`. Total: whatever is wrong with a job is a `Fail`.
        """
        reason = CANCELLED if cancelled else ""
        if self._fresh:  # learn first what was started before: it counts against the build's limit of jobs
            Walk(self._known, _innermost(rows), deciding=False).end(self._root, cancelled=reason)
            self._fresh = False
        walk = Walk(self._known, rows, deciding=True)
        end = walk.end(self._root, cancelled=reason)
        return Progress(
            decisions=tuple(walk.decisions),
            held=walk.held,
            over=frozenset(walk.over),
            result=None if end is None else end.result,
        )

    def planned(self, id: str) -> PlannedJob | None:
        """A job that was started, as it was then; None before `advance` was given its row."""
        return self._known.planned(id)


def _innermost(rows: Rows) -> Rows:
    """Without those of calls whose jobs were started: they may have failed since, by their outputs, and say no more."""
    calls = {prefix for id in rows for prefix in prefixes(id) if prefix != id}
    return {id: row for id, row in rows.items() if id not in calls}
