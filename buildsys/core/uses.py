"""Where a file uses another of its repository, and whether the two fit."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as Names
from pathlib import Path

import msgspec

from buildsys.core.definition import Action, Events, Input
from buildsys.core.findings import Finding, Rule
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, Scalar


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An input or a secret that is given, and where its name stands."""

    name: str
    line: int
    column: int
    path: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """`uses` is an action's folder or a workflow, `./PATH`; `file` is where that stands. `secrets` None gives all."""

    uses: str
    file: str
    line: int
    column: int
    path: str
    inputs: tuple[Given, ...] = ()
    secrets: tuple[Given, ...] | None = ()

    @property
    def is_workflow(self) -> bool:
        return self.uses.endswith((".yml", ".yaml"))


def use_of(field: Field, *, inputs: Field | None, secrets: Field | None, file: str) -> Use:
    """What a `uses` of this repository says, with the `with` and the `secrets` beside it."""
    assert isinstance(field.value, Scalar)
    return Use(
        uses=f".{field.value.text[1:]}",
        file=file,
        line=field.value.line,
        column=field.value.column,
        path=field.path,
        inputs=_given(inputs),
        secrets=None if secrets and isinstance(secrets.value, Scalar) else _given(secrets),
    )


def missing(use: Use) -> Finding:
    """What to say where nothing is found at the path: an action may be put there by a step before."""
    if use.is_workflow:
        return _finding(use, "there is no such workflow in this repository", Rule.NEEDS)
    return _finding(use, "there is no action.yml or action.yaml in this folder; a step before may put it there")


def in_circle(use: Use, paths: Sequence[Path]) -> Finding:
    """What to say of a use that closes a circle of files: of workflows no build begins, an action's step fails."""
    circle = " uses ".join(map(str, (*paths, paths[0])))
    if use.is_workflow:
        return _finding(use, f"workflows use each other: {circle}", Rule.NEEDS)
    return _finding(use, f"actions use each other without end: {circle}")


def check_action(use: Use, action: Action) -> Iterator[Finding]:
    """Whether an action takes what it is given, and is given what it requires; names have no case."""
    yield from _unlike(use, use.inputs, action.inputs, _required(action.inputs), "input")


def check_called(use: Use, on: Events) -> Iterator[Finding]:
    """The same of a workflow, which must be one that can be called."""
    if on.call is None:
        yield _finding(use, f"{use.uses} cannot be called: its 'on' has no 'workflow_call'", Rule.NEEDS)
        return
    yield from _unlike(use, use.inputs, on.call.inputs, _required(on.call.inputs), "input")
    if use.secrets is not None:
        required = [name for name, is_required in on.call.secrets.items() if is_required]
        yield from _unlike(use, use.secrets, on.call.secrets, required, "secret")


def _given(field: Field | None) -> tuple[Given, ...]:
    entries = field.value.entries if field and isinstance(field.value, Mapping) else ()
    return tuple(
        Given(name=key.text, line=key.line, column=key.column, path=f"{field.path}.{key.text}")
        for key, _ in entries
        if field
    )


def _required(inputs: Names[str, Input]) -> list[str]:
    return [name for name, input in inputs.items() if input.required and input.default is None]


def _unlike(
    use: Use, given: Iterable[Given], known: Collection[str], required: Iterable[str], what: str
) -> Iterator[Finding]:
    spelt = {name.lower(): name for name in known}
    names = set()
    for one in given:
        names.add(one.name.lower())
        if one.name.lower() not in spelt:
            near = difflib.get_close_matches(one.name.lower()[:100], spelt, n=1)
            hint = f"; did you mean {spelt[near[0]]!r}?" if near else ""
            message = f"{use.uses} takes no such {what}{hint}"
            yield Finding(
                file=use.file, line=one.line, column=one.column, path=one.path, message=message, rule=Rule.USE
            )
    for name in required:
        if name.lower() not in names:
            yield _finding(use, f"the {what} {name!r} is required and not given")


def _finding(use: Use, message: str, rule: Rule = Rule.USE) -> Finding:
    return Finding(file=use.file, line=use.line, column=use.column, path=use.path, message=message, rule=rule)
