"""Triggers on a real database and real repositories: what becomes of a delivery, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from inbox_bench import FILE, WORKFLOW, Inbox, inbox_on

from actors import Database
from buildsys.core.project import ProjectSettings
from buildsys.core.project_workflow import SETTINGS
from buildsys.objects import triggers
from buildsys.objects.triggers import ATTEMPTS


@pytest.fixture
async def inbox(database: Database, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with inbox_on(database, tmp_path) as inbox:
        yield inbox


async def test_a_push_becomes_a_build(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    (build,) = await inbox.built(await inbox.push(commit))
    assert (build.commit, build.branch, build.event, build.workflow) == (commit, "main", "push", FILE)
    assert (build.title, build.number, build.project) == ("Open the shop", 1, "shop")
    assert [(job.id, job.name) for job in build.jobs] == [("a", "a")]
    plan = await inbox.bench.builds.plan(build.id)
    github, facts = plan.contexts["github"], plan.contexts["buildsys"]
    assert (github["run_id"], github["run_number"], github["sha"]) == (str(build.id), "1", commit)
    assert (github["repository"], github["ref"]) == ("tests/shop", "refs/heads/main")
    assert facts == {"build_id": str(build.id), "build_number": 1, "project": "shop"}


async def test_each_workflow_that_wants_the_push_becomes_a_build(inbox: Inbox) -> None:
    other = WORKFLOW.replace("main", "release")
    commit = inbox.repository.commit({FILE: WORKFLOW, ".github/workflows/b.yml": WORKFLOW, "c.yml": WORKFLOW})
    commit = inbox.repository.commit({".github/workflows/release.yml": other})
    builds = await inbox.built(await inbox.push(commit))
    assert sorted(build.workflow for build in builds) == [".github/workflows/b.yml", FILE]
    assert sorted(build.number for build in builds) == [1, 2]


async def test_a_delivery_replayed_in_parallel_is_one_build(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    await asyncio.gather(*(inbox.push(commit, id="the-one") for _ in range(5)))
    await inbox.built("the-one")
    await inbox.push(commit, id="the-one")
    assert len(await inbox.deliveries.list(inbox.project.id)) == 1
    assert len(await inbox.bench.states()) == 1


async def test_a_delivery_worked_on_twice_is_one_build(inbox: Inbox) -> None:
    id = await inbox.push(inbox.repository.commit({FILE: WORKFLOW}))
    before = await inbox.built(id)
    await inbox.bench.database.pool.execute("UPDATE deliveries SET outcome = NULL, due_at = now()")
    inbox.bench.hints.send("deliveries")
    assert await inbox.built(id) == before
    assert len(await inbox.bench.states()) == 1


async def test_a_repository_that_cannot_be_read_is_tried_again(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    away = inbox.repository.path.with_name("away")
    inbox.repository.path.rename(away)
    id = await inbox.push(commit)
    await inbox.attempts(id, 2)
    assert (await inbox.find(id)).outcome is None
    away.rename(inbox.repository.path)
    assert len(await inbox.built(id)) == 1


async def test_a_repository_that_stays_unreadable_fails_the_delivery_with_its_reason(inbox: Inbox) -> None:
    id = await inbox.push("d" * 40)
    await inbox.attempts(id, ATTEMPTS)
    delivery = await inbox.settled(id)
    assert delivery.outcome == "failed"
    assert delivery.reason
    assert "attempts" not in delivery.reason
    assert await inbox.bench.states() == {}


async def test_what_ends_the_process_again_and_again_is_given_up(inbox: Inbox) -> None:
    await inbox.bench.database.pool.execute("ALTER TABLE deliveries ALTER COLUMN attempts SET DEFAULT 5")
    delivery = await inbox.settled(await inbox.push(inbox.repository.commit({FILE: WORKFLOW})))
    assert (delivery.outcome, delivery.reason) == ("failed", "gave up after 5 attempts")


async def test_without_a_workflow_file_the_projects_settings_count(inbox: Inbox) -> None:
    await inbox.bench.projects.update(
        "shop",
        ProjectSettings(repository=str(inbox.repository.path), build_command="make", deploy_command="make install"),
    )
    (build,) = await inbox.built(await inbox.push(inbox.repository.commit({"README": "hello"})))
    assert build.workflow == SETTINGS
    plan = await inbox.bench.builds.plan(build.id)
    assert [step.name for step in plan.workflow.jobs["build"].steps] == ["Build", "Deploy"]


@pytest.mark.parametrize(
    ("push", "reason"),
    [
        ({"branch": "draft"}, f"{FILE}: branch 'draft' matches none of: main"),
        ({"deleted": True, "after": "0" * 40}, "branch 'main' was deleted"),
        ({"ref": "refs/tags/v1"}, f"{FILE}: it wants branches only"),
    ],
)
async def test_a_push_that_nothing_wants_is_skipped_with_its_reason(
    inbox: Inbox, push: dict[str, Any], reason: str
) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    inbox.repository.branch("draft")
    delivery = await inbox.settled(await inbox.push(commit, **push))
    assert (delivery.outcome, delivery.reason, delivery.builds) == ("skipped", reason, ())


async def test_nothing_to_build_is_skipped_with_its_reason(inbox: Inbox) -> None:
    delivery = await inbox.settled(await inbox.push(inbox.repository.commit({"README": "hello"})))
    reason = "the commit has no workflow file and the project no build command"
    assert (delivery.outcome, delivery.reason) == ("skipped", reason)


async def test_a_ping_is_skipped_and_what_is_no_push_fails(inbox: Inbox) -> None:
    assert (await inbox.settled(await inbox.keep("ping", b"{}"))).outcome == "skipped"
    assert (await inbox.settled(await inbox.keep("push", b"[]"))).outcome == "failed"


async def test_an_error_of_ours_holds_up_no_other_delivery(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    broken = [await inbox.keep("push", b"{}", forge="unheard-of") for _ in range(triggers.AT_ONCE)]
    assert len(await inbox.built(await inbox.push(commit))) == 1
    assert {(await inbox.find(id)).outcome for id in broken} == {None}


async def test_a_burst_is_worked_off(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    ids = [await inbox.push(commit) for _ in range(30)]
    numbers = [build.number for id in ids for build in await inbox.built(id)]
    assert sorted(numbers) == list(range(1, 31))
