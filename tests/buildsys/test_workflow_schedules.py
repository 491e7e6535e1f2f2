"""Schedules by a clock that the tests move: what comes when, once, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from git_server import git
from inbox_bench import FILE, Inbox, inbox_again, inbox_on
from objects_bench import until

from actors import Database
from actors.testing import FakeClock, evict, run_alarm, run_in_actor
from buildsys.core.build import Build
from buildsys.core.project import Delivery, ProjectSettings
from buildsys.objects.schedules import SETTLING, Schedules

OTHER = ".github/workflows/other.yml"
JOB = "jobs: {a: {runs-on: linux, steps: [run: echo hi]}}"
START = datetime(2030, 1, 1, 0, 57, tzinfo=UTC)
ONE = datetime(2030, 1, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TO_ONE = 180.0
"""Seconds from the start."""


@pytest.fixture
async def clock(database: Database) -> FakeClock:
    clock = FakeClock(START)
    await clock.install(database)
    return clock


@pytest.fixture
async def inbox(database: Database, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Inbox]:
    async with inbox_on(database, tmp_path, clock=clock) as inbox:
        yield inbox


def at(*crons: str, zone: str = "UTC") -> str:
    """A workflow that is scheduled so."""
    items = ", ".join(f"{{cron: '{cron}', timezone: {zone}}}" for cron in crons)
    return f"on: {{schedule: [{items}]}}\n{JOB}"


def actor(inbox: Inbox) -> Schedules:
    return inbox.schedules.get(str(inbox.project.id))


async def times(inbox: Inbox) -> list[datetime]:
    """When the schedules come next."""

    async def look(schedules: Schedules) -> list[datetime]:
        return sorted(schedules._next.values())

    return await run_in_actor(actor(inbox), look)


async def learned(inbox: Inbox) -> list[datetime]:
    """The times, once a look at the default branch is over."""
    await actor(inbox).look()
    await run_alarm(actor(inbox), "learn")
    return await times(inbox)


async def come(inbox: Inbox, count: int) -> list[Delivery]:
    """The first deliveries of schedules, oldest first, once there are so many of them and each is settled."""

    async def found() -> list[Delivery]:
        kept = [one for one in await inbox.deliveries.list(inbox.project.id) if one.event == "schedule"]
        return kept if len(kept) >= count and all(one.outcome for one in kept) else []

    deliveries: list[Delivery] = await until(found)
    assert len(deliveries) == count
    return deliveries[::-1]


async def built(inbox: Inbox, delivery: Delivery) -> Build:
    assert (delivery.outcome, delivery.reason) == ("built", None)
    (id,) = delivery.builds
    return await inbox.bench.builds.get(id)


async def nothing_more(inbox: Inbox, count: int) -> None:
    """No time has been put into the inbox beside those."""
    await run_in_actor(actor(inbox), _nothing)
    assert len([one for one in await inbox.deliveries.list(inbox.project.id) if one.event == "schedule"]) == count


async def _nothing(_schedules: Schedules) -> None:
    """A turn behind all turns before it."""


class TestComing:
    async def test_a_schedule_builds_the_head_of_the_default_branch(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 1 * * *"), OTHER: f"on: push\n{JOB}"})
        assert await learned(inbox) == [ONE]
        head = inbox.repository.commit({"README": "newer"})
        inbox.repository.branch("topic")
        inbox.repository.commit({"README": "not on main"})
        git(inbox.repository.path, "checkout", "--quiet", "main")
        await clock.advance(TO_ONE - 1)
        await nothing_more(inbox, 0)
        await clock.advance(1)
        (delivery,) = await come(inbox, 1)
        assert (delivery.forge, delivery.delivery[:17]) == ("buildsys", "2030-01-01T01:00Z")
        build = await built(inbox, delivery)
        assert (build.workflow, build.event, build.branch) == (FILE, "schedule", "main")
        assert build.commit == head
        github = (await inbox.bench.builds.plan(build.id)).contexts["github"]
        assert (github["event_name"], github["ref"]) == ("schedule", "refs/heads/main")
        event = dict(github["event"])
        repository = event.pop("repository")
        assert (repository["full_name"], repository["default_branch"]) == ("shop", "main")
        assert event == {"schedule": "0 1 * * *", "workflow": FILE}
        assert await times(inbox) == [ONE + 24 * HOUR]

    async def test_each_schedule_of_each_file_is_a_build(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 * * * *", "0 1 * * *"), OTHER: at("0 * * * *")})
        assert len(await learned(inbox)) == 3
        await clock.advance(TO_ONE)
        builds = [await built(inbox, one) for one in await come(inbox, 3)]
        assert sorted(build.workflow for build in builds) == [FILE, FILE, OTHER]

    async def test_every_minute_is_every_five(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("* * * * *")})
        assert await learned(inbox) == [START + timedelta(minutes=1)]
        await clock.advance(60)
        await come(inbox, 1)
        assert await times(inbox) == [START + timedelta(minutes=6)]

    async def test_a_time_zones_clock_counts(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("59 9 * * *", zone="Asia/Tokyo")})
        assert await learned(inbox) == [ONE - timedelta(minutes=1)]


class TestOnce:
    async def test_a_time_that_is_put_twice_is_one_build(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 * * * *")})
        first = await learned(inbox)
        await clock.advance(TO_ONE)
        await come(inbox, 1)

        async def forget(schedules: Schedules) -> None:
            """As though the process had died between the delivery and its own commit."""
            schedules._keep(dict.fromkeys(schedules._next, first[0]))

        await run_in_actor(actor(inbox), forget)
        await until(lambda: _is(inbox, [ONE + HOUR]))
        await nothing_more(inbox, 1)
        assert len(await inbox.bench.states()) == 1

    async def test_only_the_newest_that_was_missed_is_made_up_for(
        self, database: Database, tmp_path: Path, clock: FakeClock
    ) -> None:
        async with inbox_on(database, tmp_path, clock=clock) as inbox:
            inbox.repository.commit({FILE: at("0 * * * *"), OTHER: at("0 0 1 2 *")})
            await learned(inbox)
        await clock.advance(20 * 24 * 3600)
        async with inbox_again(database, tmp_path, clock, inbox) as inbox:
            (delivery,) = await come(inbox, 1)
            assert delivery.delivery.startswith("2030-01-21T00:00Z")
            await until(lambda: _is(inbox, [datetime(2030, 1, 21, 1, tzinfo=UTC), datetime(2030, 2, 1, tzinfo=UTC)]))

    async def test_times_are_kept_over_restarts(self, database: Database, tmp_path: Path, clock: FakeClock) -> None:
        async with inbox_on(database, tmp_path, clock=clock) as inbox:
            inbox.repository.commit({FILE: at("0 * * * *")})
            await learned(inbox)
            await evict(actor(inbox))
            assert await times(inbox) == [ONE]
        await clock.advance(TO_ONE)
        async with inbox_again(database, tmp_path, clock, inbox) as inbox:
            await come(inbox, 1)
            await evict(actor(inbox))
            await nothing_more(inbox, 1)
        async with inbox_again(database, tmp_path, clock, inbox) as inbox:
            await nothing_more(inbox, 1)
            assert await times(inbox) == [ONE + HOUR]


class TestLearning:
    async def test_a_push_to_the_default_branch_is_looked_at(self, inbox: Inbox, clock: FakeClock) -> None:
        commit = inbox.repository.commit({FILE: at("0 * * * *")})
        await inbox.settled(await inbox.push(commit))
        await clock.advance(SETTLING.total_seconds())
        await until(lambda: _is(inbox, [ONE]))

    @pytest.mark.parametrize("ref", ["refs/heads/topic", "refs/tags/main"])
    async def test_another_push_is_not(self, inbox: Inbox, ref: str) -> None:
        commit = inbox.repository.commit({FILE: at("0 * * * *")})
        repository = {"full_name": "tests/shop", "default_branch": "main"}
        await inbox.settled(await inbox.push(commit, ref=ref, repository=repository))

        async def planned(schedules: Schedules) -> dict[str, Any]:
            return schedules.ctx.schedules()

        assert await run_in_actor(actor(inbox), planned) == {}

    async def test_a_schedule_goes_with_its_file(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 * * * *"), OTHER: at("0 2 * * *")})
        assert len(await learned(inbox)) == 2
        (inbox.repository.path / FILE).unlink()
        inbox.repository.commit({})
        assert await learned(inbox) == [ONE + HOUR]
        await clock.advance(TO_ONE)
        await nothing_more(inbox, 0)

    async def test_one_that_has_gone_unheard_of_says_so(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 * * * *"), OTHER: at("0 5 * * *")})
        await learned(inbox)
        inbox.repository.commit({FILE: at("30 * * * *")})
        await clock.advance(TO_ONE)
        (delivery,) = await come(inbox, 1)
        assert (delivery.outcome, delivery.reason) == ("skipped", f"{FILE}: no schedule of it is '0 * * * *'")
        await until(lambda: _is(inbox, [ONE + HOUR / 2, ONE + 4 * HOUR]))

    async def test_one_whose_file_stays_goes_on_from_where_it_was(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 * * * *")})
        first = await learned(inbox)
        await clock.advance(60)
        inbox.repository.commit({"README": "new"})
        assert await learned(inbox) == first

    async def test_a_wrong_file_has_no_schedule(self, inbox: Inbox) -> None:
        inbox.repository.commit({FILE: at("0 * * * *") + "\nstep: 1", OTHER: at("0 2 * * *")})
        assert await learned(inbox) == [ONE + HOUR]

    async def test_a_project_that_is_gone_has_none(self, inbox: Inbox, clock: FakeClock) -> None:
        inbox.repository.commit({FILE: at("0 * * * *")})
        await learned(inbox)
        await inbox.bench.projects.delete("shop")
        await clock.advance(TO_ONE)
        await until(lambda: _is(inbox, []))
        assert await learned(inbox) == []

    async def test_a_repository_elsewhere_is_read(self, inbox: Inbox, tmp_path: Path) -> None:
        inbox.repository.commit({FILE: at("0 * * * *")})
        await learned(inbox)
        await inbox.bench.projects.update("shop", ProjectSettings(repository="", build_command="make"))
        assert await learned(inbox) == []


async def _is(inbox: Inbox, expected: list[datetime]) -> bool:
    return await times(inbox) == expected
