"""Composite actions of the workspace: found, read, and given their inputs.

Source: "Metadata syntax" in GitHub's reference of custom actions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from buildsys.core.built_in import lacking_kind
from buildsys.core.definition import Action
from buildsys.core.expressions import Surroundings, Value
from buildsys.core.workflow_file import decode_action
from buildsys.errors import Invalid
from buildsys.runner.beneath import open_file, open_folder, read_bounded
from buildsys.runner.job_contexts import text

FILES = ("action.yml", "action.yaml")
LARGEST = 1 << 20
"""Bytes of an action's file."""

INPUT_CONTEXTS = frozenset({"github", "strategy", "matrix", "job", "runner", "buildsys"})
"""What the default of an input can use."""

STEP_CONTEXTS = INPUT_CONTEXTS | {"env", "inputs", "steps"}
"""What an action's steps can use: no secrets, and nothing of other jobs."""


def read_action(workspace: Path, uses: str) -> tuple[Action, str]:
    """The action that `./PATH` means, and its path in the workspace.

    Raises `Invalid` where there is none, its file is not to be read without leaving the workspace, or is wrong, and
    where its kind is not built in.
    """
    path = PurePosixPath(uses)
    if path.is_absolute() or ".." in path.parts or "\0" in uses:
        raise Invalid(f"the action {uses[:200]!r} is outside the workspace")
    for name in FILES:
        data = _read(workspace, path, name)
        if data is not None:
            action = decode_action(data, file=str(path / name))
            if lacking := lacking_kind(action.using):
                raise Invalid(f"{path / name}: {lacking}")
            return action, str(path)
    raise Invalid(f"there is no {' and no '.join(FILES)} in {str(path)[:200]!r}")


def input_values(
    action: Action, given: Mapping[str, str], contexts: Mapping[str, Value], surroundings: Surroundings
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The action's inputs, and what to warn of. Names do not regard case. Raises `ExpressionError`."""
    by_name = {name.lower(): value for name, value in given.items()}
    known = {key: value for key, value in contexts.items() if key in INPUT_CONTEXTS}
    values: dict[str, str] = {}
    warnings = []
    for name, declared in action.inputs.items():
        value = by_name.pop(name.lower(), None)
        if value is None and declared.required and declared.default is None:
            warnings.append(f"the input {name!r} is required by the action and was not given")
        if value is None and declared.default is not None:
            value = text(str(declared.default), known, surroundings)
        values[name] = value or ""
    for name in by_name:
        warnings.append(
            f"the action has no input {name[:80]!r}; it has {', '.join(list(action.inputs)[:20]) or 'none'}"
        )
    return values, tuple(warnings)


def _read(workspace: Path, path: PurePosixPath, name: str) -> bytes | None:
    try:
        folder = open_folder(workspace, path.parts)
    except OSError:
        return None
    try:
        file = open_file(folder, name)
        if file is None:
            return None
        try:
            data = read_bounded(file, LARGEST)
        finally:
            os.close(file)
    except OSError:
        return None
    finally:
        os.close(folder)
    if data is None:
        raise Invalid(f"{path / name} is larger than {LARGEST >> 20} MiB")
    return data
