"""Where a file uses another of its repository, and whether the two fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

import msgspec

from buildsys.core.definition import Events, Input
from buildsys.core.findings import Finding, Rule
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping as MappingNode
from buildsys.core.yaml_source import Scalar


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An input that is given, and where its name stands."""

    name: str
    line: int
    column: int
    path: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """`uses` is an action's folder or a workflow, `./PATH`; `file` is where that stands."""

    uses: str
    file: str
    line: int
    column: int
    path: str
    given: tuple[Given, ...] = ()

    @property
    def is_workflow(self) -> bool:
        return self.uses.endswith((".yml", ".yaml"))


def use_of(field: Field, given: Field | None, *, file: str) -> Use:
    """What a `uses` of this repository and the `with` beside it say."""
    assert isinstance(field.value, Scalar)
    entries = given.value.entries if given and isinstance(given.value, MappingNode) else ()
    return Use(
        uses=f".{field.value.text[1:]}",
        file=file,
        line=field.value.line,
        column=field.value.column,
        path=field.path,
        given=tuple(
            Given(name=key.text, line=key.line, column=key.column, path=f"{given.path}.{key.text}")
            for key, _ in entries
            if given
        ),
    )


def missing(use: Use) -> Finding:
    """What to say where nothing is found at the path: an action may be put there by a step before."""
    if use.is_workflow:
        return _finding(use, "there is no such workflow in this repository", Rule.NEEDS)
    return _finding(use, "there is no action.yml or action.yaml in this folder; a step before may put it there")


def check_called(use: Use, on: Events) -> Iterator[Finding]:
    """Whether a workflow can be called so."""
    if on.call is None:
        yield _finding(use, f"{use.uses} cannot be called: its 'on' has no 'workflow_call'", Rule.NEEDS)
    else:
        yield from check_inputs(use, on.call.inputs)


def check_inputs(use: Use, inputs: Mapping[str, Input]) -> Iterator[Finding]:
    """Inputs that are not taken, and those that are required and not given; without regard to case."""
    known = {name.lower(): name for name in inputs}
    for given in use.given:
        if given.name.lower() not in known:
            near = difflib.get_close_matches(given.name.lower()[:100], known, n=1)
            hint = f"; did you mean {known[near[0]]!r}?" if near else ""
            message = f"{use.uses} takes no such input{hint}"
            yield Finding(
                file=use.file, line=given.line, column=given.column, path=given.path, message=message, rule=Rule.USE
            )
    names = {given.name.lower() for given in use.given}
    for name, input in inputs.items():
        if input.required and input.default is None and name.lower() not in names:
            yield _finding(use, f"the input {name!r} is required and not given")


def _finding(use: Use, message: str, rule: Rule = Rule.USE) -> Finding:
    return Finding(file=use.file, line=use.line, column=use.column, path=use.path, message=message, rule=rule)
