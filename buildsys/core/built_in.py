"""What a job may use that this system brings along, where GitHub would fetch it or has it on its runners.

A file may name other actions, workflows and shells all the same: `lint` warns of them, and a job that has one fails
when it is decided, as on GitHub "Set up job" fails where an action cannot be fetched. The other jobs run. Within a
composite action it is the step that fails: what a folder of the workspace holds is not known before the job runs.
"""

from __future__ import annotations

from buildsys.core.definition import Defaults, Script, Step

CHECKOUT = "actions/checkout"

SHELLS = ("sh", "bash", "python", "node", "zx")
_SHELLS_ELSEWHERE = ("pwsh", "powershell", "cmd")

DOCKER = "docker://"
COMPOSITE = "composite"

NO_GROUPS = "groups of runners are not built in: write the labels that a runner must have"


def lacking_action(uses: str) -> str | None:
    """Why a step cannot use an action, and the way out; None where it can."""
    if uses == "." or uses.startswith("./") or uses.lower().startswith(f"{CHECKOUT}@"):
        return None
    if uses.startswith(DOCKER):
        return f"{uses[:100]} is not built in; run the image as the job's 'container'"
    return f"{uses[:100]} is not built in; do its work in a 'run' step, or in the job's image"


def lacking_kind(using: str) -> str | None:
    """The same of an action in a folder of the workspace, by its `runs.using`."""
    if using == COMPOSITE:
        return None
    return f"actions of the kind {using[:60]!r} are not built in; there are composite ones"


def lacking_shell(shell: str | None) -> str | None:
    """The same of a shell; a command with `{0}` brings its own."""
    if shell is None or shell.strip() not in _SHELLS_ELSEWHERE:
        return None
    way_out = f"use {', '.join(SHELLS)} or a command with {{0}}, such as '{shell.strip()} {{0}}'"
    return f"the shell {shell.strip()} is not built in; {way_out}"


def lacking_workflow(uses: str) -> str | None:
    """The same of a workflow that a job calls."""
    if uses.startswith("./"):
        return None
    return f"{uses[:150]} is not built in; copy that workflow to .github/workflows of this repository"


def lacking(steps: tuple[Step, ...], defaults: Defaults) -> str | None:
    """The first that the steps of a job cannot have, whatever their `if` says."""
    for step in steps:
        if isinstance(step.action, Script):
            found = lacking_shell(step.action.shell or defaults.shell)
        else:
            found = lacking_action(step.action.uses)
        if found is not None:
            return found
    return None
