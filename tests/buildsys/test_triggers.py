"""Triggers on a real database and real repositories: what becomes of a delivery, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from git_server import Repository
from objects_bench import INSTALLATION, LIMITS, SEAL_KEY, Bench, bench_on, until

from actors import Database, Node, SystemClock
from buildsys.adapters.git import GitReader
from buildsys.adapters.github import GitHub
from buildsys.core.build import Build
from buildsys.core.project import Delivery, Project, ProjectSettings
from buildsys.objects import triggers
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.objects.builder import SETTINGS, Builder, PlanDefaults
from buildsys.objects.log_archive import LogArchive
from buildsys.objects.triggers import ATTEMPTS, Triggers
from buildsys.store.archives import Archives
from buildsys.store.deliveries import Deliveries

FILE = ".github/workflows/ci.yml"
WORKFLOW = "on:\n  push:\n    branches: [main]\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: echo hi\n"


@dataclass
class Inbox:
    """A project whose repository is at `repository`, and a running Triggers actor."""

    bench: Bench
    deliveries: Deliveries
    repository: Repository
    project: Project

    async def push(self, commit: str, *, id: str | None = None, branch: str = "main", **changed: Any) -> str:
        """Keep the delivery of a push; its id."""
        payload = {
            "ref": f"refs/heads/{branch}",
            "after": commit,
            "repository": {"full_name": "tests/shop"},
            "head_commit": {"message": "Open the shop\n\nAt nine."},
        }
        return await self.keep("push", json.dumps(payload | changed).encode(), id=id)

    async def keep(self, event: str, body: bytes, *, id: str | None = None, forge: str = "github") -> str:
        id = id or uuid4().hex
        await self.deliveries.keep(self.project.id, forge=forge, delivery=id, event=event, body=body)
        self.bench.hints.send("deliveries")
        return id

    async def find(self, id: str) -> Delivery:
        (found,) = [one for one in await self.deliveries.list(self.project.id) if one.delivery == id]
        return found

    async def settled(self, id: str) -> Delivery:
        async def is_settled() -> bool:
            return (await self.find(id)).outcome is not None

        await until(is_settled)
        return await self.find(id)

    async def built(self, id: str) -> list[Build]:
        delivery = await self.settled(id)
        assert (delivery.outcome, delivery.reason) == ("built", None)
        return [await self.bench.builds.get(build) for build in delivery.builds]

    async def attempts(self, id: str, count: int) -> None:
        """Let so many attempts begin, without the pauses between them: all but the last are over."""
        await until(lambda: self._pressed(id, count))

    async def _pressed(self, id: str, count: int) -> bool:
        row = await self.bench.database.pool.fetchrow(
            "UPDATE deliveries SET due_at = now() WHERE delivery = $1 RETURNING attempts", id
        )
        self.bench.hints.send("deliveries")
        return bool(row["attempts"] >= count)


@pytest.fixture
async def inbox(database: Database, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with bench_on(database) as bench:
        repository = Repository(tmp_path / "shop")
        project = await bench.projects.create("shop", ProjectSettings(repository=str(repository.path)))
        inbox = Inbox(bench, Deliveries(database=database), repository, project)
        node = Node(database=database, id="one", address="http://127.0.0.1:1", cluster_key="k", clock=SystemClock())
        builds = node.namespace(
            "build",
            BuildBuddy,
            lambda ctx: BuildBuddy(
                ctx,
                projects=bench.projects,
                assignments=bench.assignments,
                hints=bench.hints,
                limits=LIMITS,
                seal_key=SEAL_KEY,
                archive=LogArchive(
                    logs=bench.logs,
                    archives=Archives(database=database, key=SEAL_KEY),
                    blobs=None,
                    installation=INSTALLATION,
                ),
            ),
        )
        builder = Builder(
            builds=bench.builds,
            buddies=builds,
            repository=GitReader(cache=tmp_path / "cache", allow_local=True),
            hints=bench.hints,
            defaults=PlanDefaults(images={}, image=None, time_limit=60.0),
        )
        inboxes = node.namespace(
            "triggers",
            Triggers,
            lambda ctx: Triggers(
                ctx,
                deliveries=inbox.deliveries,
                projects=bench.projects,
                builder=builder,
                forges={"github": GitHub()},
                hints=bench.hints,
            ),
        )
        async with node:
            await inboxes.ensure(triggers.SINGLETON)
            yield inbox


async def test_a_push_becomes_a_build(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: WORKFLOW})
    (build,) = await inbox.built(await inbox.push(commit))
    assert (build.commit, build.branch, build.event, build.workflow) == (commit, "main", "push", FILE)
    assert (build.title, build.number, build.project) == ("Open the shop", 1, "shop")
    assert [(job.id, [step.name for step in job.steps]) for job in build.jobs] == [("a", ["Set up job", "Run echo hi"])]


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


async def test_a_wrong_workflow_file_fails_with_the_place(inbox: Inbox) -> None:
    id = await inbox.push(inbox.repository.commit({FILE: WORKFLOW.replace("steps:", "stages:")}))
    delivery = await inbox.settled(id)
    assert delivery.outcome == "failed"
    assert (delivery.reason or "").startswith(f"{FILE}:5:3: jobs.a: missing 'steps'")


async def test_without_a_workflow_file_the_projects_settings_count(inbox: Inbox) -> None:
    await inbox.bench.projects.update(
        "shop",
        ProjectSettings(repository=str(inbox.repository.path), build_command="make", deploy_command="make install"),
    )
    (build,) = await inbox.built(await inbox.push(inbox.repository.commit({"README": "hello"})))
    assert build.workflow == SETTINGS
    assert [step.name for step in build.jobs[0].steps] == ["Set up job", "Build", "Deploy"]


@pytest.mark.parametrize(
    ("push", "reason"),
    [
        ({"branch": "draft"}, f"{FILE}: branch 'draft' matches none of: main"),
        ({"deleted": True, "after": "0" * 40}, "branch 'main' was deleted"),
        ({"ref": "refs/tags/v1"}, "tags start no builds yet: v1"),
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
