"""Which workflows and jobs of a folder are to run here, and with what: everything that is settled before anything runs.

A workflow that is named runs, whatever branches and files its filters ask for: who names it wants to see it. Of all the
others run those that the event starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from buildsys.core.called_workflows import gather
from buildsys.core.definition import Workflow
from buildsys.core.event_kinds import CALL, DISPATCH, KINDS, PUSH
from buildsys.core.events import Event, match
from buildsys.core.inputs import inputs_of, with_inputs
from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import Invalid, WorkflowError
from buildsys.lint import workflows

OWN = (".buildsys.yml", ".buildsys/")
"""Files that stand before GitHub's: a repository with any of these is not built by the others."""

MakeEvent = Callable[[str, Workflow], Event]
"""The event of this name, as it is for the workflow."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow to run, with the jobs that are wanted of it; `note` says why the event itself would not start it."""

    workflow: Workflow
    called: dict[str, Workflow]
    event: Event
    inputs: dict[str, Any]
    note: str | None = None


class Folder:
    """The workflow files of a repository's folder, by their paths in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._decoded: dict[str, Workflow] = {}
        paths = [path.relative_to(root).as_posix() for path in workflows(root)]
        self.paths = tuple([path for path in paths if path.startswith(OWN)] or paths)

    def find(self, path: str) -> Workflow | None:
        """The workflow at a path, None where there is no file. Raises `WorkflowError`."""
        file = self._root / path
        if path not in self._decoded and file.is_file():
            self._decoded[path] = decode_workflow(file.read_bytes(), file=path)
        return self._decoded.get(path)

    def named(self, given: str, *, here: Path) -> str:
        """The path of a workflow that is given by a path from `here`, by its file's name, or by its own name.

        Raises `Invalid` where there is none such, or more than one.
        """
        for place in (here, self._root):
            file = (place / given).resolve()
            if file.is_file() and file.is_relative_to(self._root.resolve()):
                return file.relative_to(self._root.resolve()).as_posix()
        names = {path: self._names(path) for path in self.paths}
        found = [path for path in names if given.casefold() in names[path]]
        if len(found) == 1:
            return found[0]
        if found:
            raise Invalid(f"{given!r} names {len(found)} workflows: {', '.join(found)}. Give a path.")
        known = [name for path in names for name in (path, *names[path])]
        there_are = f"; there are {', '.join(self.paths)}" if self.paths else ""
        raise Invalid(f"there is no workflow {given!r}{suggestion(given, known) or there_are}")

    def _names(self, path: str) -> set[str]:
        pure = PurePosixPath(path)
        try:
            workflow = self.find(path)
        except WorkflowError:
            workflow = None
        own = {workflow.name.casefold()} if workflow else set()
        return own | {pure.name.casefold(), pure.stem.casefold()}


def choose(
    candidates: Iterable[Workflow],
    *,
    event: str | None,
    jobs: Collection[str],
    has_inputs: bool,
    make_event: MakeEvent,
    find: Callable[[str], Workflow | None],
) -> tuple[Chosen, ...]:
    """What the event starts of several workflows; a single one is started in any case that its `on` names the event.

    Without an event it is a dispatch where there are inputs, else a push, or for a single workflow what it runs on.
    Raises `Invalid` where there is nothing to run, and `WorkflowError` for calls that cannot be made.
    """
    given = tuple(candidates)
    only = given[0] if len(given) == 1 else None
    name = event or (DISPATCH if has_inputs else _usual(only) if only is not None else PUSH)
    chosen, reasons = [], []
    for workflow in given:
        if name not in workflow.on.filters:
            reasons.append(f"{workflow.path} runs on {', '.join(workflow.on.filters)}, not on {name}")
            continue
        happened = make_event(name, workflow)
        why_not = match(workflow.on, happened)
        if why_not is not None and only is None:
            reasons.append(f"{workflow.path}: {why_not}")
            continue
        if jobs and not any(id in workflow.jobs for id in jobs):
            continue
        chosen.append(_chosen(workflow, happened, jobs, find, why_not))
    _check_jobs(jobs, given, chosen)
    if not chosen:
        raise Invalid(f"nothing to run: {'; '.join(reasons)}. Name a workflow, or another --event.")
    return tuple(chosen)


def check_event(name: str) -> None:
    """Raise `Invalid` where no workflow can name such an event, or nothing but a workflow starts it."""
    if name not in KINDS:
        raise Invalid(f"there is no event {name!r}{suggestion(name, KINDS)}")
    if name == CALL:
        raise Invalid(f"{CALL} is no event to run: run a workflow that calls it")


def suggestion(given: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _usual(workflow: Workflow) -> str:
    """What a workflow runs on most naturally."""
    events = [name for name in workflow.on.filters if name != CALL]
    if not events:
        raise Invalid(f"{workflow.path} only runs when another workflow calls it: run that one")
    return next((name for name in (PUSH, DISPATCH) if name in events), events[0])


def _chosen(
    workflow: Workflow,
    event: Event,
    jobs: Collection[str],
    find: Callable[[str], Workflow | None],
    note: str | None,
) -> Chosen:
    try:
        inputs = inputs_of(event, workflow.on.dispatch)
    except Invalid as error:
        raise Invalid(f"{workflow.path}: {error}") from None
    wanted = with_needed(workflow, jobs)
    called = gather(wanted, find)
    return Chosen(workflow=wanted, called=called, event=with_inputs(event, inputs), inputs=inputs, note=note)


def with_needed(workflow: Workflow, jobs: Collection[str]) -> Workflow:
    """The workflow with these of its jobs and those that they need; with all where none is given."""
    if not jobs:
        return workflow
    wanted: set[str] = set()
    ahead = [id for id in jobs if id in workflow.jobs]
    while ahead:
        id = ahead.pop()
        wanted.add(id)
        ahead += [need for need in workflow.jobs[id].needs if need not in wanted]
    kept = {id: job for id, job in workflow.jobs.items() if id in wanted}
    return msgspec.structs.replace(workflow, jobs=kept)


def _check_jobs(jobs: Collection[str], given: Iterable[Workflow], chosen: Iterable[Chosen]) -> None:
    """Raise `Invalid` for a job that none of the chosen workflows has."""
    places: Mapping[str, str] = {id: workflow.path for workflow in given for id in workflow.jobs}
    known = {id for each in chosen for id in each.workflow.jobs}
    for id in jobs:
        if id not in known and id in places:
            raise Invalid(f"the job {id!r} is in {places[id]}, which this event does not start: name that workflow")
        if id not in known:
            there_are = f"; there are {', '.join(places)}"
            raise Invalid(f"there is no job {id!r}{suggestion(id, places) or there_are}")
