"""The `on` of a workflow: which events it wants, filtered by what, and what they bring along.

Sources: `on` in GitHub's workflow syntax reference and "Events that trigger workflows".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from buildsys.core.cron import Cron, check_timezone
from buildsys.core.definition import Events, Filter, Schedule
from buildsys.core.event_kinds import CALL, DISPATCH, KINDS, SCHEDULE
from buildsys.core.glob import Glob
from buildsys.core.own_events import MAX_TYPE
from buildsys.core.template_reading import TemplateReader
from buildsys.core.workflow_interface import read_call, read_dispatch
from buildsys.core.yaml_reading import Field
from buildsys.core.yaml_source import Mapping, Scalar, Sequence

MAX_SCHEDULES = 50
"""Of a workflow."""

MAX_PATTERNS = 64 << 10
"""Characters of all patterns of a filter."""

_NOT_BOTH = ("branches", "tags", "paths")
_RENAMED = {"pull_request_comment": "issue_comment"}


def read_events(reader: TemplateReader, field: Field) -> Events:
    """Read `on`: an event, a list of events, or a mapping of events to what is wanted of them."""
    events = {event.name: event for event in _events(reader, field) if _is_known(reader, event)}
    return Events(
        filters={name: _filter(reader, event) for name, event in events.items()},
        schedules=tuple(_schedules(reader, events[SCHEDULE])) if SCHEDULE in events else (),
        dispatch=read_dispatch(reader, events[DISPATCH]) if DISPATCH in events else {},
        call=read_call(reader, events[CALL]) if CALL in events else None,
    )


def _events(reader: TemplateReader, field: Field) -> Iterator[Field]:
    """The events by their names; those of a text or a list have a null as their value."""
    if isinstance(field.value, Mapping):
        found = list(reader.entries(field.value, field.path))
        yield from found
    else:
        found = list(reader.texts(field, expected="an event, a list or a mapping of events"))
        for item in found:
            assert isinstance(item.value, Scalar)
            nothing = msgspec.structs.replace(item.value, text="", value=None)
            yield Field(path=item.path, key=item.value, value=nothing)
    if not found and not isinstance(field.value, Scalar):
        reader.error(field.value, field.path, "expected at least one event")


def _is_known(reader: TemplateReader, event: Field) -> bool:
    if event.name in KINDS:
        return True
    instead = _RENAMED.get(event.name)
    hint = f"; it is called {instead!r}" if instead else reader.suggestion(event.name, KINDS)
    reader.error(event.key, event.path, f"unknown event {event.name[:60]!r}{hint}")
    return False


def _filter(reader: TemplateReader, event: Field) -> Filter:
    if event.name in (SCHEDULE, DISPATCH, CALL):
        return Filter()
    fields = {} if _is_nothing(event) else _filters(reader, event)
    for name in _NOT_BOTH:
        if name in fields and (ignored := fields.get(f"{name}-ignore")):
            reader.error(ignored.key, ignored.path, f"cannot stand beside {name!r}; write a pattern with '!' there")
    if event.name == "workflow_run" and "workflows" not in fields:
        reader.error(event.key, event.path, "expected 'workflows', the names of those whose runs it follows")
    for name in ("names", "versions"):
        if name in fields:
            _patterns(reader, fields[name])
    return Filter(
        branches=_patterns(reader, fields.get("branches")),
        branches_ignore=_patterns(reader, fields.get("branches-ignore")),
        tags=_patterns(reader, fields.get("tags")),
        tags_ignore=_patterns(reader, fields.get("tags-ignore")),
        paths=_patterns(reader, fields.get("paths")),
        paths_ignore=_patterns(reader, fields.get("paths-ignore")),
        types=_types(reader, event.name, fields.get("types")),
        workflows=_workflows(reader, fields.get("workflows")),
    )


def _filters(reader: TemplateReader, event: Field) -> dict[str, Field]:
    """The event's filters by their keys; of others it says which the event has."""
    known = KINDS[event.name].filters
    found = {}
    for field in reader.entries(event.value, event.path):
        if field.name in known:
            found[field.name] = field
        else:
            there_are = f"it has {', '.join(known)}" if known else "it has none"
            hint = reader.suggestion(field.name, known) or f"; {there_are}"
            reader.error(field.key, field.path, f"{event.name} has no such filter{hint}")
    return found


def _patterns(reader: TemplateReader, field: Field | None) -> tuple[str, ...] | None:
    if field is None:
        return None
    patterns = _texts(reader, field, "a pattern", _check_glob)
    takes_away = patterns and all(pattern.startswith("!") for pattern in patterns)
    if takes_away and not field.name.endswith("-ignore"):
        reader.error(field.value, field.path, "a pattern with '!' only takes away: add one without it")
    if sum(map(len, patterns)) > MAX_PATTERNS:
        reader.error(field.value, field.path, f"the patterns have more than {MAX_PATTERNS:,} characters")
    return patterns


def _check_glob(pattern: str) -> None:
    Glob.parse(pattern.removeprefix("!"))


def _types(reader: TemplateReader, event: str, field: Field | None) -> tuple[str, ...] | None:
    if field is None:
        return None
    known = KINDS[event].types

    def check(type: str) -> None:
        if known is None and len(type) > MAX_TYPE:
            raise ValueError(f"a type is at most {MAX_TYPE} characters")
        if known is not None and type not in known:
            hint = reader.suggestion(type, known) or f"; there are {', '.join(known)}"
            raise ValueError(f"{event} has no type {type[:60]!r}{hint}")

    if isinstance(field.value, Sequence) and not field.value.items:
        reader.error(field.value, field.path, "expected at least one type")
    return _texts(reader, field, "a type", check)


def _workflows(reader: TemplateReader, field: Field | None) -> tuple[str, ...] | None:
    return None if field is None else _texts(reader, field, "a workflow's name", lambda _: None)


def _texts(reader: TemplateReader, field: Field, expected: str, check: Callable[[str], None]) -> tuple[str, ...]:
    """The texts of a list, or the only one; `check` raises `ValueError` for one that cannot be used."""
    found = []
    for item in reader.texts(field, expected=f"{expected} or a list of them"):
        assert isinstance(item.value, Scalar)
        try:
            check(item.value.text)
        except ValueError as error:
            reader.error(item.value, item.path, str(error))
        else:
            found.append(item.value.text)
    return tuple(found)


def _schedules(reader: TemplateReader, field: Field) -> Iterator[Schedule]:
    items = reader.items(field, expected="a list of crons such as [{cron: '30 4 * * 1'}]")
    if len(items) > MAX_SCHEDULES:
        reader.error(field.key, field.path, f"at most {MAX_SCHEDULES} crons, found {len(items)}")
    for item in items:
        fields = reader.fields(item.value, item.path, known=("cron", "timezone"))
        if "cron" not in fields:
            if isinstance(item.value, Mapping):
                reader.error(item.value, item.path, "expected a 'cron' such as '30 4 * * 1'")
            continue
        cron = _checked(reader, fields["cron"], "a cron such as '30 4 * * 1'", Cron.parse)
        zone = fields.get("timezone")
        yield Schedule(
            cron=cron,
            timezone=_checked(reader, zone, "a time zone such as Europe/Berlin", check_timezone) if zone else "UTC",
        )
    if isinstance(field.value, Sequence) and not items:
        reader.error(field.value, field.path, "expected at least one cron")


def _checked(reader: TemplateReader, field: Field, expected: str, check: Callable[[str], object]) -> str:
    text = reader.text(field, expected=expected)
    if text.strip():
        try:
            check(text)
        except ValueError as error:
            reader.error(field.value, field.path, str(error))
    return text


def _is_nothing(field: Field) -> bool:
    return isinstance(field.value, Scalar) and field.value.value is None
