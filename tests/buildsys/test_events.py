"""Which events a workflow wants, against `on` of GitHub's workflow syntax reference.

A sentence begins with the section that it is in, told in our words; "Ours" is where that is silent.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from buildsys.core.definition import Events, Filter, Schedule
from buildsys.core.events import Event, match

COMMIT = "1f6b8c4f0e0a4d7c9b2a3e5d6c7f8a9b0c1d2e3f"


def push(ref: str = "refs/heads/main", **changes: Any) -> Event:
    return msgspec.structs.replace(Event(name="push", ref=ref, sha=COMMIT), **changes)


def pull(base: str = "main", **changes: Any) -> Event:
    event = Event(
        name="pull_request",
        action="synchronize",
        ref="refs/pull/7/merge",
        sha=COMMIT,
        base_branch=base,
        head_branch="topic",
    )
    return msgspec.structs.replace(event, **changes)


def other(name: str, action: str = "", **changes: Any) -> Event:
    return msgspec.structs.replace(Event(name=name, action=action, ref="refs/heads/main", sha=COMMIT), **changes)


def on(event: str, **filter: tuple[str, ...]) -> Events:
    return Events(filters={event: Filter(**filter)})


def run(workflow: str, branch: str, action: str = "completed") -> Event:
    payload = {"workflow_run": {"name": workflow}}
    return other("workflow_run", action, head_branch=branch, payload=payload)


def tag(name: str, **changes: Any) -> Event:
    return push(f"refs/tags/{name}", **changes)


def branch(name: str, **changes: Any) -> Event:
    return push(f"refs/heads/{name}", **changes)


RELEASES = on("push", branches=("releases/**", "!releases/**-alpha"))
IGNORING = on("push", branches_ignore=("mona/octocat", "releases/**-alpha"), tags_ignore=("v2", "v1.*"))
NAMED = on("push", branches=("main", "mona/octocat", "releases/**"), tags=("v2", "v1.*"))
JAVASCRIPT = on("push", paths=("**.js",))
PROJECT = on("push", paths=("sub-project/**", "!sub-project/docs/**"))
OUTSIDE_DOCS = on("push", paths_ignore=("docs/**",))
MARKDOWN = on("push", paths=("*.md", "!README.md", "README*"))
BOTH = on("push", branches=("releases/**",), paths=("**.js",))

Table = dict[str, list[tuple[Events, Event, str | None]]]
"""By sentence: what a workflow wants, what happened, and why it is not wanted."""

EVENTS: Table = {
    "on: a workflow runs when an event that it names occurs": [
        (on("push"), push(), None),
        (on("fork"), other("fork"), None),
        (Events(filters={"push": Filter(), "fork": Filter()}), other("fork"), None),
        (Events(filters={"push": Filter(), "fork": Filter()}), pull(), "it runs on push, fork, not on pull_request"),
    ],
    "on.types: without types an event is wanted for all of them": [
        (on("issues"), other("issues", "typed"), None),
        (on("label"), other("label", "deleted"), None),
        (on("check_suite"), other("check_suite", "completed"), None),
        (
            on("check_suite"),
            other("check_suite", "requested"),
            "it wants check_suite of type completed, not 'requested'",
        ),
    ],
    "on.types: with types it is wanted for these": [
        (on("issues", types=("opened", "edited")), other("issues", "opened"), None),
        (
            on("issues", types=("opened", "edited")),
            other("issues", "closed"),
            "it wants issues of type opened, edited, not 'closed'",
        ),
    ],
    "pull_request: by default the types are opened, synchronize and reopened": [
        (on("pull_request"), pull(action="opened"), None),
        (on("pull_request"), pull(action="synchronize"), None),
        (on("pull_request"), pull(action="reopened"), None),
        (
            on("pull_request"),
            pull(action="closed"),
            "it wants pull_request of type opened, synchronize, reopened, not 'closed'",
        ),
        (on("pull_request", types=("closed",)), pull(action="closed"), None),
        (on("pull_request", types=("closed",)), pull(), "it wants pull_request of type closed, not 'synchronize'"),
        (on("pull_request_target"), pull(name="pull_request_target", action="opened"), None),
        (
            on("pull_request_target"),
            pull(name="pull_request_target", action="labeled"),
            "it wants pull_request_target of type opened, synchronize, reopened, not 'labeled'",
        ),
    ],
    "repository_dispatch: all types are wanted by default, or those that are named": [
        (on("repository_dispatch"), other("repository_dispatch", "anything"), None),
        (on("repository_dispatch", types=("test_result",)), other("repository_dispatch", "test_result"), None),
        (
            on("repository_dispatch", types=("test_result",)),
            other("repository_dispatch", "other"),
            "it wants repository_dispatch of type test_result, not 'other'",
        ),
    ],
    "workflow_dispatch: a workflow that names it can be started by hand": [
        (on("workflow_dispatch"), other("workflow_dispatch"), None),
        (on("push"), other("workflow_dispatch"), "it runs on push, not on workflow_dispatch"),
    ],
    "schedule: the one that triggered is in github.event.schedule": [
        (
            Events(filters={"schedule": Filter()}, schedules=(Schedule(cron="0 4 * * *"), Schedule(cron="0 5 * * 1"))),
            other("schedule", payload={"schedule": "0 5 * * 1"}),
            None,
        ),
        (
            Events(filters={"schedule": Filter()}, schedules=(Schedule(cron="0 4 * * *"),)),
            other("schedule", payload={"schedule": "0 6 * * *"}),
            "no schedule of it is '0 6 * * *'",
        ),
        (
            Events(filters={"schedule": Filter()}, schedules=(Schedule(cron="0 4 * * *"),)),
            other("schedule", payload={"schedule": ["x"]}),
            "no schedule of it is ['x']",
        ),
    ],
    "workflow_run: one of the named workflows has run": [
        (on("workflow_run", workflows=("Staging", "Lab")), run("Lab", "x"), None),
        (on("workflow_run", workflows=("Staging", "Lab")), run("Build", "x"), "it follows Staging, Lab, not 'Build'"),
        (on("workflow_run", workflows=("Lab",)), other("workflow_run", "completed"), "it follows Lab, not None"),
    ],
    "workflow_run: branches are those that the other workflow ran on": [
        (on("workflow_run", workflows=("Build",), branches=("releases/**",)), run("Build", "releases/1"), None),
        (
            on("workflow_run", workflows=("Build",), branches=("releases/**",)),
            run("Build", "main"),
            "branch 'main' matches none of: releases/**",
        ),
        (
            on("workflow_run", workflows=("Build",), branches_ignore=("canary",)),
            run("Build", "canary"),
            "branch 'canary' is ignored by canary",
        ),
    ],
}

REFS: Table = {
    "on.push: without filters of either it is wanted for branches and for tags": [
        (on("push"), branch("any/thing"), None),
        (on("push"), tag("v1"), None),
    ],
    "on.push: branches and tags are matched by the ref's name": [
        (NAMED, branch("main"), None),
        (NAMED, branch("mona/octocat"), None),
        (NAMED, branch("releases/10"), None),
        (NAMED, tag("v2"), None),
        (NAMED, tag("v1.9.1"), None),
        (NAMED, branch("v2"), "branch 'v2' matches none of: main, mona/octocat, releases/**"),
        (NAMED, tag("main"), "tag 'main' matches none of: v2, v1.*"),
        (NAMED, branch("Main"), "branch 'Main' matches none of: main, mona/octocat, releases/**"),
    ],
    "on.push: where one pattern to ignore matches it is not wanted": [
        (IGNORING, branch("main"), None),
        (IGNORING, branch("mona/octocat"), "branch 'mona/octocat' is ignored by mona/octocat"),
        (IGNORING, branch("releases/beta/3-alpha"), "branch 'releases/beta/3-alpha' is ignored by releases/**-alpha"),
        (IGNORING, tag("v1.9"), "tag 'v1.9' is ignored by v1.*"),
        (IGNORING, tag("v3"), None),
    ],
    "on.push: with filters of the one only it is not wanted for the other": [
        (on("push", branches=("main",)), tag("v1"), "it wants branches only"),
        (on("push", branches_ignore=("main",)), tag("v1"), "it wants branches only"),
        (on("push", tags=("v*",)), branch("v1"), "it wants tags only"),
        (on("push", tags_ignore=("v*",)), branch("v1"), "it wants tags only"),
        (on("push", tags=("v*",), branches_ignore=("x",)), branch("v1"), None),
    ],
    "on.push: a negative pattern after a positive one excludes": [
        (RELEASES, branch("releases/10"), None),
        (RELEASES, branch("releases/beta/mona"), None),
        (RELEASES, branch("releases/10-alpha"), "branch 'releases/10-alpha' is excluded by !releases/**-alpha"),
        (RELEASES, branch("main"), "branch 'main' matches none of: releases/**, !releases/**-alpha"),
        (on("push", tags=("v*", "!v0*")), tag("v0.1"), "tag 'v0.1' is excluded by !v0*"),
    ],
    "on.push: a positive pattern after a negative one includes again": [
        (on("push", branches=("r/**", "!r/old*", "r/old2")), branch("r/old2"), None),
        (
            on("push", branches=("r/**", "!r/old*", "r/old2")),
            branch("r/old1"),
            "branch 'r/old1' is excluded by !r/old*",
        ),
        (on("push", branches=("!r/old", "r/**")), branch("r/old"), None),
    ],
    "Ours: in a list to ignore a negative pattern keeps": [
        (on("push", branches_ignore=("wip/**", "!wip/keep")), branch("wip/keep"), None),
        (on("push", branches_ignore=("!main",)), branch("dev"), None),
        (on("push", branches_ignore=("wip/**", "!wip/keep")), branch("wip/a"), "branch 'wip/a' is ignored by wip/**"),
    ],
    "Ours: a deleted ref has nothing to build": [
        (on("push"), branch("x", sha=None), "branch 'x' was deleted: there is no commit to build"),
        (on("push"), tag("v1", sha=None), "tag 'v1' was deleted: there is no commit to build"),
        (on("push", branches=("main",)), tag("v1", sha=None), "it wants branches only"),
        (on("delete"), other("delete"), None),
    ],
    "Ours: a name is data": [
        (on("push", branches=("main",)), branch("a'b\n$(x)"), 'branch "a\'b\\n$(x)" matches none of: main'),
        (on("push", branches=()), branch("main"), "branch 'main' matches none of: "),
    ],
    "on.pull_request.branches: those are the branches that are targeted": [
        (on("pull_request", branches=("main", "releases/**")), pull("releases/10"), None),
        (on("pull_request", branches=("topic",)), pull("main"), "base branch 'main' matches none of: topic"),
        (on("pull_request", branches_ignore=("main",)), pull("main"), "base branch 'main' is ignored by main"),
        (on("pull_request", branches_ignore=("topic",)), pull("main"), None),
        (
            on("pull_request", branches=("releases/**", "!releases/**-alpha")),
            pull("releases/beta/3-alpha"),
            "base branch 'releases/beta/3-alpha' is excluded by !releases/**-alpha",
        ),
        (
            on("merge_group", branches=("main",)),
            other("merge_group", "checks_requested", base_branch="dev"),
            "base branch 'dev' matches none of: main",
        ),
    ],
}

PATHS: Table = {
    "paths: one path that matches is enough": [
        (JAVASCRIPT, push(paths=("js/index.js",)), None),
        (JAVASCRIPT, push(paths=("README.md", "app.js", "x")), None),
        (JAVASCRIPT, push(paths=("README.md",)), "'README.md' matches none of: **.js"),
        (
            JAVASCRIPT,
            push(paths=("a.md", "b.md")),
            "each of 2 changed files, such as 'a.md', matches none of: **.js",
        ),
        (on("pull_request", paths=("**.js",)), pull(paths=("x.md",)), "'x.md' matches none of: **.js"),
        (on("pull_request", paths=("**.js",)), pull(paths=("x.js",)), None),
    ],
    "paths-ignore: only where all paths match it is not wanted": [
        (
            OUTSIDE_DOCS,
            push(paths=("docs/a.md", "docs/b/c.md")),
            "each of 2 changed files, such as 'docs/a.md', is ignored by: docs/**",
        ),
        (OUTSIDE_DOCS, push(paths=("docs/a.md", "src/docs/b.md")), None),
        (OUTSIDE_DOCS, push(paths=("docs/a.md",)), "'docs/a.md' is ignored by: docs/**"),
        (on("pull_request", paths_ignore=("docs/**",)), pull(paths=("docs/a",)), "'docs/a' is ignored by: docs/**"),
    ],
    "paths: a later negative pattern excludes a path": [
        (PROJECT, push(paths=("sub-project/index.js",)), None),
        (PROJECT, push(paths=("sub-project/src/index.js", "sub-project/docs/a.md")), None),
        (
            PROJECT,
            push(paths=("sub-project/docs/readme.md",)),
            "'sub-project/docs/readme.md' matches none of: sub-project/**, !sub-project/docs/**",
        ),
    ],
    "Cheat sheet: patterns are checked in their order, and one may include again": [
        (MARKDOWN, push(paths=("hello.md",)), None),
        (MARKDOWN, push(paths=("README.md",)), None),
        (MARKDOWN, push(paths=("README.doc",)), None),
        (
            on("push", paths=("*.md", "!README.md")),
            push(paths=("README.md",)),
            "'README.md' matches none of: *.md, !README.md",
        ),
    ],
    "paths: where no file was changed it is not wanted": [
        (JAVASCRIPT, push(paths=()), "no file was changed"),
        (OUTSIDE_DOCS, push(paths=()), "no file was changed"),
        (on("push"), push(paths=()), None),
        (on("push", paths=()), push(paths=("x",)), "'x' matches none of: "),
    ],
    "paths: where the changes cannot be told it runs": [
        (JAVASCRIPT, push(paths=None), None),
        (OUTSIDE_DOCS, push(paths=None), None),
    ],
    "paths: they are not looked at for tags": [
        (JAVASCRIPT, tag("v1", paths=("README.md",)), None),
        (on("push", tags=("v1",), paths=("x",)), tag("v1", paths=("README.md",)), None),
        (on("push", branches=("main",), paths=("x",)), tag("v1", paths=("x",)), "it wants branches only"),
    ],
    "paths: branches and paths must both be satisfied": [
        (BOTH, branch("releases/1", paths=("a.js",)), None),
        (BOTH, branch("main", paths=("a.js",)), "branch 'main' matches none of: releases/**"),
        (BOTH, branch("releases/1", paths=("a.md",)), "'a.md' matches none of: **.js"),
        (on("push", tags=("v*",), paths=("**.js",)), branch("v1", paths=("a.js",)), "it wants tags only"),
        (
            on("pull_request", branches=("main",), paths=("**.js",)),
            pull("dev", paths=("a.js",)),
            "base branch 'dev' matches none of: main",
        ),
    ],
}

SKIPPING: Table = {
    "Skipping: a push or the head of a pull request whose message says so starts nothing": [
        *(
            (on("push"), push(message=f"Fix {word} typo\n\nBody"), f"the commit's message says {word}")
            for word in ("[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]")
        ),
        (on("push"), push(message="Subject\n\nBody [skip ci]"), "the commit's message says [skip ci]"),
        (on("push"), tag("v1", message="x [no ci]"), "the commit's message says [no ci]"),
        (on("pull_request"), pull(message="[ci skip]"), "the commit's message says [ci skip]"),
    ],
    "Skipping: the trailer skip-checks, at the end and last": [
        (on("push"), push(message="S\n\n\nskip-checks:true"), "the commit's message ends with skip-checks:true"),
        (on("push"), push(message="S\n\n\nskip-checks: true\n"), "the commit's message ends with skip-checks: true"),
        (
            on("push"),
            push(message="S\r\n\r\n\r\nSigned-off-by: M\r\nskip-checks: true"),
            "the commit's message ends with skip-checks: true",
        ),
        (on("push"), push(message="S\n\nskip-checks:true"), "the commit's message ends with skip-checks:true"),
        (on("push"), push(message="skip-checks: true"), None),
        (on("push"), push(message="S\nskip-checks: true"), None),
        (on("push"), push(message="S\n\nskip-checks: true\nSigned-off-by: M"), None),
        (on("push"), push(message="S\n\nskip-checks: false"), None),
    ],
    "Skipping: it is of push and pull_request only": [
        (on("pull_request_target"), pull(name="pull_request_target", message="[skip ci]"), None),
        (on("workflow_dispatch"), other("workflow_dispatch", message="[skip ci]"), None),
        (on("release"), other("release", "published", message="[skip ci]"), None),
    ],
    "Ours: what is not wanted anyway says why, and other words say nothing": [
        (on("push", branches=("x",)), push(message="[skip ci]"), "branch 'main' matches none of: x"),
        (on("push"), push(message="skip ci, [skipci], [ci-skip]"), None),
        (on("push"), push(message=""), None),
    ],
}


@pytest.mark.parametrize(
    ("wanted", "event", "expected"),
    [
        pytest.param(*row, id=f"{sentence} | {number}")
        for table in (EVENTS, REFS, PATHS, SKIPPING)
        for sentence, rows in table.items()
        for number, row in enumerate(rows)
    ],
)
def test_an_event_is_wanted_or_there_is_a_reason(wanted: Events, event: Event, expected: str | None) -> None:
    assert match(wanted, event) == expected


def test_an_event_is_stored_as_json() -> None:
    event = pull(paths=("a", "b"), inputs={"x": True}, payload={"a": [1, None, {"b": "c"}]})
    stored = msgspec.json.encode(event)
    assert json.loads(stored)["payload"] == {"a": [1, None, {"b": "c"}]}
    assert msgspec.json.decode(stored, type=Event) == event
