"""The feed itself: how often it reads, what it keeps, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest
from web_site import Log, Site, serve

from actors import Database
from buildsys.core.logs import LogRecord
from buildsys.errors import NotFound
from buildsys.store.logs import Logs
from buildsys.web import log_feed, log_sharing
from buildsys.web.log_events import Event, Piece, events
from buildsys.web.log_feed import LogFeed


class CountedLogs(Logs):
    """The store, counting what is asked of it; `broken` is what it raises once the database is gone."""

    reads = 0
    broken: Exception | None = None

    async def read(self, build: UUID, *, after: int, size: int = 64) -> list[LogRecord]:
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        return await super().read(build, after=after, size=size)


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


class Follower:
    """Follows a log in the background; it stands still while `free` is clear."""

    def __init__(self, feed: LogFeed, log: Log, after: int = 0) -> None:
        self.seen: list[int] = []
        self.encoded: list[bytes] = []
        self.heartbeats = 0
        self.free = asyncio.Event()
        self.free.set()
        self._changed = asyncio.Condition()
        self.running = asyncio.create_task(self._follow(feed, log.build, after))

    async def reaches(self, cursor: int) -> None:
        await self.until(lambda: bool(self.seen) and self.seen[-1] >= cursor)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(holds)

    async def leave(self) -> None:
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running

    async def _follow(self, feed: LogFeed, build: UUID, after: int) -> None:
        async with contextlib.aclosing(feed.events(build, after=after)) as batches:
            async for batch in batches:
                async with self._changed:
                    self.seen += [event.last for event in batch]
                    self.encoded += [event.encoded for event in batch]
                    self.heartbeats += not batch
                    self._changed.notify_all()
                await self.free.wait()


async def test_a_build_is_read_once_however_many_watch(site: Site) -> None:
    logs, log = CountedLogs(database=site.database), await site.log()
    feed = LogFeed(logs=logs, hints=site.hints)
    await log.lines(b"first\n")
    followers = [Follower(feed, log) for _ in range(50)]
    await asyncio.gather(*(follower.reaches(1) for follower in followers))
    await log.lines(b"second\n")
    await asyncio.gather(*(follower.reaches(2) for follower in followers))

    before = logs.reads
    for cursor in range(3, 13):
        await log.lines(b"more\n")
        await asyncio.gather(*(follower.reaches(cursor) for follower in followers))
    assert logs.reads - before <= 25  # of 10 records: one read finds each, one finds nothing more, and chance
    assert len({id(follower.encoded[-1]) for follower in followers}) == 1

    await asyncio.gather(*(follower.leave() for follower in followers))
    before = logs.reads
    for _ in range(5):
        await log.lines(b"unseen\n")
    assert logs.reads == before


async def test_who_is_far_behind_reads_in_longer_and_longer_stretches(site: Site) -> None:
    """Each read of an archived log is one of the blob store, which is slow to begin and quick to go on."""
    logs, log = CountedLogs(database=site.database), await site.log()
    for number in range(600):
        await log.lines(b"%d\n" % number)
    await log.end()
    follower = Follower(LogFeed(logs=logs, hints=site.hints), log)
    await follower.running
    assert follower.seen == list(range(1, 602))
    assert logs.reads == 6  # of 16, 32, 64, 128, 256, and the rest


async def test_what_many_have_missed_is_encoded_once_and_beside_the_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await site.log()
    for _ in range(3):
        await log.lines(b"\n" * (1 << 20))
    await log.end()
    made = list[tuple[int, bool]]()

    def counted(piece: Piece) -> list[Event]:
        made.append((piece.first, threading.current_thread() is threading.main_thread()))
        return events(piece)

    monkeypatch.setattr(log_sharing, "events", counted)
    feed = LogFeed(logs=site.stores.logs, hints=site.hints)
    followers = [Follower(feed, log) for _ in range(20)]
    await asyncio.gather(*(follower.running for follower in followers))
    assert all(follower.seen == followers[0].seen for follower in followers)
    assert {1 << 20, 2 << 20, 3 << 20} < set(followers[0].seen)
    assert len({id(encoded) for follower in followers for encoded in follower.encoded[:2]}) == 2
    large = [first for first, _ in made if first <= 3 << 20]
    assert len(large) < 10, "each for itself would be 60"
    assert not any(on_loop for first, on_loop in made if first <= 3 << 20)


async def test_many_lines_are_several_events_that_any_of_them_resumes(site: Site) -> None:
    log = await site.log()
    await log.lines(b"\n".join(b"%d" % number for number in range(25_000)) + b"\n\n\xff")
    await log.end()
    feed = LogFeed(logs=site.stores.logs, hints=site.hints)
    for after, wanted in (
        (0, [10_000, 20_000, 25_002, 25_003]),
        (10_000, [20_000, 25_002, 25_003]),
        (20_001, [25_002, 25_003]),
        (25_001, [25_002, 25_003]),
    ):
        follower = Follower(feed, log, after=after)
        await follower.running
        assert follower.seen == wanted
        lines, first = list[str](), after + 1
        for encoded in follower.encoded[:-1]:
            data = json.loads(encoded.partition(b"data: ")[2])
            assert data["first"] == first
            first = data["last"] + 1
            lines += data["lines"]
            assert data.get("partial", False) == (data["last"] == 25_002)
        assert lines == [*map(str, range(25_000)), "", "\N{REPLACEMENT CHARACTER}"][after:]


async def test_who_leaves_while_a_record_is_encoded_takes_it_from_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await site.log()
    await log.lines(b"x" * 100_000 + b"\n")
    await log.end()
    free, begun = threading.Event(), threading.Event()

    def held(piece: Piece) -> list[Event]:
        if piece.first == 1:
            begun.set()
            assert free.wait(20)
        return events(piece)

    monkeypatch.setattr(log_sharing, "events", held)
    feed = LogFeed(logs=site.stores.logs, hints=site.hints)
    one, other = Follower(feed, log), Follower(feed, log)
    try:
        assert await asyncio.to_thread(begun.wait, 20)
        await one.leave()
    finally:
        free.set()
    await other.running
    assert other.seen == [1, 2]


async def test_the_last_to_leave_ends_the_reading(site: Site) -> None:
    logs, log = CountedLogs(database=site.database), await site.log()
    feed = LogFeed(logs=logs, hints=site.hints)
    await log.lines(b"1\n")
    one, other = Follower(feed, log), Follower(feed, log)
    await asyncio.gather(one.reaches(1), other.reaches(1))
    await one.leave()
    await log.lines(b"2\n")
    await other.reaches(2)
    await other.leave()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("log-feed")]
    back = Follower(feed, log, after=1)
    await back.reaches(2)
    assert back.seen == [2]
    await back.leave()


async def test_without_any_hint_a_reader_looks_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "LOOK_AGAIN", 0.02)
    log = await site.log()
    feed = LogFeed(logs=site.stores.logs, hints=Deaf())
    await log.lines(b"1\n")
    follower = Follower(feed, log)
    await follower.reaches(1)
    await log.lines(b"2\n")
    await follower.reaches(2)
    await follower.leave()


class Deaf:
    """Hears of nothing."""

    def subscribe(self, topic: str) -> contextlib.nullcontext[asyncio.Event]:
        return contextlib.nullcontext(asyncio.Event())


async def test_a_slow_follower_goes_on_from_the_store_when_the_window_has_moved(site: Site) -> None:
    log = await site.log()
    feed = LogFeed(logs=site.stores.logs, hints=site.hints, window=1000)
    await log.lines(b"1\n")
    slow, quick = Follower(feed, log), Follower(feed, log)
    await asyncio.gather(slow.reaches(1), quick.reaches(1))
    slow.free.clear()
    await log.lines(b"2\n")
    await slow.reaches(2)
    for cursor in range(3, 60):
        await log.lines(b"%d\n" % cursor)
        await quick.reaches(cursor)
    assert len(slow.seen) < 5
    slow.free.set()
    await log.end()
    await asyncio.gather(slow.running, quick.running)
    assert slow.seen == quick.seen == list(range(1, 61))


async def test_quiet_is_told_from_time_to_time(site: Site) -> None:
    log = await site.log()
    follower = Follower(LogFeed(logs=site.stores.logs, hints=site.hints, heartbeat=0.01), log)
    await follower.until(lambda: follower.heartbeats >= 3)
    await log.end()
    await follower.running
    assert follower.seen == [1]


async def test_closing_ends_every_stream_where_it_stands(site: Site) -> None:
    log = await site.log()
    feed = LogFeed(logs=site.stores.logs, hints=site.hints)
    await log.lines(b"1\n")
    followers = [Follower(feed, log) for _ in range(5)]
    await asyncio.gather(*(follower.reaches(1) for follower in followers))
    feed.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*(follower.running for follower in followers))
    assert all(follower.seen == [1] for follower in followers)


async def test_a_reader_that_fails_ends_its_followers_and_a_new_one_starts_afresh(site: Site) -> None:
    logs, log = CountedLogs(database=site.database), await site.log()
    feed = LogFeed(logs=logs, hints=site.hints, heartbeat=0.02)
    await log.lines(b"1\n")
    stalled, *followers = [Follower(feed, log) for _ in range(4)]
    await asyncio.gather(*(follower.reaches(1) for follower in (stalled, *followers)))
    stalled.free.clear()
    heard = stalled.heartbeats
    await log.lines(b"2\n")
    await asyncio.gather(*(follower.reaches(2) for follower in followers))
    await stalled.until(lambda: stalled.seen[-1] == 2 or stalled.heartbeats > heard)  # either one holds it up
    logs.broken = ConnectionError("the database is gone")
    await log.lines(b"3\n")
    ends = await asyncio.gather(*(follower.running for follower in followers), return_exceptions=True)
    assert [str(end) for end in ends] == ["the database is gone"] * 3
    logs.broken = None
    again = Follower(feed, log, after=2)
    await again.until(lambda: again.seen == [3] and again.heartbeats > 0)
    await log.end()
    await again.running
    assert again.seen == [3, 4]
    await stalled.leave()


async def test_a_log_that_is_removed_under_a_slow_follower_ends_its_stream(site: Site) -> None:
    log = await site.log()
    feed = LogFeed(logs=site.stores.logs, hints=site.hints, window=1)
    await log.lines(b"1\n")
    slow, quick = Follower(feed, log), Follower(feed, log)
    await asyncio.gather(slow.reaches(1), quick.reaches(1))
    slow.free.clear()
    for cursor in (2, 3, 4, 5):
        await log.lines(b"more\n")
        await quick.reaches(cursor)
    await site.database.pool.execute("DELETE FROM log_records")
    slow.free.set()
    with pytest.raises(NotFound):
        async with asyncio.timeout(5):
            await slow.running
    await quick.leave()
