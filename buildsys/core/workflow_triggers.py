"""serverless-cd's `triggers`, which it has in place of `on`.

    triggers:
      github:
        events:
          - eventName: push
            filter: 'body.ref in ["refs/heads/main"]'

An event is wanted if one of the filters that it has fits what the forge sent, or one of its entries has none.
"""

from __future__ import annotations

from buildsys.core.definition import Events, Filter
from buildsys.core.event_kinds import PULL_REQUEST, PUSH
from buildsys.core.payload_filter import parse_filter
from buildsys.core.template_reading import TemplateReader
from buildsys.core.yaml_reading import Field

EVENTS = (PUSH, PULL_REQUEST)
"""Those that forges send and builds come from."""


def read_triggers(reader: TemplateReader, field: Field) -> Events:
    """Read `triggers`: events of one forge, GitHub's."""
    forge = reader.fields(field.value, field.path, known=("github",)).get("github")
    if forge is None:
        reader.error(field.key, field.path, "missing 'github'")
        return Events()
    events = reader.fields(forge.value, forge.path, known=("events",)).get("events")
    if events is None:
        reader.error(forge.key, forge.path, "missing 'events'")
        return Events()
    wanted: dict[str, list[str]] = {}
    for item in reader.items(events, expected="a list of events such as [{eventName: push}]"):
        fields = reader.fields(item.value, item.path, known=("eventName", "filter"))
        name = _event(reader, item, fields.get("eventName"))
        filter = _filter(reader, fields["filter"]) if "filter" in fields else ""
        wanted.setdefault(name, []).append(filter)
    return Events(filters={name: Filter(types=(), payload=tuple(filters)) for name, filters in wanted.items()})


def _event(reader: TemplateReader, item: Field, field: Field | None) -> str:
    if field is None:
        reader.error(item.value, item.path, "missing 'eventName'")
        return PUSH
    name = reader.text(field)
    if name not in EVENTS:
        hint = reader.suggestion(name, EVENTS) or f"; there are {' and '.join(EVENTS)}"
        reader.error(field.value, field.path, f"no build comes from the event {name[:60]!r}{hint}")
    return name


def _filter(reader: TemplateReader, field: Field) -> str:
    text = reader.text(field, expected='a condition such as body.ref in ["refs/heads/main"]')
    try:
        parse_filter(text)
    except ValueError as error:
        reader.error(field.value, field.path, str(error))
    return text
