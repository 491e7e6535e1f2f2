"""From an event and the workflow files of its commit to the workflows that it starts, ready to be planned."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from buildsys.core.called_workflows import gather
from buildsys.core.contexts import BuildFacts, build_contexts
from buildsys.core.definition import Events, Filter, Workflow
from buildsys.core.event_kinds import DISPATCH, PULL_REQUEST, PUSH
from buildsys.core.event_payloads import as_push
from buildsys.core.events import BRANCHES, TAGS, Event, match
from buildsys.core.inputs import inputs_of, with_inputs
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build, refuse_build
from buildsys.core.workflow_file import examine_workflow
from buildsys.errors import Invalid, WorkflowError

MAX_TITLE = 200

UNREADABLE = Events(filters={PUSH: Filter(branches=("**",)), PULL_REQUEST: Filter()})
"""What a file is taken to want whose own `on` cannot be read: somebody should hear of it."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that an event starts, with those that it calls and its inputs; `errors` are why it cannot run."""

    workflow: Workflow
    called: dict[str, Workflow]
    event: Event
    inputs: dict[str, Any]
    errors: tuple[str, ...] = ()

    def plan(self, facts: BuildFacts, *, variables: Mapping[str, str], settings: PlanSettings) -> BuildPlan:
        """The build: of a workflow that turns out to be wrong only now, one that says so.

        What a stranger wrote gets no secrets, and no trust.
        """
        contexts = build_contexts(self.event, facts, inputs=self.inputs, variables=variables)
        if self.errors:
            return refuse_build(self.workflow, self.errors, contexts=contexts)
        strange = self.event.from_fork
        try:
            return plan_build(
                self.workflow,
                called=self.called,
                contexts=contexts,
                settings=msgspec.structs.replace(settings, trusted=settings.trusted and not strange),
                secretless=strange,
            )
        except WorkflowError as error:
            return refuse_build(self.workflow, error.errors, contexts=contexts)


class Triggered(msgspec.Struct, frozen=True, kw_only=True):
    """What an event starts, and why it does not start the others."""

    wanted: tuple[Wanted, ...]
    reasons: tuple[str, ...]


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The workflows at a commit, by path; of those among `wrong`, there is what could be read, and every error."""

    workflows: Mapping[str, Workflow]
    wrong: Mapping[str, tuple[str, ...]] = {}

    @classmethod
    def of_files(cls, files: Mapping[str, bytes]) -> Commit:
        """Read all files; one that is wrong is so alone."""
        workflows, wrong = {}, {}
        for path, text in sorted(files.items()):
            workflows[path], errors = _read(path, text)
            if errors:
                wrong[path] = errors
        return cls(workflows=workflows, wrong=wrong)

    def looks_at_paths(self, event: Event) -> bool:
        """Whether a workflow says which files must have changed."""
        filters = (workflow.on.filters.get(event.name) for workflow in self.workflows.values())
        return any(wanted and (wanted.paths is not None or wanted.paths_ignore is not None) for wanted in filters)

    def triggered(self, event: Event) -> Triggered:
        """What the event starts. Raises `Invalid` for inputs.

        A dispatch is for the workflows that take it; the others it starts as a push of its branch would, unless it has
        inputs.
        """
        wanted, reasons = [], []
        for workflow in self._meant(event):
            path, one = workflow.path, event
            if event.name == DISPATCH and DISPATCH not in workflow.on.filters and not event.inputs:
                one = as_push(event)
            if (reason := match(workflow.on, one)) is not None:
                reasons.append(self.wrong[path][0] if workflow.on is UNREADABLE else f"{path}: {reason}")
            else:
                wanted.append(self._wanted(workflow, one))
        if event.workflow and not wanted and not reasons:
            reasons.append(f"there is no workflow {event.workflow!r} at this commit{self._suggestion(event.workflow)}")
        return Triggered(wanted=tuple(wanted), reasons=tuple(reasons))

    def _meant(self, event: Event) -> list[Workflow]:
        """Those that the event names: the one at that path, else all whose file or name is called so."""
        name, known = event.workflow, list(self.workflows.values())
        if not name:
            return known
        at_path = self.workflows.get(name)
        return [at_path] if at_path else [one for one in known if name in (_file(one.path), one.name)]

    def _wanted(self, workflow: Workflow, event: Event) -> Wanted:
        path = workflow.path
        if path in self.wrong:
            return Wanted(workflow=workflow, called={}, event=event, inputs={}, errors=self.wrong[path])
        try:
            inputs = inputs_of(event, workflow.on.dispatch)
        except Invalid as error:
            raise Invalid(f"{path}: {error}") from None
        event = with_inputs(event, inputs)
        try:
            called = gather(workflow, self._callable)
        except WorkflowError as error:
            return Wanted(workflow=workflow, called={}, event=event, inputs=inputs, errors=error.errors)
        return Wanted(workflow=workflow, called=called, event=event, inputs=inputs)

    def _callable(self, path: str) -> Workflow | None:
        if path in self.wrong:
            raise WorkflowError(*self.wrong[path])
        return self.workflows.get(path)

    def _suggestion(self, name: str) -> str:
        names = {_file(path) for path in self.workflows} | {one.name for one in self.workflows.values()}
        near = difflib.get_close_matches(name[:MAX_TITLE], names, n=1)
        return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(map(_file, self.workflows))}"


def _read(path: str, text: bytes) -> tuple[Workflow, tuple[str, ...]]:
    """The workflow, with what is wrong with it; then `on` is what it says only if nothing is wrong there."""
    examined = examine_workflow(text, file=path)
    errors = [finding for finding in examined.findings if finding.severity == "error"]
    workflow = examined.value
    if not isinstance(workflow, Workflow) or any(finding.path.startswith(("on", "triggers")) for finding in errors):
        workflow = Workflow(path=path, name=path, on=UNREADABLE, jobs={})
    return workflow, tuple(map(str, errors))


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def branch_of(event: Event) -> str:
    """What people know the event's ref by: its branch, a pull request's own branch, or its tag."""
    if event.head_branch:
        return event.head_branch
    return event.ref.removeprefix(BRANCHES).removeprefix(TAGS)


def title_of(event: Event) -> str:
    """The title of a pull request, or the first line of the commit's message; empty where neither is known."""
    pull = event.payload.get(PULL_REQUEST)
    title = pull.get("title") if isinstance(pull, dict) else None
    text = title if isinstance(title, str) else event.message
    return next(iter(text.strip().splitlines()), "").replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_TITLE]
