"""`actions/checkout`, built in: the commit is in the workspace before the first step.

So there is nothing to do, or for a `path` a copy of the workspace as it is. What would need another repository, another
commit or the network is an error that says so. Source: the inputs as `actions/checkout` documents them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any

from buildsys.errors import Invalid
from buildsys.runner.folder import Program
from buildsys.runner.journal import Run, Say

NAME = "actions/checkout@"

_COPY = """\
for entry in * .[!.]* ..?*; do
  case $entry in {first} | '*' | '.[!.]*' | '..?*') continue ;; esac
  cp -R -P -- "$entry" {path}/ || exit
done
"""


def checkout(inputs: Mapping[str, str], github: Mapping[str, Any], workspace: PurePath) -> Run | Say:
    """What the step does. Raises `Invalid` for what is not built in."""
    given = {name.lower(): value.strip() for name, value in inputs.items()}
    _check_commit(given, github)
    for name in ("submodules", "lfs"):
        if given.get(name, "").lower() not in ("", "false"):
            raise Invalid(f"{name} of actions/checkout is not built in; fetch it in a step of your own")
    lines = [f"The commit {github.get('sha') or ''} is in the workspace already".replace("  ", " ")]
    if given.get("fetch-depth", "1") not in ("", "1"):
        lines.append("fetch-depth is not built in: the workspace has the commit without its history")
    outputs = {"commit": str(github.get("sha") or ""), "ref": given.get("ref") or str(github.get("ref") or "")}
    path = PurePosixPath(given.get("path") or ".")
    if path == PurePosixPath("."):
        return Say(lines=tuple(lines), outputs=outputs)
    return Run(program=_copy(path, workspace), outputs=outputs)


def _check_commit(given: Mapping[str, str], github: Mapping[str, Any]) -> None:
    repository, ref = given.get("repository", ""), given.get("ref", "")
    if repository and repository.lower() != str(github.get("repository") or "").lower():
        raise Invalid(f"actions/checkout of another repository is not built in: {repository[:200]!r}")
    own = {str(github.get(name) or "") for name in ("sha", "ref", "ref_name")}
    if ref and ref not in own | {f"refs/heads/{name}" for name in own}:
        raise Invalid(f"actions/checkout of another commit is not built in: ref {ref[:200]!r}")


def _copy(path: PurePosixPath, workspace: PurePath) -> Program:
    if path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise Invalid(f"the path {str(path)[:200]!r} of actions/checkout is outside the workspace")
    lines = (
        "#!/bin/sh",
        f"cd -- {shlex.quote(str(workspace))} && mkdir -p -- {shlex.quote(str(path))} || exit 1",
        _COPY.format(first=shlex.quote(path.parts[0]), path=shlex.quote(f"./{path}")),
    )
    return Program(run="\n".join(lines).encode(), script=b"")
