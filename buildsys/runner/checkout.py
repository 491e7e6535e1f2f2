"""`actions/checkout`, built in: the commit is in the workspace before the first step.

So as long as no process of the job has run there is nothing to do, or for a `path` a copy of the workspace. Afterwards
nobody knows what is in it. Then, and for another `ref` of the repository or history (`fetch-depth`, `fetch-tags`), this
host fetches, and the step puts what was fetched into its place. What would need another repository, or a credential
among the job's files, is an error that says so.

Source: the inputs as `actions/checkout` documents them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from buildsys.core.git import Revision
from buildsys.errors import Invalid
from buildsys.runner.folder import FETCHED, Program
from buildsys.runner.job_contexts import Place
from buildsys.runner.journal import Run, Say

NAME = "actions/checkout@"

_REFUSED = {
    "submodules": "fetch them in a step of your own",
    "lfs": "fetch the files in a step of your own",
    "ssh-key": "the project's own credential fetches the repository",
    "persist-credentials": "no credential is left in the workspace; give one to the step that needs it, as a secret",
}
"""Inputs whose value must be false or empty, and the way out."""

_WITHOUT_EFFECT = {
    "token": "the project's own credential fetches the repository",
    "sparse-checkout": "all files are there",
    "filter": "all objects of the commit are there",
}

_COPY = "mkdir -- {fetched} && cp -R -P -- {workspace}/. {fetched}/ || exit"

_CLEAN = 'for entry in * .[!.]* ..?*; do rm -rf -- "$entry" || exit; done'

_PLACE = "rm -rf -- ./.git && cp -R -P -- {fetched}/. ./ && rm -rf -- {fetched} || exit"

_TELL = """\
read -r commit <.git/HEAD
echo "Checked out $commit"
echo "commit=$commit" >>{output}
"""


def checkout(
    inputs: Mapping[str, str], github: Mapping[str, Any], place: Place, number: int, *, untouched: bool
) -> Run | Say:
    """What the step of this number does; `untouched` says that the workspace is still as the set-up left it.

    Raises `Invalid` for what is not built in.
    """
    given = {name.lower(): value.strip() for name, value in inputs.items()}
    _check(given, github)
    path = _path(given.get("path") or ".")
    notes = tuple(f"{name} has no effect: {why}" for name, why in _WITHOUT_EFFECT.items() if given.get(name))
    revision = _revision(given, github, untouched=untouched)
    clean = _is_true(given, "clean", default=True)
    outputs = {"commit": str(github.get("sha") or ""), "ref": given.get("ref") or str(github.get("ref") or "")}
    if revision is not None:
        program = _place(path, place, number, clean=clean, copy=False)
        return Run(program=program, fetch=revision, outputs={"ref": outputs["ref"]}, notes=notes)
    if path == PurePosixPath("."):
        said = ("The commit", str(github.get("sha") or ""), "is in the workspace already")
        return Say(lines=(" ".join(filter(None, said)), *notes), outputs=outputs)
    return Run(program=_place(path, place, number, clean=clean, copy=True), outputs=outputs, notes=notes)


def _check(given: Mapping[str, str], github: Mapping[str, Any]) -> None:
    repository = given.get("repository", "")
    if repository and repository.lower() != str(github.get("repository") or "").lower():
        raise Invalid(f"actions/checkout of another repository is not built in: {repository[:200]!r}")
    for name, way_out in _REFUSED.items():
        if given.get(name, "").lower() not in ("", "false"):
            raise Invalid(f"{name} of actions/checkout is not built in: {way_out}")


def _revision(given: Mapping[str, str], github: Mapping[str, Any], *, untouched: bool) -> Revision | None:
    """What must be fetched; None where all that is asked for is there."""
    commit, ref = str(github.get("sha") or ""), given.get("ref", "")
    own = {commit, *(str(github.get(name) or "") for name in ("ref", "ref_name"))}
    own |= {f"refs/heads/{name}" for name in own}
    depth = given.get("fetch-depth") or "1"
    if not (depth.isascii() and depth.isdecimal() and len(depth) < 10):
        raise Invalid(f"fetch-depth of actions/checkout is a number of commits, 0 for all: {depth[:80]!r}")
    tags = _is_true(given, "fetch-tags", default=False)
    if untouched and (not ref or ref in own) and int(depth) == 1 and not tags:
        return None
    return Revision(ref=ref if ref and ref not in own else commit, depth=int(depth), tags=tags)


def _is_true(given: Mapping[str, str], name: str, *, default: bool) -> bool:
    """As actions read a boolean: YAML's core schema."""
    value = given.get(name) or str(default)
    if value not in ("true", "True", "TRUE", "false", "False", "FALSE"):
        raise Invalid(f"{name} of actions/checkout is true or false: {value[:80]!r}")
    return value.lower() == "true"


def _path(written: str) -> PurePosixPath:
    path = PurePosixPath(written)
    if path.is_absolute() or ".." in path.parts or "\0" in written:
        raise Invalid(f"the path {written[:200]!r} of actions/checkout is outside the workspace")
    return path


def _place(path: PurePosixPath, place: Place, number: int, *, clean: bool, copy: bool) -> Program:
    """Put what was fetched, or a copy of the workspace, where it belongs; with `clean` nothing else is left there."""
    folder = shlex.quote(str(place.workspace / path))
    fetched = shlex.quote(str(place.step(number) / FETCHED))
    output = shlex.quote(place.files(number)["GITHUB_OUTPUT"])
    lines = (
        "#!/bin/sh",
        *([_COPY.format(fetched=fetched, workspace=shlex.quote(str(place.workspace)))] if copy else []),
        f"mkdir -p -- {folder} && cd -- {folder} || exit",
        *([_CLEAN] if clean else []),
        _PLACE.format(fetched=fetched),
        *([] if copy else [_TELL.format(output=output)]),
    )
    return Program(run="\n".join((*lines, "")).encode(), script=b"")
