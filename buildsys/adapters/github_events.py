"""What GitHub's webhooks say, as events that workflows are matched against.

Sources: "Webhook events and payloads" and "Events that trigger workflows" in GitHub's documentation.
"""

from __future__ import annotations

from typing import Any

import msgspec

from buildsys.core.event_kinds import PULL_REQUEST, PUSH, REPOSITORY_DISPATCH
from buildsys.core.events import BRANCHES, TAGS, Event
from buildsys.core.forge import Ignored
from buildsys.core.git import check_commit, check_ref
from buildsys.core.own_events import repository_dispatch
from buildsys.errors import Invalid, SourceError

MAX_COMMITS = 2048
"""Of a push in its payload; there may be more where there are as many."""

MAX_FILES = 3000
"""Of a commit in a push's payload, likewise."""

_FILES = ("added", "removed", "modified")


class _Commit(msgspec.Struct, frozen=True, kw_only=True):
    message: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()


class _Push(msgspec.Struct, frozen=True, kw_only=True):
    ref: str
    after: str
    created: bool = False
    deleted: bool = False
    forced: bool = False
    head_commit: _Commit | None = None
    commits: tuple[_Commit, ...] = ()


class _Repository(msgspec.Struct, frozen=True, kw_only=True):
    full_name: str


class _End(msgspec.Struct, frozen=True, kw_only=True):
    """The base or the head of a pull request; a repository that was deleted is None."""

    ref: str
    sha: str
    repo: _Repository | None = None


class _PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    base: _End
    head: _End
    merged: bool | None = False
    merge_commit_sha: str | None = None


class _PullRequestEvent(msgspec.Struct, frozen=True, kw_only=True):
    action: str
    number: int
    pull_request: _PullRequest


def to_event(name: str, body: bytes) -> Event | Ignored:
    """What a delivery says. Raises `Invalid` where the body is not what GitHub documents."""
    read = {PUSH: _push, PULL_REQUEST: _pull_request, REPOSITORY_DISPATCH: repository_dispatch}.get(name)
    if read is None:
        return Ignored(reason=f"the event {name!r} starts no build")
    try:
        return read(msgspec.json.decode(body, type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SourceError) as error:
        raise Invalid(f"not GitHub's {name}: {error}") from None


def _push(payload: dict[str, Any]) -> Event | Ignored:
    push = msgspec.convert(payload, type=_Push)
    check_ref(push.ref)
    check_commit(push.after)
    if not push.ref.startswith((BRANCHES, TAGS)):
        return Ignored(reason=f"a push to {push.ref}, which is no branch or tag")
    return Event(
        name=PUSH,
        ref=push.ref,
        sha=None if push.deleted else push.after,
        message=push.head_commit.message if push.head_commit is not None else "",
        paths=_changed(push),
        payload=_without_files(payload),
    )


def _changed(push: _Push) -> tuple[str, ...] | None:
    """The files that the pushed commits name: at least those that differ between the ref's old and new commit.

    A push that creates or moves a ref differs in what its commits do not name.
    """
    files = [[path for key in _FILES for path in getattr(commit, key)] for commit in push.commits]
    if push.created or push.deleted or push.forced or not 0 < len(files) < MAX_COMMITS:
        return None
    if any(len(paths) >= MAX_FILES for paths in files):
        return None
    return tuple(dict.fromkeys(path for paths in files for path in paths))


def _without_files(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as workflows have it: GitHub takes the lists of files from its commits."""
    commits = [*payload.get("commits", ()), payload.get("head_commit") or {}]
    for commit in commits:
        for key in _FILES:
            commit.pop(key, None)
    return payload


def _pull_request(payload: dict[str, Any]) -> Event:
    """A pull request's commit is its head until somebody fetches what the ref, the merge of both, is.

    Of one that was merged it is the merge, on the base branch. The payload's `merge_commit_sha` is otherwise not to be
    relied on: GitHub makes the merge after it has sent the event.
    """
    event = msgspec.convert(payload, type=_PullRequestEvent)
    pull = event.pull_request
    ref, sha = f"refs/pull/{event.number}/merge", pull.head.sha
    if event.action == "closed" and pull.merged and pull.merge_commit_sha is not None:
        ref, sha = f"{BRANCHES}{pull.base.ref}", pull.merge_commit_sha
    for branch in (pull.base.ref, pull.head.ref):
        check_ref(f"{BRANCHES}{branch}")
    check_commit(sha)
    return Event(
        name=PULL_REQUEST,
        action=event.action,
        ref=ref,
        sha=sha,
        base_branch=pull.base.ref,
        head_branch=pull.head.ref,
        from_fork=pull.head.repo is None or pull.head.repo != pull.base.repo,
        payload=payload,
    )
