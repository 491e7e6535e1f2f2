"""The `on` of a workflow: which events it wants."""

from __future__ import annotations

import msgspec

from buildsys.core.glob import Glob
from buildsys.core.yaml_reading import Field, Reader
from buildsys.core.yaml_source import Mapping, Scalar, Sequence

PUSH = "push"
# fmt: off
KNOWN = frozenset({
    "branch_protection_rule", "check_run", "check_suite", "create", "delete", "deployment", "deployment_status",
    "discussion", "discussion_comment", "fork", "gollum", "image_version", "issue_comment", "issues", "label",
    "merge_group", "milestone", "page_build", "project", "project_card", "project_column", "public", "pull_request",
    "pull_request_review", "pull_request_review_comment", "pull_request_target", "push", "registry_package",
    "release", "repository_dispatch", "schedule", "status", "watch", "workflow_call", "workflow_dispatch",
    "workflow_run",
})
# fmt: on
"""GitHub's events that trigger workflows, by its reference of the same name. Those but `push` start nothing yet."""


class PushFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which pushes are wanted; None is no such filter. A pattern with `!` in front excludes; the last match wins.

    With `tags` and no filter of branches only tags are wanted.
    """

    branches: tuple[str, ...] | None = None
    branches_ignore: tuple[str, ...] | None = None
    tags: bool = False


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """The events' names in the file's order, and the filter of `push` where it is among them."""

    names: tuple[str, ...]
    push: PushFilter | None = None


def read_events(reader: Reader, field: Field) -> Events:
    """Read `on`: an event, a list of events, or a mapping of events to their filters."""
    if not isinstance(field.value, Mapping):
        wanted = reader.texts(field, expected="an event, a list or a mapping of events")
        names = tuple(item.value.text for item in wanted if isinstance(item.value, Scalar))
        for item, name in zip(wanted, names, strict=True):
            if name not in KNOWN:
                reader.error(item.value, item.path, f"unknown event {name[:60]!r}{reader.suggestion(name, KNOWN)}")
        if isinstance(field.value, Sequence) and not field.value.items:
            reader.error(field.value, field.path, "expected at least one event")
        return Events(names=names, push=PushFilter() if PUSH in names else None)
    events = list(reader.entries(field.value, field.path))
    push = None
    for event in events:
        if event.name == PUSH:
            push = _push(reader, event)
        elif event.name not in KNOWN:
            reader.error(event.key, event.path, f"unknown event{reader.suggestion(event.name, KNOWN)}")
    return Events(names=tuple(event.name for event in events), push=push)


def _push(reader: Reader, field: Field) -> PushFilter:
    if isinstance(field.value, Scalar) and field.value.value is None:
        return PushFilter()
    known = ("branches", "branches-ignore", "tags", "tags-ignore")
    fields = reader.fields(field.value, field.path, known=known, later=("paths", "paths-ignore"))
    for name in ("branches", "tags"):
        if name in fields and (ignored := fields.get(f"{name}-ignore")):
            reader.error(ignored.key, ignored.path, f"cannot stand beside {name!r}; write a pattern with '!' there")
    patterns = {name: _patterns(reader, filter) for name, filter in fields.items()}
    return PushFilter(
        branches=patterns.get("branches"),
        branches_ignore=patterns.get("branches-ignore"),
        tags="tags" in fields or "tags-ignore" in fields,
    )


def _patterns(reader: Reader, field: Field) -> tuple[str, ...]:
    found = []
    for item in reader.texts(field, expected="a pattern or a list of patterns"):
        assert isinstance(item.value, Scalar)
        pattern = item.value.text
        try:
            Glob.parse(pattern.removeprefix("!"))
        except ValueError as error:
            reader.error(item.value, item.path, f"not a pattern: {error}")
        found.append(pattern)
    if found and all(pattern.startswith("!") for pattern in found):
        reader.error(field.value, field.path, "a pattern with '!' only takes away: add one without it")
    return tuple(found)
