"""Builds of what strangers wrote: names that mean something to shells, pull requests from forks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from git_server import git
from inbox_bench import FILE, Inbox, inbox_on

from actors import Database
from buildsys.core.build import Build
from buildsys.core.planning import BuildPlan
from buildsys.core.project import ProjectSettings
from buildsys.errors import NoSuchCommit

JOB = "jobs: {a: {runs-on: linux, steps: [run: echo hi]}}"
NAMES = [
    "$(touch${IFS}pwned)",
    "`touch${IFS}pwned`",
    ";touch${IFS}pwned;",
    "a'\"b&&c|d>e",
    "${{github.token}}",
    "--upload-pack=touch",
    "-x",
    "\N{PILE OF POO}/\u202ex",
    "x" * 200,
]


@pytest.fixture
async def inbox(database: Database, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with inbox_on(database, tmp_path) as inbox:
        yield inbox


def pull_request(inbox: Inbox, name: str, *, path: str = "src/a") -> dict[str, Any]:
    """What GitHub says of a pull request from the branch of this name, and the refs that it makes."""
    at = inbox.repository.path
    git(at, "checkout", "--quiet", "--detach", "main")
    head = inbox.repository.commit({path: name})
    git(at, "update-ref", f"refs/heads/{name}", head)
    git(at, "checkout", "--quiet", "--detach", "main")
    git(at, "merge", "--quiet", "--no-ff", "--message=Merge", head)
    git(at, "update-ref", "refs/pull/9/merge", "HEAD")
    git(at, "checkout", "--quiet", "main")
    repository = {"full_name": "tests/shop"}
    ends = {
        "base": {"ref": "main", "sha": git(at, "rev-parse", "main"), "repo": repository},
        "head": {"ref": name, "sha": head, "repo": repository},
    }
    return {
        "action": "opened",
        "number": 9,
        "pull_request": {"title": name, **ends},
        "repository": repository,
        "sender": {"login": "mona"},
    }


async def deliver(inbox: Inbox, event: str, payload: dict[str, Any]) -> str:
    return await inbox.keep(event, json.dumps(payload).encode())


async def only(inbox: Inbox, id: str) -> tuple[Build, BuildPlan]:
    (build,) = await inbox.built(id)
    return build, await inbox.bench.builds.plan(build.id)


@pytest.mark.parametrize("name", NAMES)
async def test_a_branchs_name_is_a_name_only(inbox: Inbox, name: str) -> None:
    inbox.repository.commit({FILE: f"on: {{push: {{paths: ['src/**']}}}}\n{JOB}"})
    before = git(inbox.repository.path, "rev-parse", "HEAD")
    after = inbox.repository.commit({"src/a": "x"})
    git(inbox.repository.path, "update-ref", f"refs/heads/{name}", after)
    build, plan = await only(inbox, await inbox.push(after, branch=name, before=before))
    assert (build.branch, build.commit) == (name, after)
    assert plan.contexts["github"]["ref"] == f"refs/heads/{name}"
    (made,) = await inbox.builder.start(inbox.project, ref=name, by="ann")
    assert (await inbox.bench.builds.get(made)).commit == after
    assert not list(inbox.repository.path.parent.rglob("pwned"))


@pytest.mark.parametrize("name", NAMES)
async def test_so_is_a_pull_requests(inbox: Inbox, name: str) -> None:
    inbox.repository.commit({FILE: f"on: {{pull_request: {{paths: ['src/**']}}}}\n{JOB}"})
    build, plan = await only(inbox, await deliver(inbox, "pull_request", pull_request(inbox, name)))
    assert (build.branch, plan.contexts["github"]["head_ref"]) == (name, name)
    assert build.commit == git(inbox.repository.path, "rev-parse", "refs/pull/9/merge")
    assert not list(inbox.repository.path.parent.rglob("pwned"))


async def test_a_path_is_a_path_only(inbox: Inbox) -> None:
    inbox.repository.commit({FILE: f"on: {{pull_request: {{paths: ['$(touch pwned)/*']}}}}\n{JOB}"})
    await only(inbox, await deliver(inbox, "pull_request", pull_request(inbox, "topic", path="$(touch pwned)/a\tb")))
    payload = pull_request(inbox, "other", path="--output=pwned")
    delivery = await inbox.settled(await deliver(inbox, "pull_request", payload))
    assert delivery.reason == f"{FILE}: '--output=pwned' matches none of: $(touch pwned)/*"


@pytest.mark.parametrize(
    ("ref", "event"), [("refs/heads/a..b", "push"), ("refs/heads/a\nb", "push"), ("--all", "push"), ("", "push")]
)
async def test_what_git_has_no_ref_for_is_refused(inbox: Inbox, ref: str, event: str) -> None:
    payload = {"ref": ref, "after": inbox.repository.commit({FILE: f"on: push\n{JOB}"})}
    delivery = await inbox.settled(await deliver(inbox, event, payload))
    assert (delivery.outcome, delivery.builds) in (("failed", ()), ("skipped", ()))


@pytest.mark.parametrize("fork", [True, False])
async def test_a_fork_gets_no_secrets_and_no_trust(inbox: Inbox, fork: bool) -> None:
    settings = ProjectSettings(repository=str(inbox.repository.path), trusted=True)
    await inbox.bench.projects.update("shop", settings)
    inbox.repository.commit({FILE: f"on: pull_request\n{JOB}"})
    payload = pull_request(inbox, "topic")
    if fork:
        payload["pull_request"]["head"]["repo"] = {"full_name": "stranger/shop"}
    build, plan = await only(inbox, await deliver(inbox, "pull_request", payload))
    assert (plan.secretless, plan.settings.trusted) == (fork, not fork)
    await inbox.builder.cancel(build.id, by="ann")
    again = await inbox.bench.builds.plan(await inbox.builder.retry(build.id))
    assert (again.secretless, again.settings.trusted) == (fork, not fork)


async def test_a_fork_that_is_gone_is_one(inbox: Inbox) -> None:
    inbox.repository.commit({FILE: f"on: pull_request\n{JOB}"})
    payload = pull_request(inbox, "topic")
    payload["pull_request"]["head"]["repo"] = None
    _, plan = await only(inbox, await deliver(inbox, "pull_request", payload))
    assert plan.secretless


async def test_types_and_base_branches_are_filtered(inbox: Inbox) -> None:
    on = "on: {pull_request: {types: [labeled], branches: [main]}}"
    inbox.repository.commit({FILE: f"{on}\n{JOB}"})
    payload = pull_request(inbox, "topic")
    reasons = []
    for changed in ({}, {"action": "labeled", "base": "release"}):
        payload["action"] = changed.get("action", "opened")
        payload["pull_request"]["base"]["ref"] = changed.get("base", "main")
        reasons.append((await inbox.settled(await deliver(inbox, "pull_request", payload))).reason)
    assert reasons == [
        f"{FILE}: it wants pull_request of type labeled, not 'opened'",
        f"{FILE}: base branch 'release' matches none of: main",
    ]


async def test_a_start_at_a_tag(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: f"on: workflow_dispatch\n{JOB}"})
    git(inbox.repository.path, "tag", "--annotate", "--message=One", "v1")
    git(inbox.repository.path, "tag", "topic")
    inbox.repository.branch("topic")
    newer = inbox.repository.commit({"README": "new"})
    found = {}
    for ref in ("v1", "refs/tags/topic", "topic", "refs/heads/topic"):
        (made,) = await inbox.builder.start(inbox.project, ref=ref, by="ann")
        found[ref] = (await inbox.bench.builds.get(made)).commit
    assert found == {"v1": commit, "refs/tags/topic": commit, "topic": newer, "refs/heads/topic": newer}
    with pytest.raises(NoSuchCommit, match="there is no branch or tag 'v2'"):
        await inbox.builder.start(inbox.project, ref="v2", by="ann")
