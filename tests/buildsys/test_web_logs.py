"""The log over HTTP: whatever is asked for, and wherever a reader was cut off, it is what the build printed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from web_site import Log, ServerSentEvent, Site, events, printed, serve

from actors import Database

LIVE = {"Accept": "text/event-stream"}
TEXT = {"Accept": "text/plain"}


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


async def write_some(log: Log, chance: random.Random, records: int) -> None:
    """Batches as runners cut them: many lines or few, some cut inside a line, and events between."""
    for _ in range(records):
        if chance.random() < 0.2:
            await log.event("step_started", name="s")
        lines = [
            bytes(chance.choices(b"ab \t\r\x1b\x00\xe2\x98\x83", k=chance.randrange(30)))
            for _ in range(chance.randrange(1, 9))
        ]
        cut = chance.random() < 0.2
        text = b"\n".join(lines) + (b"" if cut and lines[-1] else b"\n")
        await log.lines(text, job=chance.choice(("j", "k")), step=chance.randrange(3))


def path(log: Log, query: str = "") -> str:
    return f"/api/v1/builds/{log.build}/logs?{query}"


async def text(site: Site, log: Log, query: str = "") -> bytes:
    async with site.admin.get(path(log, query), headers=TEXT) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/plain"
        return await response.read()


async def part(site: Site, log: Log, query: str = "") -> Any:
    async with site.admin.get(path(log, query)) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def live(
    site: Site, log: Log, after: int = 0, *, take: int | None = None, query: str = ""
) -> list[ServerSentEvent]:
    """The events behind a cursor, until the stream ends or `take` of them have come."""
    taken: list[ServerSentEvent] = []
    async with site.admin.get(path(log, query), headers={**LIVE, "Last-Event-ID": str(after)}) as response:
        if response.status == 204:
            return []
        assert response.status == 200, await response.text()
        async for event in events(response):
            taken.append(event)
            if len(taken) == take:
                break
    return taken


async def test_text_is_the_very_bytes_that_were_printed(site: Site) -> None:
    log = await site.log()
    assert await text(site, log) == b""
    await write_some(log, random.Random(1), 60)
    assert await text(site, log) == log.printed
    await log.end()
    assert await text(site, log) == log.printed


async def test_a_link_can_ask_for_text(site: Site) -> None:
    log = await site.log()
    await write_some(log, random.Random(9), 10)
    async with site.admin.get(path(log, "format=text"), headers={"Accept": "text/html,*/*"}) as response:
        assert response.content_type == "text/plain"
        assert await response.read() == log.printed


async def test_text_read_in_parts_of_any_size_is_the_same(site: Site) -> None:
    log = await site.log()
    chance = random.Random(2)
    await write_some(log, chance, 30)
    await log.end()
    joined, cursor = b"", 0
    while cursor < log.last:
        query = f"after={cursor}&limit={chance.randrange(1, 20)}"
        async with site.admin.get(path(log, query), headers=TEXT) as response:
            joined += await response.read()
            assert int(response.headers["X-Next-Cursor"]) > cursor
            cursor = int(response.headers["X-Next-Cursor"])
    assert joined == log.printed


async def test_every_entry_has_its_cursor_wherever_reading_starts(site: Site) -> None:
    log = await site.log()
    chance = random.Random(3)
    await write_some(log, chance, 30)
    await log.end()
    whole = await part(site, log, "limit=10000")
    assert [entry["cursor"] for entry in whole["entries"]] == list(range(1, log.last + 1))
    assert (whole["next"], whole["end"]) == (log.last, True)
    lines = [entry for entry in whole["entries"] if entry["kind"] == "lines"]
    joined = "".join(entry["text"] + ("" if entry.get("partial") else "\n") for entry in lines)
    assert joined == log.readable
    for _ in range(20):
        after, limit = chance.randrange(log.last + 1), chance.randrange(1, 15)
        some = await part(site, log, f"after={after}&limit={limit}")
        assert some["entries"] == whole["entries"][after : after + limit]
        assert some["end"] == (after + limit >= log.last)
        assert some["next"] == min(after + limit, log.last)


async def test_one_step_of_one_job_can_be_asked_for(site: Site) -> None:
    log = await site.log()
    await log.lines(b"j1\n", job="j", step=1)
    await log.lines(b"k1\n", job="k", step=1)
    await log.lines(b"j2\n", job="j", step=2)
    assert await text(site, log, "job=j") == b"j1\nj2\n"
    assert await text(site, log, "job=j&step=2") == b"j2\n"
    assert await text(site, log, "step=1") == b"j1\nk1\n"
    assert await text(site, log, "job=nobody") == b""
    await log.end()
    some = await part(site, log, "job=k")
    assert [entry["kind"] for entry in some["entries"]] == ["lines", "end"]
    assert (some["next"], some["end"]) == (4, True)
    assert [printed(event) for event in await live(site, log, query="job=j&step=2")] == [b"j2\n", b""]


def entries(event: ServerSentEvent) -> list[tuple[int, str, str]]:
    """Cursor, kind and text of every entry of an event."""
    if event.kind != "lines":
        return [(event.id, event.kind, "")]
    lines = printed(event).decode().split("\n")
    texts = [line + "\n" for line in lines[:-1]] + [lines[-1]] * bool(lines[-1])
    assert event.data["last"] == event.id == event.data["first"] + len(texts) - 1
    return [(cursor, "lines", text) for cursor, text in enumerate(texts, event.data["first"])]


async def read_with_cuts(site: Site, log: Log, chance: random.Random) -> list[tuple[int, str, str]]:
    """Follow to the end, but lose the connection, and part of the last event, again and again."""
    seen: list[tuple[int, str, str]] = []
    while not seen or seen[-1][1] != "end":
        some = await live(site, log, len(seen), take=chance.randrange(1, 8))
        seen += [entry for event in some for entry in entries(event)]
        if seen[-1][1] == "lines":
            del seen[len(seen) - chance.randrange(len(entries(some[-1]))) :]
    return seen


async def test_the_live_log_is_the_history_wherever_it_was_cut_off(site: Site) -> None:
    log = await site.log()

    async def write() -> None:
        await write_some(log, random.Random(4), 60)
        await log.end()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        readers = [group.create_task(read_with_cuts(site, log, random.Random(seed))) for seed in range(8)]
    history = [entry for event in await live(site, log) for entry in entries(event)]
    assert [cursor for cursor, _, _ in history] == list(range(1, log.last + 1))
    assert "".join(text for _, _, text in history) == log.readable
    for reader in readers:
        assert reader.result() == history


async def test_a_reader_cut_off_inside_a_batch_gets_its_rest(site: Site) -> None:
    log = await site.log()
    await log.event("build_starting")
    await log.lines(b"1\n2\n3\nun")
    await log.lines(b"broken\n")
    await log.end()
    for after in range(log.last):
        seen = await live(site, log, after)
        assert seen[-1].kind == "end"
        shown = [line for event in seen if event.kind == "lines" for line in event.data["lines"]]
        assert shown == ["1", "2", "3", "un", "broken"][max(0, after - 1) :]
        assert [event.id for event in seen][-2:] == [6, 7][-len(seen) :]
    (first, *_) = await live(site, log, 2)
    assert (first.data["first"], first.data["last"], first.data["partial"]) == (3, 5, True)


async def test_the_end_is_final(site: Site) -> None:
    log = await site.log()
    await log.lines(b"done\n")
    await log.end()
    seen = await live(site, log)
    assert [(event.id, event.kind) for event in seen] == [(1, "lines"), (2, "end")]
    assert seen[-1].data["outcome"] == "success"
    async with site.admin.get(path(log), headers={**LIVE, "Last-Event-ID": "2"}) as response:
        assert response.status == 204


@pytest.mark.parametrize("cursor", ["-1", "x", "", "1.0", "3", "9223372036854775808", "9" * 30, "\N{SUPERSCRIPT TWO}"])
async def test_a_cursor_that_the_log_has_not_reached_is_refused(site: Site, cursor: str) -> None:
    log = await site.log()
    await log.lines(b"1\n2\n")
    for headers in (LIVE, TEXT, {}):
        async with site.admin.get(path(log), params={"after": cursor}, headers=headers) as response:
            assert response.status == 400
            assert (await response.json(content_type=None))["code"] == "bad_request"


async def test_the_log_of_no_build_is_not_found(site: Site) -> None:
    log = await site.log()
    for headers in (LIVE, TEXT, {}):
        async with site.admin.get(path(log).replace(str(log.build)[:8], "00000000"), headers=headers) as response:
            assert response.status == 404
        async with site.admin.get(path(log, "limit=0"), headers=headers) as response:
            assert response.status == 422


async def test_a_hundred_followers_joining_at_any_time_see_the_same(site: Site) -> None:
    log = await site.log()
    chance = random.Random(5)

    async def write() -> None:
        for _ in range(200):
            await write_some(log, chance, 1)
        await log.end()

    async def join(entries_before: int) -> bytes:
        async with asyncio.timeout(60):
            while log.last < entries_before:
                await asyncio.sleep(0.002)
            return b"".join(map(printed, await live(site, log)))

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        followers = [group.create_task(join(chance.randrange(600))) for _ in range(100)]
    history = b"".join(map(printed, await live(site, log)))
    assert len(history) > 5000
    assert {follower.result() for follower in followers} == {history}


async def test_a_reader_that_stalls_slows_nobody_and_misses_nothing(site: Site) -> None:
    log = await site.log()
    line = b"x" * 60_000 + b"\n"
    async with (
        asyncio.timeout(60),
        site.admin.get(path(log), headers=LIVE, read_bufsize=1 << 12) as stalled,
    ):
        for _ in range(400):  # 24 MB: more than the sockets and any window of ours hold
            await log.lines(line)
        assert len(await live(site, log, take=400)) == 400
        await log.lines(b"last\n")
        assert [printed(event) for event in await live(site, log, log.last - 1, take=1)] == [b"last\n"]
        await log.end()
        caught_up = [printed(event) async for event in events_of_long_lines(stalled)]
    assert b"".join(caught_up) == log.printed


async def events_of_long_lines(response: aiohttp.ClientResponse) -> AsyncIterator[ServerSentEvent]:
    """Like `events`, for lines longer than the response's buffer."""
    for block in (await response.read()).split(b"\n\n"):
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line)
        if "data" in fields:
            yield ServerSentEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))


async def test_a_shutdown_ends_the_streams_at_once(site: Site) -> None:
    log = await site.log()
    await log.lines(b"1\n")
    async with asyncio.timeout(5), site.admin.get(path(log), headers=LIVE) as response:
        following = events(response)
        assert printed(await anext(following)) == b"1\n"
        await site.server.close()
        assert [event async for event in following] == []


@pytest.mark.parametrize("quiet", [True, False], ids=["quiet", "lively"])
async def test_a_stream_ends_with_its_readers_token(
    database: Database, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    monkeypatch.setattr("buildsys.web.logs.LOOK_AGAIN", 0.1)
    async with serve(database, heartbeat=0.1 if quiet else 60.0) as site, asyncio.timeout(20):
        log = await site.log()
        await log.lines(b"for alice\n")
        async with site.admin.get(path(log), headers=LIVE) as response:
            following = events(response)
            assert printed(await anext(following)) == b"for alice\n"
            async with asyncio.TaskGroup() as group:
                writing = [] if quiet else [group.create_task(_write_on(log))]
                await site.stores.tokens.revoke(site.admin_id)
                async for _ in following:
                    pass
                for each in writing:
                    each.cancel()
        async with site.admin.get(path(log), headers=LIVE) as response:
            assert response.status == 401


async def _write_on(log: Log) -> None:
    while True:
        await log.lines(b"more\n")
        await asyncio.sleep(0.01)


async def test_a_frame_that_does_not_open_is_our_failure_and_never_a_short_answer(site: Site) -> None:
    log = await site.log()
    await log.lines(b"y" * (1 << 20) + b"\n")
    await site.database.pool.execute("UPDATE log_records SET frame = 'broken'")
    async with site.admin.get(path(log)) as response:
        assert response.status == 500
        assert "frame" not in await response.text()
    await site.database.pool.execute("DELETE FROM log_records")
    log = Log(site.database, site.hints, log.build)
    await log.lines(b"y" * (1 << 20) + b"\n")
    await log.lines(b"z\n")
    await site.database.pool.execute("UPDATE log_records SET frame = 'broken' WHERE first = 2")
    with pytest.raises(aiohttp.ClientError):
        await text(site, log)
