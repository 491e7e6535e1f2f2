"""A step's program: a `sh` script that sets the environment, enters the directory and starts the user's script.

Names are checked and values are quoted; the user's script stays a file of its own. So nothing of a commit, a branch
name or a variable is ever read by a shell as anything but a value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from buildsys.errors import Invalid
from buildsys.runner.folder import Program
from buildsys.runner.shells import launch

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

EXPORTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The names of variables that a shell can export (POSIX, "Name")."""


def program(
    script: str,
    *,
    shell: str | None,
    variables: Mapping[str, str],
    paths: Sequence[str],
    directory: PurePath,
    place: PurePath,
) -> Program:
    """The files of a step whose own folder it sees at `place`; `paths` go before all that is in PATH.

    PATH is the image's unless `variables` has one. Raises `Invalid` for a name that no shell can export, for a NUL, and
    for a shell that there is not.
    """
    lines = ["#!/bin/sh", f'export PATH="${{PATH:-{DEFAULT_PATH}}}"']
    lines += [_export(name, value) for name, value in variables.items()]
    if paths:
        lines.append(f'export PATH={_quoted("GITHUB_PATH", ":".join(paths))}:"$PATH"')
    lines.append(f"cd -- {_quoted('the working directory', str(directory))} || exit 1")
    lines += launch(shell, place / "script")
    script = script.replace("\r\n", "\n")
    return Program(
        run="\n".join([*lines, ""]).encode(errors="replace"),
        script=(script if script.endswith("\n") else script + "\n").encode(errors="replace"),
    )


def _export(name: str, value: str) -> str:
    if not EXPORTED.fullmatch(name):
        raise Invalid(f"not the name of an environment variable: {name[:80]!r}")
    return f"export {name}={_quoted(f'the environment variable {name}', value)}"


def _quoted(what: str, value: str) -> str:
    if "\0" in value:
        raise Invalid(f"{what} contains a NUL")
    return shlex.quote(value)
