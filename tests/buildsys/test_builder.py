"""Which builds an event, or a person, makes of a real repository, and what is fixed in them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from git_server import git
from inbox_bench import FILE, Inbox, inbox_on

from actors import Database
from buildsys.core.build import Build
from buildsys.core.planning import BuildPlan
from buildsys.errors import Invalid

JOB = "jobs: {a: {runs-on: linux, steps: [run: echo hi]}}"


@pytest.fixture
async def inbox(database: Database, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with inbox_on(database, tmp_path) as inbox:
        yield inbox


async def plan_of(inbox: Inbox, build: UUID) -> BuildPlan:
    return await inbox.bench.builds.plan(build)


async def only(inbox: Inbox, id: str) -> tuple[Build, BuildPlan]:
    (build,) = await inbox.built(id)
    return build, await plan_of(inbox, build.id)


async def refused(inbox: Inbox, id: str) -> str:
    """Why nothing was built."""
    delivery = await inbox.settled(id)
    assert delivery.outcome == "skipped"
    return delivery.reason or ""


class PullRequest:
    """A pull request of the branch `topic` into `main`; `merge` is what the forge made of both."""

    def __init__(self, inbox: Inbox, workflow: str, **files: str) -> None:
        self._inbox = inbox
        repository = inbox.repository
        self.base = repository.commit({FILE: workflow, "README": "one"})
        repository.branch("topic")
        self.head = repository.commit(files or {"src/a": "two"})
        git(repository.path, "checkout", "--quiet", "main")
        self.merge = ""

    def merged(self) -> PullRequest:
        path = self._inbox.repository.path
        git(path, "checkout", "--quiet", "--detach", "main")
        git(path, "merge", "--quiet", "--no-ff", "--message=Merge", "topic")
        self.merge = git(path, "rev-parse", "HEAD")
        git(path, "update-ref", "refs/pull/7/merge", self.merge)
        git(path, "checkout", "--quiet", "main")
        return self

    async def deliver(self, action: str = "opened", *, fork: bool = False) -> str:
        base, head = {"full_name": "tests/shop"}, {"full_name": "stranger/shop" if fork else "tests/shop"}
        payload = {
            "action": action,
            "number": 7,
            "pull_request": {
                "title": "Add $(reboot)",
                "base": {"ref": "main", "sha": self.base, "repo": base},
                "head": {"ref": "topic", "sha": self.head, "repo": head},
            },
            "repository": base,
            "sender": {"login": "mona"},
        }
        return await self._inbox.keep("pull_request", json.dumps(payload).encode())


class TestPushes:
    async def test_of_a_tag(self, inbox: Inbox) -> None:
        commit = inbox.repository.commit({FILE: f"on: {{push: {{tags: ['v*']}}}}\n{JOB}"})
        git(inbox.repository.path, "tag", "v1")
        build, plan = await only(inbox, await inbox.push(commit, ref="refs/tags/v1"))
        assert (build.branch, build.commit) == ("v1", commit)
        assert (plan.contexts["github"]["ref"], plan.contexts["github"]["ref_type"]) == ("refs/tags/v1", "tag")
        assert await refused(inbox, await inbox.push(commit)) == f"{FILE}: it wants tags only"

    async def test_that_changes_files_that_are_wanted(self, inbox: Inbox) -> None:
        before = inbox.repository.commit({FILE: f"on: {{push: {{paths: ['src/**']}}}}\n{JOB}"})
        other = inbox.repository.commit({"README": "one"})
        after = inbox.repository.commit({"src/a": "two"})
        assert len(await inbox.built(await inbox.push(after, before=other))) == 1
        reason = await refused(inbox, await inbox.push(other, before=before))
        assert reason == f"{FILE}: 'README' matches none of: src/**"

    @pytest.mark.parametrize("before", ["0" * 40, "d" * 40, None])
    async def test_whose_changes_cannot_be_told_are_wanted(self, inbox: Inbox, before: str | None) -> None:
        commit = inbox.repository.commit({FILE: f"on: {{push: {{paths: ['src/**']}}}}\n{JOB}"})
        assert len(await inbox.built(await inbox.push(commit, before=before))) == 1

    async def test_that_ask_for_no_build(self, inbox: Inbox) -> None:
        commit = inbox.repository.commit({FILE: f"on: push\n{JOB}"})
        id = await inbox.push(commit, head_commit={"message": "Tidy up [skip ci]"})
        assert await refused(inbox, id) == f"{FILE}: the commit's message says [skip ci]"

    async def test_know_the_forge_that_sent_them(self, inbox: Inbox) -> None:
        commit = inbox.repository.commit({FILE: f"on: push\n{JOB}"})
        page = {"full_name": "tests/shop", "html_url": "https://ghe.example/tests/shop"}
        _, plan = await only(inbox, await inbox.push(commit, repository=page))
        github = plan.contexts["github"]
        assert (github["server_url"], github["repository"]) == ("https://ghe.example", "tests/shop")
        assert github["api_url"] == "https://ghe.example/api/v3"


class TestPullRequests:
    async def test_are_built_as_the_merge_of_both_branches(self, inbox: Inbox) -> None:
        pull = PullRequest(inbox, f"on: pull_request\n{JOB}").merged()
        build, plan = await only(inbox, await pull.deliver())
        assert (build.commit, build.branch, build.title) == (pull.merge, "topic", "Add $(reboot)")
        github = plan.contexts["github"]
        assert (github["sha"], github["ref"]) == (pull.merge, "refs/pull/7/merge")
        assert (github["base_ref"], github["head_ref"], github["actor"]) == ("main", "topic", "mona")

    async def test_are_built_as_their_head_where_there_is_no_merge(self, inbox: Inbox) -> None:
        pull = PullRequest(inbox, f"on: pull_request\n{JOB}")
        build, _ = await only(inbox, await pull.deliver())
        assert build.commit == pull.head

    async def test_wait_for_the_merge_of_their_head(self, inbox: Inbox) -> None:
        pull = PullRequest(inbox, f"on: pull_request\n{JOB}").merged()
        git(inbox.repository.path, "checkout", "--quiet", "topic")
        pull.head = inbox.repository.commit({"src/a": "three"})
        git(inbox.repository.path, "checkout", "--quiet", "main")
        id = await pull.deliver("synchronize")
        await inbox.attempts(id, 2)
        assert (await inbox.find(id)).outcome is None
        pull.merged()
        await inbox.attempts(id, 3)
        (build,) = await inbox.built(id)
        assert build.commit == pull.merge

    async def test_are_looked_through_for_files_that_are_wanted(self, inbox: Inbox) -> None:
        pull = PullRequest(inbox, f"on: {{pull_request: {{paths-ignore: ['src/**']}}}}\n{JOB}").merged()
        assert await refused(inbox, await pull.deliver()) == f"{FILE}: 'src/a' is ignored by: src/**"

    @pytest.mark.parametrize("fork", [True, False])
    async def test_from_forks_have_neither_secrets_nor_trust(self, inbox: Inbox, fork: bool) -> None:
        trusted = msgspec.structs.replace(inbox.project.settings, trusted=True)
        await inbox.bench.projects.update(inbox.project.name, trusted)
        pull = PullRequest(inbox, f"on: pull_request\n{JOB}")
        _, plan = await only(inbox, await pull.deliver(fork=fork))
        assert (plan.secretless, plan.settings.trusted) == (fork, not fork)


class TestStarts:
    DISPATCH = "on: {workflow_dispatch: {inputs: {level: {type: choice, options: [low, high]}, dry: {type: boolean}}}}"

    async def start(self, inbox: Inbox, **inputs: Any) -> list[Build]:
        made = await inbox.builder.start(inbox.project, inputs=inputs, by="ann")
        return [await inbox.bench.builds.get(build) for build in made]

    async def test_dispatch_the_workflows_that_take_it(self, inbox: Inbox) -> None:
        inbox.repository.commit({FILE: f"{self.DISPATCH}\n{JOB}"})
        (build,) = await self.start(inbox, level="high", dry="true")
        plan = await plan_of(inbox, build.id)
        assert build.event == "workflow_dispatch"
        assert plan.contexts["inputs"] == {"level": "high", "dry": True}
        assert plan.contexts["github"]["event"]["inputs"] == {"level": "high", "dry": "true"}
        assert plan.contexts["github"]["actor"] == "ann"

    async def test_have_all_inputs_in_their_event_as_texts(self, inbox: Inbox) -> None:
        inputs = "lvl: {default: b}, dry: {type: boolean, default: true}, count: {type: number, default: 3}, note: {}"
        inbox.repository.commit({FILE: f"on: {{workflow_dispatch: {{inputs: {{{inputs}}}}}}}\n{JOB}"})
        (build,) = await self.start(inbox, count="4")
        contexts = (await plan_of(inbox, build.id)).contexts
        assert contexts["inputs"] == {"lvl": "b", "dry": True, "count": 4, "note": ""}
        assert contexts["github"]["event"]["inputs"] == {"lvl": "b", "dry": "true", "count": "4", "note": ""}

    async def test_tell_of_their_repository_as_its_forge_would(self, inbox: Inbox) -> None:
        commit = inbox.repository.commit({FILE: f"on: push\n{JOB}"})
        inbox.repository.branch("topic")
        git(inbox.repository.path, "checkout", "--quiet", "main")
        for ref in (None, "topic"):
            (made,) = await inbox.builder.start(inbox.project, ref=ref, by="ann")
            github = (await plan_of(inbox, made)).contexts["github"]
            event = github["event"]
            assert event["repository"]["default_branch"] == "main"
            assert event["repository"]["full_name"] == github["repository"] == "shop"
            assert "html_url" not in event["repository"]
            assert (event["ref"], event["after"]) == (f"refs/heads/{ref or 'main'}", commit)
            assert event["before"] == "0" * 40
            assert event["head_commit"] == {"id": commit, "message": "Change files"}
            assert (event["sender"]["login"], "inputs" in event) == ("ann", False)

    async def test_of_a_message_that_asks_for_no_build_are_built(self, inbox: Inbox) -> None:
        inbox.repository.commit({FILE: f"on: push\n{JOB}"})
        git(inbox.repository.path, "commit", "--quiet", "--amend", "--message=Tidy up [skip ci]")
        (build,) = await self.start(inbox)
        assert build.title == "Tidy up [skip ci]"

    async def test_are_a_push_to_the_other_workflows(self, inbox: Inbox) -> None:
        push = ".github/workflows/push.yml"
        inbox.repository.commit({FILE: f"{self.DISPATCH}\n{JOB}", push: f"on: push\n{JOB}"})
        builds = await self.start(inbox)
        assert sorted((build.workflow, build.event) for build in builds) == [
            (FILE, "workflow_dispatch"),
            (push, "manual"),
        ]
        (build,) = (build for build in builds if build.workflow == push)
        assert (await plan_of(inbox, build.id)).contexts["github"]["event_name"] == "push"
        assert [build.workflow for build in await self.start(inbox, level="low")] == [FILE]

    @pytest.mark.parametrize(
        ("inputs", "reason"),
        [
            ({"level": "middle"}, f"{FILE}: input 'level': expected one of low, high, found 'middle'"),
            ({"levle": "low"}, f"{FILE}: unknown input 'levle'; did you mean 'level'?"),
        ],
    )
    async def test_with_wrong_inputs_are_refused(self, inbox: Inbox, inputs: dict[str, str], reason: str) -> None:
        inbox.repository.commit({FILE: f"{self.DISPATCH}\n{JOB}"})
        with pytest.raises(Invalid) as caught:
            await self.start(inbox, **inputs)
        assert str(caught.value) == reason
        assert await inbox.bench.states() == {}

    async def test_with_inputs_that_nothing_takes_are_refused(self, inbox: Inbox) -> None:
        inbox.repository.commit({FILE: f"on: push\n{JOB}"})
        with pytest.raises(Invalid, match="it runs on push, not on workflow_dispatch"):
            await self.start(inbox, level="low")


async def test_variables_and_the_runs_own_name(inbox: Inbox) -> None:
    await inbox.variables.set("CITY", "Ulm", project=inbox.project, by="ann")
    text = "run-name: '${{ vars.CITY }} by ${{ github.ref_name }}'\non: push\n" + JOB
    build, plan = await only(inbox, await inbox.push(inbox.repository.commit({FILE: text})))
    assert (build.title, plan.contexts["vars"]) == ("Ulm by main", {"CITY": "Ulm"})


async def test_a_workflow_that_calls_another_has_it_in_its_plan(inbox: Inbox) -> None:
    called = ".github/workflows/called.yml"
    text = f"on: push\njobs: {{b: {{uses: ./{called}}}}}"
    commit = inbox.repository.commit({FILE: text, called: f"on: workflow_call\n{JOB}"})
    build, plan = await only(inbox, await inbox.push(commit))
    assert (build.workflow, list(plan.called), [job.id for job in build.jobs]) == (FILE, [called], ["b"])


async def test_another_attempt_has_the_same_plan_as_another_build(inbox: Inbox) -> None:
    build, plan = await only(inbox, await inbox.push(inbox.repository.commit({FILE: f"on: push\n{JOB}"})))
    await inbox.builder.cancel(build.id, by="ann")
    again = await inbox.builder.retry(build.id)
    repeated = await plan_of(inbox, again)
    github = repeated.contexts["github"]
    assert (github["run_id"], github["run_number"], github["run_attempt"]) == (str(again), "1", "2")
    assert repeated.contexts["buildsys"]["build_id"] == str(again)
    assert repeated.workflow == plan.workflow
    assert [job.id for job in (await inbox.bench.builds.get(again)).jobs] == ["a"]


async def test_hostile_texts_stay_as_they_are(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: f"on: push\n{JOB}"})
    build, plan = await only(inbox, await inbox.push(commit, head_commit={"message": "x\0\ud83d\ude00'; DROP"}))
    assert build.title == "x\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}'; DROP"
    assert plan.contexts["github"]["event"]["head_commit"]["message"] == "x\0\N{GRINNING FACE}'; DROP"
