"""The workflow of a project without a workflow file, or without a repository: one job of the project's own commands."""

from __future__ import annotations

from buildsys.core.definition import Container, Events, Filter, Job, Script, Step, Workflow
from buildsys.core.event_kinds import DISPATCH, PUSH
from buildsys.core.project import ProjectSettings

SETTINGS = "project settings"
"""Stands for the workflow's path."""


def project_workflow(settings: ProjectSettings) -> Workflow | None:
    """One job that builds, then deploys; None where the project says no command.

    It runs on every push of a branch, or by hand alone, in an empty workspace, where there is no repository.
    """
    commands = (("Build", settings.build_command), ("Deploy", settings.deploy_command))
    steps = tuple(Step(name=name, action=Script(run=command)) for name, command in commands if command)
    if settings.build_command is None:
        return None
    container = None if settings.image is None else Container(image=settings.image)
    job = Job(id="build", steps=steps, container=container)
    on = Events(filters={PUSH: Filter(branches=("**",))} if settings.repository else {DISPATCH: Filter()})
    return Workflow(path=SETTINGS, name="build", on=on, jobs={job.id: job})
