"""A log on its way from the database into the blob store, and out of it: the same at any moment and after any crash."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from archive_bench import (
    ARCHIVING,
    BATCHES,
    STILL,
    Failing,
    Late,
    Slow,
    archive_of,
    archived,
    build_log,
    in_database,
    keys,
    put_off,
    ring,
    whole,
)
from objects_bench import INSTALLATION, Bench, Objects, until

from actors import Node, SystemClock
from actors.testing import evict, run_in_actor
from buildsys.adapters.files import FileBlobs
from buildsys.core.archive import BadArchive
from buildsys.core.blobs import BlobMissing
from buildsys.objects import retention
from buildsys.objects.log_archive import LogArchive, LogDeleted
from buildsys.objects.retention import Retention
from buildsys.store.archives import Archive, Rules, archive_columns
from buildsys.store.queries import QUERIES

OLD = retention.STRAY + timedelta(hours=1)
NEARLY = retention.STRAY - timedelta(hours=1)


@pytest.fixture
def blobs(tmp_path: Path) -> Failing:
    return Failing(FileBlobs(tmp_path / "blobs"))


@pytest.fixture
async def one(bench: Bench, blobs: Failing) -> AsyncIterator[Objects]:
    async with bench.nodes(blobs=blobs, limits=ARCHIVING) as nodes:
        yield nodes.declared[0]


@pytest.fixture
def archive(bench: Bench, blobs: Failing) -> LogArchive:
    return archive_of(bench, blobs)


async def test_an_archived_log_is_the_same(bench: Bench, one: Objects, archive: LogArchive, blobs: Failing) -> None:
    build, before = await build_log(bench, one)
    await archived(bench, build)
    found = await whole(archive, build)
    assert found[: len(before)] == before
    assert [record.kind for record in found[len(before) :]] == ["step_stopped", "job_stopped", "end"]
    assert len(await keys(blobs)) == 1
    verdict = await bench.verification(blobs).verify(build)
    assert (verdict.state, verdict.lines) == ("complete", BATCHES)


async def test_any_stretch_takes_two_reads(bench: Bench, one: Objects, blobs: Failing) -> None:
    build, _ = await build_log(bench, one)
    await archived(bench, build)
    for after in (0, 1, 50, 120):
        fresh = archive_of(bench, blobs)
        blobs.reads = 0
        found = await fresh.read(build, after=after, size=20)
        assert (found[0].first, blobs.reads) == (after + 1, 2)
        await fresh.read(build, after=after, size=20)
        assert blobs.reads == 3  # the page is remembered
    assert await archive_of(bench, blobs).read(build, after=10_000, size=20) == []


@pytest.mark.parametrize("place", ["put", "after put", "read"])
async def test_a_store_that_is_away_is_waited_out(
    bench: Bench, one: Objects, archive: LogArchive, blobs: Failing, place: str
) -> None:
    blobs.broken = {place}
    build, before = await build_log(bench, one)

    await until(lambda: put_off(bench, build))
    assert (await whole(archive, build))[: len(before)] == before
    assert await in_database(bench, build) > BATCHES
    blobs.broken = set()
    await ring(one, build)
    await archived(bench, build)
    assert (await whole(archive, build))[: len(before)] == before
    assert len(await keys(blobs)) == 1  # what the first attempt left is gone


async def test_it_goes_on_after_a_crash(bench: Bench, one: Objects, archive: LogArchive, blobs: Failing) -> None:
    """After the commit and before the records are deleted: in part, and not at all."""
    blobs.broken = {"put"}
    build, before = await build_log(bench, one)
    await until(lambda: put_off(bench, build))
    blobs.broken = set()
    written = await archive.write(build)
    assert written is not None
    await bench.database.execute(QUERIES["archive_insert"], **archive_columns(build, written))
    assert (await whole(archive, build))[: len(before)] == before
    assert await bench.logs.drop(build, size=40) == 40
    assert (await whole(archive, build))[: len(before)] == before
    await evict(one.buddy(build))
    await ring(one, build)
    await archived(bench, build)
    assert (await whole(archive, build))[: len(before)] == before
    assert await keys(blobs) == [written.key]


async def test_who_is_late_deletes_no_committed_archive(bench: Bench, one: Objects, blobs: Failing) -> None:
    """A node that stands still before its first word to the store, while another takes over and ends the work."""
    blobs.broken = {"put", "keys"}
    build, before = await build_log(bench, one)
    await until(lambda: put_off(bench, build))
    blobs.broken = set()
    late = Late(blobs)
    writing = asyncio.create_task(archive_of(bench, late).write(build))
    await late.asked.wait()
    await ring(one, build)
    await archived(bench, build)
    late.free.set()
    assert await writing is None
    assert (await whole(archive_of(bench, blobs), build))[: len(before)] == before
    assert len(await keys(blobs)) == 1


async def test_who_commits_too_late_leaves_nothing(
    bench: Bench, one: Objects, archive: LogArchive, blobs: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another archive is committed between the last look at the database and the commit of this one."""
    committed: list[str | None] = []
    write = LogArchive.write

    async def overtaken(self: LogArchive, build: UUID) -> Archive | None:
        mine = await write(self, build)
        if not committed:
            other = await write(self, build)
            assert other is not None
            await bench.database.execute(QUERIES["archive_insert"], **archive_columns(build, other))
            committed.append(other.key)
        return mine

    monkeypatch.setattr(LogArchive, "write", overtaken)
    build, before = await build_log(bench, one)
    await archived(bench, build)
    assert (await whole(archive, build))[: len(before)] == before
    assert await keys(blobs) == committed


@pytest.mark.parametrize("stands", ["none", "this", "another"])
@pytest.mark.parametrize("is_over", [False, True])
async def test_only_what_is_certainly_not_committed_is_discarded(
    bench: Bench, one: Objects, archive: LogArchive, blobs: Failing, stands: str, is_over: bool
) -> None:
    blobs.broken = {"put"}
    build, _ = await build_log(bench, one)
    await until(lambda: put_off(bench, build))
    blobs.broken = set()
    this, another = await archive.write(build), await archive.write(build)
    assert this is not None
    assert another is not None
    if stands != "none":
        row = archive_columns(build, this if stands == "this" else another)
        await bench.database.execute(QUERIES["archive_insert"], **row)
    await archive.discard(build, this, is_over=is_over)
    is_kept = stands == "this" or (stands == "none" and not is_over)
    assert set(await keys(blobs)) == ({this.key, another.key} if is_kept else {another.key})


@pytest.mark.parametrize("error", [BlobMissing("gone"), BadArchive("torn")])
async def test_an_object_that_does_not_read_back_is_written_again(
    bench: Bench, one: Objects, archive: LogArchive, blobs: Failing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def refuse(key: str, start: int, length: int) -> bytes:
        raise error

    monkeypatch.setattr(blobs, "read", refuse)
    build, before = await build_log(bench, one)
    await until(lambda: put_off(bench, build))
    assert not await has_failed(bench, build)
    monkeypatch.undo()
    await ring(one, build)
    await archived(bench, build)
    assert (await whole(archive, build))[: len(before)] == before


async def test_a_database_that_stands_still_slows_the_archive(
    bench: Bench, one: Objects, archive: LogArchive, blobs: Failing, postgres_server: str
) -> None:
    """In the middle of the log, which is not in the store before all of it was read."""
    blobs.broken = {"put"}
    build, before = await build_log(bench, one)
    await until(lambda: put_off(bench, build))
    slow = Slow(blobs, Path(postgres_server) / "data")
    loop = asyncio.get_running_loop()
    began = loop.time()
    written = await archive_of(bench, slow).write(build)
    assert loop.time() - began >= STILL
    assert written is not None
    await bench.database.execute(QUERIES["archive_insert"], **archive_columns(build, written))
    assert await bench.logs.drop(build, size=10_000) > BATCHES
    blobs.broken = set()
    assert (await whole(archive, build))[: len(before)] == before


async def test_records_of_a_log_without_archive_are_never_dropped(bench: Bench) -> None:
    async with bench.nodes() as nodes:
        build, _ = await build_log(bench, nodes.declared[0])
    stored = await in_database(bench, build)
    assert await bench.logs.drop(build, size=1000) == 0
    assert await in_database(bench, build) == stored


async def has_failed(bench: Bench, build: UUID) -> bool:
    attempts: int | None = await bench.database.pool.fetchval(
        "SELECT attempt FROM actors.schedules WHERE name = $1 AND schedule = 'archive_log'", str(build)
    )
    return bool(attempts)


class TestRetention:
    @pytest.fixture
    async def look(self, bench: Bench, blobs: Failing) -> Any:
        """Let a Retention with these rules look once."""

        async def looked(namespace: str) -> bool:
            query = "SELECT due_at > now() + interval '50 minutes' FROM actors.schedules WHERE namespace = $1"
            return bool(await bench.database.pool.fetchval(query, namespace))

        async def look(*, last: timedelta | None = retention.PAUSE, **rules: Any) -> None:
            """Where `last` is given: as if its only look had been so long ago."""
            database = bench.database
            node = Node(
                database=database, id=uuid4().hex, address="http://127.0.0.1:1", cluster_key="k", clock=SystemClock()
            )
            space = node.namespace(
                "retention",
                Retention,
                lambda ctx: Retention(ctx, archives=bench.archives, archive=bench.archive(blobs), rules=Rules(**rules)),
            )
            async with node:
                await space.ensure(retention.SINGLETON)

                async def again(actor: Any) -> None:
                    now = actor.ctx.clock.now()
                    if last is not None:
                        actor.ctx.storage.put_many({"looked": now - last, "gaps": []})
                    actor.ctx.set_alarm(now)

                await until(lambda: looked(space.name))
                await run_in_actor(space.get(retention.SINGLETON), again)
                await until(lambda: looked(space.name))

        return look

    async def logs(self, bench: Bench, one: Objects, count: int) -> list[UUID]:
        """Archived logs of one project, the oldest first."""
        project = await bench.project(f"shop-{uuid4().hex[:8]}")
        made = [(await build_log(bench, one, project=project))[0] for _ in range(count)]
        for build in made:
            await archived(bench, build)
        return made

    async def kept(self, archive: LogArchive, builds: list[UUID]) -> list[bool]:
        found: list[bool] = []
        for build in builds:
            try:
                found.append(bool(await archive.read(build, after=0, size=1)))
            except LogDeleted:
                found.append(False)
        return found

    async def test_without_rules_all_is_kept(
        self, bench: Bench, one: Objects, archive: LogArchive, look: Any, blobs: Failing
    ) -> None:
        builds = await self.logs(bench, one, 2)
        await look()
        assert await self.kept(archive, builds) == [True, True]
        assert len(await keys(blobs)) == 2

    async def test_by_count(self, bench: Bench, one: Objects, archive: LogArchive, look: Any, blobs: Failing) -> None:
        builds, others = await self.logs(bench, one, 3), await self.logs(bench, one, 1)
        await look(count=2)
        assert await self.kept(archive, [*builds, *others]) == [False, True, True, True]
        assert len(await keys(blobs)) == 3
        with pytest.raises(LogDeleted, match="by the rule about count"):
            await archive.read(builds[0], after=0)
        with pytest.raises(LogDeleted, match="by the rule about count"):
            await bench.verification(blobs).verify(builds[0])

    async def test_by_age(self, bench: Bench, one: Objects, archive: LogArchive, look: Any) -> None:
        builds = await self.logs(bench, one, 2)
        await bench.database.pool.execute(
            "UPDATE builds SET stopped_at = now() - interval '2 days' WHERE id = $1", builds[1]
        )
        await look(age=86400.0)
        assert await self.kept(archive, builds) == [True, False]

    async def test_by_size(self, bench: Bench, one: Objects, archive: LogArchive, look: Any) -> None:
        builds = await self.logs(bench, one, 3)
        size = await bench.database.pool.fetchval("SELECT max(size) FROM log_archives")
        await look(size=2 * size)
        assert await self.kept(archive, builds) == [False, True, True]

    async def test_what_a_crash_left_is_finished(
        self, bench: Bench, one: Objects, archive: LogArchive, look: Any, blobs: Failing
    ) -> None:
        builds = await self.logs(bench, one, 1)
        blobs.broken = {"delete"}
        await look(age=1e-6)
        assert await self.kept(archive, builds) == [False]
        assert len(await keys(blobs)) == 1
        blobs.broken = set()
        await look()
        assert await keys(blobs) == []

    async def test_what_came_too_late_is_deleted_with_the_log(
        self, bench: Bench, one: Objects, archive: LogArchive, look: Any, blobs: Failing
    ) -> None:
        (build,) = await self.logs(bench, one, 1)

        await self.put(blobs, INSTALLATION, build)
        await look(age=1e-6)
        assert await self.kept(archive, [build]) == [False]
        assert await keys(blobs) == []

    async def put(
        self, blobs: Failing, installation: str, build: UUID, *, folder: Path | None = None, age: timedelta = OLD
    ) -> str:
        """An object as archives of logs are; its age is set where it is a file below the folder."""

        async def pieces() -> AsyncIterator[bytes]:
            yield b"all that the log says"

        key = f"{installation}/logs/{build}/{uuid4().hex}"
        await blobs.put(key, pieces())
        if folder is not None:
            made = (datetime.now(UTC) - age).timestamp()
            os.utime(folder / key, (made, made))
        return key

    async def test_strays_are_deleted_when_they_are_old(
        self, bench: Bench, one: Objects, archive: LogArchive, look: Any, blobs: Failing, tmp_path: Path
    ) -> None:
        """Of a build that is no more, and of one whose log is in another object."""
        (build,) = await self.logs(bench, one, 1)
        [log] = await keys(blobs)
        os.utime(tmp_path / "blobs" / log, (0, 0))
        folder = tmp_path / "blobs"
        young = [await self.put(blobs, INSTALLATION, id, folder=folder, age=NEARLY) for id in (build, uuid4())]
        for id in (build, uuid4()):
            await self.put(blobs, INSTALLATION, id, folder=folder)
        await look()
        assert sorted(await keys(blobs)) == sorted([log, *young])
        assert await self.kept(archive, [build]) == [True]

    async def test_what_is_not_ours_stays(self, bench: Bench, look: Any, blobs: Failing, tmp_path: Path) -> None:
        folder = tmp_path / "blobs"
        foreign = [await self.put(blobs, name, uuid4(), folder=folder) for name in ("another", f"{INSTALLATION}-2")]
        ours = folder / INSTALLATION / "logs"
        ours.mkdir(parents=True)
        (ours / "README").write_text("not an object of ours")
        (ours / "a b").mkdir()
        (ours / "a b" / ".hidden").write_text("neither")
        await self.put(blobs, INSTALLATION, uuid4(), folder=folder)
        await look()
        assert sorted(await keys(blobs)) == sorted(
            [*foreign, f"{INSTALLATION}/logs/README", f"{INSTALLATION}/logs/a b/.hidden"]
        )

    async def test_a_restored_database_loses_no_archive_made_since(
        self, bench: Bench, look: Any, blobs: Failing, tmp_path: Path
    ) -> None:
        """However old the backup is: what it cannot know of is kept, at the first look and at each behind it."""
        folder = tmp_path / "blobs"
        since = await self.put(blobs, INSTALLATION, uuid4(), folder=folder, age=OLD)
        await self.put(blobs, INSTALLATION, uuid4(), folder=folder, age=3 * OLD)
        await look(last=2 * OLD)
        assert await keys(blobs) == [since]
        await look(last=None)
        assert await keys(blobs) == [since]
