"""From an event and the workflow files of its commit to the workflows that it starts, ready to be planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from buildsys.core.called_workflows import gather
from buildsys.core.definition import Workflow
from buildsys.core.event_kinds import DISPATCH, PULL_REQUEST, PUSH
from buildsys.core.events import BRANCHES, TAGS, Event, match
from buildsys.core.inputs import inputs_of
from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import Invalid

MAX_TITLE = 200


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that an event starts, with those that it calls and its inputs."""

    workflow: Workflow
    called: dict[str, Workflow]
    event: Event
    inputs: dict[str, Any]


class Triggered(msgspec.Struct, frozen=True, kw_only=True):
    """What an event starts, and why it does not start the others."""

    wanted: tuple[Wanted, ...]
    reasons: tuple[str, ...]


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The workflows at a commit, by path."""

    workflows: Mapping[str, Workflow]

    @classmethod
    def of_files(cls, files: Mapping[str, bytes]) -> Commit:
        """Raises `WorkflowError` with everything that is wrong with the first file that is."""
        return cls(workflows={path: decode_workflow(text, file=path) for path, text in sorted(files.items())})

    def looks_at_paths(self, event: Event) -> bool:
        """Whether a workflow says which files must have changed."""
        filters = (workflow.on.filters.get(event.name) for workflow in self.workflows.values())
        return any(wanted and (wanted.paths is not None or wanted.paths_ignore is not None) for wanted in filters)

    def triggered(self, event: Event) -> Triggered:
        """What the event starts. Raises `WorkflowError` for calls that cannot be made, and `Invalid` for inputs.

        A dispatch is for the workflows that take it; the others it starts as a push of its branch would, unless it has
        inputs.
        """
        wanted, reasons = [], []
        for path, workflow in self.workflows.items():
            one = event
            if event.name == DISPATCH and DISPATCH not in workflow.on.filters and not event.inputs:
                one = msgspec.structs.replace(event, name=PUSH, payload={})
            if (reason := match(workflow.on, one)) is not None:
                reasons.append(f"{path}: {reason}")
                continue
            try:
                inputs = inputs_of(one, workflow.on.dispatch)
            except Invalid as error:
                raise Invalid(f"{path}: {error}") from None
            called = gather(workflow, self.workflows.get)
            wanted.append(Wanted(workflow=workflow, called=called, event=one, inputs=inputs))
        return Triggered(wanted=tuple(wanted), reasons=tuple(reasons))


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
