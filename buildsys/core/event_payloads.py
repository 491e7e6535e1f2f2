"""What a forge would say of an event, as far as it is known of one that came from none.

Source: `push` and "Webhook payload object common properties" in GitHub's "Webhook events and payloads".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from buildsys.core.event_kinds import PUSH
from buildsys.core.events import Event
from buildsys.core.forge_address import ForgeAddress

NO_COMMIT = "0" * 40
"""Stands for the commit before the first one, or before one of which that is not known."""


def repository_payload(address: ForgeAddress, *, default_branch: str) -> dict[str, Any]:
    """The repository, with its addresses where its forge is known."""
    owner, _, name = address.repository.rpartition("/")
    page = f"{address.server}/{address.repository}"
    return {
        "name": name,
        "full_name": address.repository,
        "owner": {"login": owner, "name": owner},
        "default_branch": default_branch,
        **({"html_url": page, "clone_url": f"{page}.git"} if address.server else {}),
    }


def push_payload(ref: str, commit: Mapping[str, Any], *, before: str = NO_COMMIT) -> dict[str, Any]:
    """A push that moved a ref to a commit, of which `commit` has the `id` and `message`."""
    return {"ref": ref, "before": before, "after": commit["id"], "head_commit": commit, "commits": [commit]}


def as_push(event: Event) -> Event:
    """A dispatch as the push of the same commit; that its message asks for no build does not count."""
    about: dict[str, Any] = {key: event.payload[key] for key in ("repository", "sender") if key in event.payload}
    if event.sha is not None:
        about |= push_payload(event.ref, {"id": event.sha, "message": event.message})
    return msgspec.structs.replace(event, name=PUSH, payload=about, message="")
