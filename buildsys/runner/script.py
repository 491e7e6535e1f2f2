"""A step's program: a `sh` script that sets the environment, enters the directory and starts the user's script.

Names are checked and values are quoted; the user's script stays a file of its own. So nothing of a commit, a branch
name or a variable is ever read by a shell as anything but a value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath

from buildsys.core.plan import StepPlan
from buildsys.errors import Invalid
from buildsys.runner.folder import Program

SHELLS = {
    "sh": "sh -e {0}",
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "python": "python3 {0}",
}
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def program(step: StepPlan, *, root: PurePath, env: Mapping[str, str]) -> Program:
    """The files of a step that sees its job's folder at `root`; `env` is the job's, over which the step's own goes.

    HOME and TMPDIR are the job's, PATH is the image's, CI is `true`, unless `env` says otherwise; git trusts the
    workspace whoever owns it. Raises `Invalid` for a name that no shell can export, a value with a NUL, a shell
    template without `{0}` and a directory outside the workspace.
    """
    workspace = root / "workspace"
    directory = workspace / _inside(step.working_directory)
    variables = {
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "CI": "true",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(workspace),
        **env,
        **step.env,
    }
    lines = ["#!/bin/sh", f'export PATH="${{PATH:-{DEFAULT_PATH}}}"']
    lines += [_export(name, value) for name, value in variables.items()]
    lines += [f"cd -- {shlex.quote(str(directory))} || exit 1"]
    lines += [f"exec {_command(step.shell, root / 'steps' / str(step.number) / 'script')}"]
    script = step.run if step.run.endswith("\n") else step.run + "\n"
    return Program(run="\n".join([*lines, ""]).encode(), script=script.encode())


def _export(name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"not the name of an environment variable: {name!r}")
    if "\0" in value:
        raise Invalid(f"the environment variable {name} contains a NUL")
    return f"export {name}={shlex.quote(value)}"


def _command(shell: str, script: PurePath) -> str:
    template = SHELLS.get(shell, shell)
    if "{0}" not in template:
        raise Invalid(
            f"unknown shell {shell!r}: use one of {', '.join(SHELLS)}, or a command with {{0}} for the script"
        )
    return shlex.join(word.replace("{0}", str(script)) for word in shlex.split(template))


def _inside(directory: str) -> PurePosixPath:
    path = PurePosixPath(directory)
    if path.is_absolute() or ".." in path.parts or "\0" in directory:
        raise Invalid(f"the working directory {directory!r} is outside the workspace")
    return path
