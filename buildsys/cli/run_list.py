"""`buildsys run --list`: the workflows of a folder, the jobs of each, and what the event would start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from buildsys.cli.terminal import Terminal, plain
from buildsys.core.definition import Workflow
from buildsys.errors import WorkflowError
from buildsys.local_choice import Folder


def list_workflows(terminal: Terminal, folder: Folder, paths: Iterable[str]) -> int:
    """Show them; a file with errors is shown as such, and makes the exit code 2."""
    known: list[dict[str, Any]] = []
    for path in paths:
        try:
            workflow = folder.find(path)
        except WorkflowError as error:
            known.append({"path": path, "errors": list(error.errors)})
        else:
            assert workflow is not None
            known.append(_described(workflow))
    if terminal.json:
        terminal.answer(known)
    else:
        for each in known:
            _show(terminal, each)
    return 2 if any("errors" in each for each in known) else 0


def _described(workflow: Workflow) -> dict[str, Any]:
    jobs = [
        {
            "id": job.id,
            "name": job.name or job.id,
            "needs": list(job.needs),
            "runs_on": list(job.runs_on),
            "calls": job.call.uses if job.call else None,
            "matrix": job.strategy.matrix is not None,
        }
        for job in workflow.jobs.values()
    ]
    return {"path": workflow.path, "name": workflow.name, "on": list(workflow.on.filters), "jobs": jobs}


def _show(terminal: Terminal, each: dict[str, Any]) -> None:
    title = click.style(plain(each["path"]), bold=True)
    if "errors" in each:
        count = len(each["errors"])
        terminal.say(f"{title}  {click.style(f'errors: {count}', fg='red')}; buildsys lint shows them\n")
        return
    name = "" if each["name"] == each["path"] else f"  {plain(each['name'])}"
    terminal.say(f"{title}{name}  {click.style('on ' + ', '.join(each['on']), dim=True)}")
    terminal.table(["  job", "needs", "runs on", "name"], [_row(job) for job in each["jobs"]])
    terminal.say()


def _row(job: dict[str, Any]) -> Sequence[str]:
    where = f"calls {job['calls']}" if job["calls"] else ", ".join(job["runs_on"])
    name = job["name"] if job["name"] != job["id"] else ""
    matrix = " (a matrix)" if job["matrix"] else ""
    return f"  {plain(job['id'])}", plain(", ".join(job["needs"])), plain(where), plain(f"{name}{matrix}")
