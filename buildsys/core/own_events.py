"""What makes builds and comes from no forge: a time that a schedule names, and what a program asks for over the API.

It is kept in the same inbox as what forges send, so that it is worked on once, tried again, and told of.
Sources: `schedule` and `repository_dispatch` of "Events that trigger workflows", and "Create a repository dispatch
event", in GitHub's documentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from buildsys.core.definition import Schedule
from buildsys.core.event_kinds import REPOSITORY_DISPATCH, SCHEDULE
from buildsys.core.events import HEAD, Event
from buildsys.errors import Invalid

FORGE = "buildsys"
"""Stands in the inbox for the forge."""

MAX_TYPE = 100
"""Characters of a type of `repository_dispatch`, as GitHub allows."""

MAX_PROPERTIES = 10
"""Of a `client_payload`, at the top; as GitHub allows."""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A time at which a schedule of a workflow's file comes."""

    workflow: str
    schedule: Schedule
    at: datetime

    @property
    def id(self) -> str:
        """The same for the same slot, whoever comes upon it."""
        which = msgspec.json.encode((self.workflow, self.schedule))
        return f"{self.at.astimezone(UTC):%Y-%m-%dT%H:%MZ}-{hashlib.sha256(which).hexdigest()[:16]}"


class RepositoryDispatch(msgspec.Struct, frozen=True, kw_only=True):
    """What GitHub sends for one, and we keep: `action` is the type that the sender chose."""

    action: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TYPE)]
    client_payload: Annotated[dict[str, Any], msgspec.Meta(max_length=MAX_PROPERTIES)] | None = None


class OwnEvents:
    """The `Decoder` of the deliveries that we keep ourselves; it holds nothing."""

    def decode(self, event: str, body: bytes) -> Event:
        known: dict[str, Callable[[dict[str, Any]], Event]] = {
            SCHEDULE: _schedule,
            REPOSITORY_DISPATCH: repository_dispatch,
        }
        try:
            return known[event](msgspec.json.decode(body, type=dict[str, Any]))
        except (KeyError, msgspec.DecodeError) as error:
            raise Invalid(f"no {event} of ours: {error}") from None


def repository_dispatch(payload: dict[str, Any]) -> Event:
    """A dispatch is always for the head of the default branch. Raises `msgspec.ValidationError`."""
    said = msgspec.convert(payload, type=RepositoryDispatch)
    return Event(name=REPOSITORY_DISPATCH, action=said.action, ref=HEAD, sha=None, payload=payload)


def _schedule(payload: dict[str, Any]) -> Event:
    slot = msgspec.convert(payload, type=Slot)
    said = {"schedule": slot.schedule.cron, "workflow": slot.workflow}
    return Event(name=SCHEDULE, ref=HEAD, sha=None, payload=said, workflow=slot.workflow)
