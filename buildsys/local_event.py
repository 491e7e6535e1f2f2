"""What would have happened to a repository for a workflow to run now: an event and its payload, made on this machine.

The payload has what workflows ask for most, in the shape that GitHub documents; what is given stands before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildsys.core.event_kinds import DISPATCH, KINDS, PULL_REQUEST, PUSH, SCHEDULE
from buildsys.core.event_payloads import NO_COMMIT, push_payload, repository_payload
from buildsys.core.events import BRANCHES, Event
from buildsys.core.git import check_ref
from buildsys.errors import Invalid, SourceError
from buildsys.working_tree import WorkingTree

PULL = 1
"""The number of the pull request."""


def local_event(
    name: str, tree: WorkingTree, *, actor: str, given: Mapping[str, Any], inputs: Mapping[str, str], cron: str | None
) -> Event:
    """The event as it would be for the tree's commit. `given` is what the payload must say, `inputs` a dispatch's.

    A push is one to the tree's branch, unless `given` has another `ref`; a pull request one from it to the default
    branch; a schedule that of `cron`. Raises `Invalid` for what no event can say.
    """
    payload = merged(_payload(name, tree, actor, cron), given)
    if name == DISPATCH:
        payload["inputs"] = {**_mapping(payload.get("inputs")), **inputs}
    pull = _mapping(payload.get("pull_request"))
    base, head = (_text(_mapping(pull.get(end)).get("ref")) for end in ("base", "head"))
    ref = f"{BRANCHES}{tree.branch}"
    if name == PULL_REQUEST:
        ref = f"refs/pull/{payload.get('number', PULL)}/merge"
    elif name in (PUSH, DISPATCH):
        ref = _ref(payload.get("ref"), ref)
    elif pull:
        ref = f"{BRANCHES}{base}"
    kind = KINDS[name]
    action = _text(payload.get("action")) or next(iter(_preferred(name, kind.default or ())), "")
    if action:
        payload["action"] = action
    run = _mapping(payload.get("workflow_run"))
    return Event(
        name=name,
        ref=ref,
        sha=tree.commit,
        action=action,
        base_branch=base,
        head_branch=head or _text(run.get("head_branch")),
        inputs=_mapping(payload.get("inputs")) if name == DISPATCH else {},
        payload=payload,
    )


def merged(made: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The first with all that the second says, mappings within mappings as well."""
    both = dict(made)
    for key, value in given.items():
        before = both.get(key)
        both[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return both


def _payload(name: str, tree: WorkingTree, actor: str, cron: str | None) -> dict[str, Any]:
    repository = repository_payload(tree.address, default_branch=tree.default_branch)
    whole = {"repository": repository, "sender": {"login": actor}}
    if name == PUSH:
        return whole | _push(tree, actor)
    if name in (PULL_REQUEST, "pull_request_target"):
        return whole | _pull_request(tree, repository, actor)
    if name == DISPATCH:
        return whole | {"ref": f"{BRANCHES}{tree.branch}"}
    return whole | ({"schedule": cron} if name == SCHEDULE and cron else {})


def _push(tree: WorkingTree, actor: str) -> dict[str, Any]:
    who = {"name": tree.author or actor, "email": tree.email}
    commit = {"id": tree.commit, "message": tree.message, "author": who, "committer": who}
    return {
        **push_payload(f"{BRANCHES}{tree.branch}", commit, before=tree.head or NO_COMMIT),
        "created": tree.head is None,
        "deleted": False,
        "forced": False,
        "pusher": {"name": actor, "email": tree.email},
    }


def _pull_request(tree: WorkingTree, repository: dict[str, Any], actor: str) -> dict[str, Any]:
    title = next(iter(tree.message.splitlines()), "")
    ends = {
        end: {"ref": branch, "sha": tree.head or tree.commit, "repo": repository}
        for end, branch in (("head", tree.branch), ("base", tree.default_branch))
    }
    request = {"number": PULL, "title": title, "body": "", "draft": False, "merged": False, "user": {"login": actor}}
    return {"number": PULL, "pull_request": request | {"state": "open", "labels": [], **ends}}


def _preferred(name: str, types: tuple[str, ...]) -> tuple[str, ...]:
    """A pull request is more often changed than opened, but a new one is what one tries first."""
    return ("opened", *types) if name.startswith(PULL_REQUEST) and "opened" in types else types


def _ref(given: object, usual: str) -> str:
    if given is None:
        return usual
    ref = _text(given)
    try:
        check_ref(ref)
    except SourceError as error:
        raise Invalid(f"the payload's ref: {error}") from None
    return ref if ref.startswith("refs/") else f"{BRANCHES}{ref}"


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
