"""The events that workflows may name, with their activity types and the filters that each has.

Sources: "Events that trigger workflows" and `on` of "Workflow syntax" in GitHub's references, and GitHub's published
workflow schema for what may be filtered by.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

PUSH = "push"
PULL_REQUEST = "pull_request"
SCHEDULE = "schedule"
DISPATCH = "workflow_dispatch"
CALL = "workflow_call"
REPOSITORY_DISPATCH = "repository_dispatch"

_BRANCHES = ("branches", "branches-ignore")
_TAGS = ("tags", "tags-ignore")
_PATHS = ("paths", "paths-ignore")


class EventKind(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow can say of an event.

    `types` is None where the sender chooses them; `default` are those that are wanted where a workflow names none.
    `filters` are the keys that an event's mapping may have.
    """

    types: tuple[str, ...] | None = ()
    default: tuple[str, ...] | None = ()
    filters: tuple[str, ...] = ()


def _kind(types: str = "", *, filters: tuple[str, ...] = (), default: str = "") -> EventKind:
    known = tuple(types.split())
    return EventKind(
        types=known, default=tuple(default.split()) or known, filters=(("types",) if known else ()) + filters
    )


_EDITS = "created edited deleted"
_DISCUSSION = (
    f"{_EDITS} transferred pinned unpinned labeled unlabeled locked unlocked category_changed answered unanswered"
)
_ISSUES = (
    "opened edited deleted transferred pinned unpinned closed reopened assigned unassigned labeled unlabeled locked "
    "unlocked milestoned demilestoned field_added field_removed typed untyped"
)
_PULL_REQUEST = _kind(
    "assigned unassigned labeled unlabeled opened edited closed reopened synchronize converted_to_draft locked "
    "unlocked enqueued dequeued milestoned demilestoned ready_for_review review_requested review_request_removed "
    "auto_merge_enabled auto_merge_disabled",
    filters=_BRANCHES + _PATHS,
    default="opened synchronize reopened",
)

KINDS = MappingProxyType(
    {
        "branch_protection_rule": _kind(_EDITS),
        "check_run": _kind("created rerequested completed requested_action"),
        "check_suite": _kind("completed"),
        "create": _kind(),
        "delete": _kind(),
        "deployment": _kind(),
        "deployment_status": _kind(),
        "discussion": _kind(_DISCUSSION),
        "discussion_comment": _kind(_EDITS),
        "fork": _kind(),
        "gollum": _kind(),
        "image_version": _kind("created ready deleted", filters=("names", "versions")),
        "issue_comment": _kind(_EDITS),
        "issues": _kind(_ISSUES),
        "label": _kind(_EDITS),
        "merge_group": _kind("checks_requested", filters=_BRANCHES),
        "milestone": _kind("created closed opened edited deleted"),
        "page_build": _kind(),
        "project": _kind("created closed reopened edited deleted"),
        "project_card": _kind("created moved converted edited deleted"),
        "project_column": _kind("created updated moved deleted"),
        "public": _kind(),
        PULL_REQUEST: _PULL_REQUEST,
        "pull_request_review": _kind("submitted edited dismissed"),
        "pull_request_review_comment": _kind(_EDITS),
        "pull_request_target": _PULL_REQUEST,
        PUSH: _kind(filters=_BRANCHES + _TAGS + _PATHS),
        "registry_package": _kind("published updated"),
        "release": _kind("published unpublished created edited deleted prereleased released"),
        REPOSITORY_DISPATCH: EventKind(types=None, default=None, filters=("types",)),
        SCHEDULE: _kind(),
        "status": _kind(),
        "watch": _kind("started"),
        CALL: _kind(filters=("inputs", "outputs", "secrets")),
        DISPATCH: _kind(filters=("inputs",)),
        "workflow_run": _kind("completed requested in_progress", filters=("workflows", *_BRANCHES)),
    }
)
"""By name, in the alphabet's order."""
