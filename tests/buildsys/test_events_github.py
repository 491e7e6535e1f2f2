"""From GitHub's deliveries to events, and whether workflows want them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildsys.adapters.github_events import MAX_COMMITS, MAX_FILES, to_event
from buildsys.core.definition import Events, Filter
from buildsys.core.events import Event, match
from buildsys.core.forge import Ignored
from buildsys.errors import Invalid

BEFORE = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
AFTER = "1f6b8c4f0e0a4d7c9b2a3e5d6c7f8a9b0c1d2e3f"
NONE = "0" * 40
REPOSITORY = {"id": 186853002, "full_name": "octo/cat", "private": True, "owner": {"login": "octo", "id": 21031067}}
SENDER = {"login": "mona", "id": 21031067}


def commit(message: str, *, added: Any = (), removed: Any = (), modified: Any = ()) -> dict[str, Any]:
    author = {"name": "Mona", "email": "mona@example.com"}
    files = {"added": list(added), "removed": list(removed), "modified": list(modified)}
    return {"id": AFTER, "message": message, "distinct": True, "author": author, "committer": author, **files}


def push(**changes: Any) -> dict[str, Any]:
    commits = [commit("First", added=["src/a.py"], modified=["README.md"]), commit("Second", removed=["src/b.py"])]
    return {
        "ref": "refs/heads/main",
        "before": BEFORE,
        "after": AFTER,
        "created": False,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": "https://example.com/compare",
        "commits": commits,
        "head_commit": commits[-1],
        "repository": REPOSITORY,
        "pusher": {"name": "mona", "email": "mona@example.com"},
        "sender": SENDER,
    } | changes


def pull_request(action: str = "opened", *, head: Any = REPOSITORY, **changes: Any) -> dict[str, Any]:
    pull = {
        "number": 7,
        "state": "open",
        "title": "$(reboot)",
        "merged": False,
        "merge_commit_sha": None,
        "base": {"ref": "main", "sha": BEFORE, "repo": REPOSITORY},
        "head": {"ref": "topic/x", "sha": AFTER, "repo": head},
    } | changes
    return {"action": action, "number": 7, "pull_request": pull, "repository": REPOSITORY, "sender": SENDER}


def event(name: str, payload: dict[str, Any]) -> Event:
    found = to_event(name, json.dumps(payload).encode())
    assert isinstance(found, Event)
    return found


def on(name: str, **filter: tuple[str, ...]) -> Events:
    return Events(filters={name: Filter(**filter)})


def test_a_push_to_a_branch() -> None:
    found = event("push", push())
    assert (found.name, found.action, found.ref, found.sha) == ("push", "", "refs/heads/main", AFTER)
    assert found.message == "Second"
    assert found.paths == ("src/a.py", "README.md", "src/b.py")
    assert found.payload["before"] == BEFORE
    assert found.payload["sender"] == SENDER
    assert match(on("push", branches=("main",), paths=("src/**",)), found) is None
    assert match(on("push", paths=("docs/**",)), found) is not None


def test_workflows_do_not_see_the_files_of_commits() -> None:
    """GitHub: the payload available to Actions does not include added, removed and modified of a commit."""
    found = event("push", push())
    for seen in [*found.payload["commits"], found.payload["head_commit"]]:
        assert {"added", "removed", "modified"} & set(seen) == set()
        assert seen["message"]


def test_a_push_of_a_tag() -> None:
    payload = push(ref="refs/tags/v1.0", before=NONE, created=True, base_ref="refs/heads/main", commits=[])
    found = event("push", payload)
    assert (found.ref, found.sha, found.paths) == ("refs/tags/v1.0", AFTER, None)
    assert match(on("push", tags=("v1.*",), paths=("docs/**",)), found) is None
    assert match(on("push", branches=("**",)), found) == "it wants branches only"


@pytest.mark.parametrize("ref", ["refs/heads/x", "refs/tags/v1"])
def test_a_deleted_ref(ref: str) -> None:
    found = event("push", push(ref=ref, after=NONE, deleted=True, commits=[], head_commit=None))
    assert (found.ref, found.sha, found.message, found.paths) == (ref, None, "", None)
    assert "was deleted: there is no commit to build" in (match(on("push"), found) or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"created": True, "before": NONE},
        {"forced": True},
        {"commits": []},
        {"commits": [commit("x", added=["a"])] * MAX_COMMITS},
        {"commits": [commit("x", modified=[f"f{number}" for number in range(MAX_FILES)])]},
    ],
)
def test_the_changes_are_not_known_where_the_payload_may_not_name_them_all(changes: dict[str, Any]) -> None:
    found = event("push", push(**changes))
    assert found.paths is None
    assert match(on("push", paths=("docs/**",)), found) is None


def test_a_file_is_named_once() -> None:
    commits = [commit("x", modified=["a", "b"]), commit("y", modified=["b"], removed=["a"])]
    assert event("push", push(commits=commits)).paths == ("a", "b")


def test_a_pull_request() -> None:
    found = event("pull_request", pull_request(title="${{ secrets.X }}"))
    assert (found.name, found.action, found.ref, found.sha) == ("pull_request", "opened", "refs/pull/7/merge", AFTER)
    assert (found.base_branch, found.head_branch, found.from_fork) == ("main", "topic/x", False)
    assert (found.message, found.paths) == ("", None)
    assert found.payload["pull_request"]["title"] == "${{ secrets.X }}"
    assert match(on("pull_request", branches=("main",)), found) is None
    assert match(on("push"), found) == "it runs on push, not on pull_request"


@pytest.mark.parametrize("head", [None, REPOSITORY | {"full_name": "stranger/cat"}])
def test_a_pull_request_from_elsewhere_is_known(head: Any) -> None:
    assert event("pull_request", pull_request(head=head)).from_fork


def test_a_pull_request_that_was_merged_is_on_its_base() -> None:
    """GitHub: for one that was closed by being merged the ref is that of the branch it was merged into."""
    found = event("pull_request", pull_request("closed", merged=True, merge_commit_sha=BEFORE))
    assert (found.ref, found.sha) == ("refs/heads/main", BEFORE)
    assert match(on("pull_request", types=("closed",)), found) is None


def test_a_pull_request_that_was_closed_is_still_itself() -> None:
    found = event("pull_request", pull_request("closed", merge_commit_sha=BEFORE))
    assert (found.ref, found.sha) == ("refs/pull/7/merge", AFTER)


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("ping", {}, "the event 'ping' starts no build"),
        ("star", {"action": "created"}, "the event 'star' starts no build"),
        ("push", push(ref="refs/notes/commits"), "a push to refs/notes/commits, which is no branch or tag"),
    ],
)
def test_what_starts_no_build_says_why(name: str, payload: dict[str, Any], reason: str) -> None:
    assert to_event(name, json.dumps(payload).encode()) == Ignored(reason=reason)


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("push", b"", "not GitHub's push"),
        ("push", b"[]", "Expected `object`"),
        ("push", b'{"x":' + b"[" * 100_000, "not GitHub's push"),
        ("push", b"\xff", "not GitHub's push"),
        ("push", json.dumps(push(after="HEAD")).encode(), "not a commit"),
        ("push", json.dumps(push(ref="refs/heads/a..b")).encode(), "not a branch or tag"),
        ("push", json.dumps(push(commits=[{"added": "x"}])).encode(), r"\$\.commits\[0\]\.added"),
        ("push", json.dumps(push(commits=None)).encode(), r"\$\.commits"),
        ("pull_request", b"{}", "missing required field"),
        (
            "pull_request",
            json.dumps(pull_request(base={"ref": "a..b", "sha": AFTER})).encode(),
            "not GitHub's pull_request",
        ),
        ("pull_request", json.dumps(pull_request(head={"full_name": 1})).encode(), "full_name"),
        ("pull_request", json.dumps(pull_request() | {"number": "7/../x"}).encode(), r"\$\.number"),
    ],
)
def test_a_wrong_payload_says_what_is_wrong(name: str, body: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        to_event(name, body)
