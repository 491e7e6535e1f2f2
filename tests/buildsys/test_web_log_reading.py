"""Parts of a log, and how it travels: the last entries, a stretch of time, packed as the reader accepts it."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import pytest
import zstandard
from web_site import Log, Site, serve

from actors import Database
from buildsys.core.logs import READ
from buildsys.web.log_reading import PART

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


def path(log: Log) -> str:
    return f"/api/v1/builds/{log.build}/logs"


async def fetch(
    site: Site, log: Log, coding: str | None, accept: str = "text/plain", **query: Any
) -> tuple[Any, bytes]:
    """The headers, and the body as it came over the wire."""
    headers = {"Accept": accept, **({} if coding is None else {"Accept-Encoding": coding})}
    skipped = ["Accept-Encoding"] if coding is None else []
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=skipped) as session,
        session.get(
            site.url + path(log), params=query, headers={**headers, "Authorization": f"Bearer {site.admin_token}"}
        ) as response,
    ):
        assert response.status == 200, await response.text()
        return response.headers, await response.read()


def opened(coding: str | None, body: bytes) -> bytes:
    match coding:
        case "zstd":
            with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
                return reader.read()
        case "gzip":
            return gzip.decompress(body)
    return body


async def some_log(site: Site, records: int = 40) -> Log:
    log, chance = await site.log(), random.Random(7)
    for number in range(records):
        await log.event("step_started", name="s")
        lines = b"".join(
            b"%d: %s\n" % (number, b"word " * chance.randrange(20)) for _ in range(chance.randrange(1, 40))
        )
        await log.lines(lines + b"open" * (number % 5 == 0), job="jk"[number % 2])
    await log.end()
    return log


@pytest.mark.parametrize("coding", ["zstd", "gzip", "identity"])
async def test_every_coding_brings_the_same_bytes(site: Site, coding: str) -> None:
    log = await some_log(site)
    for accept in ("text/plain", "application/json", "text/event-stream"):
        for query in ({}, {"after": "17"}, {"limit": "100"}, {"job": "k"}, {"after": "40", "job": "j"}):
            headers, body = await fetch(site, log, coding, accept, **query)
            assert headers.get("Content-Encoding", "identity") == coding
            assert headers["Vary"] == "Accept, Accept-Encoding"
            _, plain_body = await fetch(site, log, None, accept, **query)
            assert opened(coding, body) == plain_body, (accept, query)
            assert len(plain_body) > 1000


async def test_a_reader_of_zstd_gets_the_frames_as_they_are_stored(site: Site) -> None:
    log = await some_log(site)
    rows = await site.database.pool.fetch("SELECT frame FROM log_records WHERE kind = 'lines' ORDER BY first")
    _, body = await fetch(site, log, "zstd")
    assert body == b"".join(row["frame"] for row in rows)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("ZSTD;Q=0.5, GZip;q=0.4", "zstd"),
        ("zstd;q=0, gzip;q=0", None),
        ("gzip;q=0.3, identity", None),
        ("gzip;q=0.3, identity;q=0.2", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("identity;q=0, *;q=0.1", "zstd"),
        ("br", None),
        ("gzip;q=high, zstd;x=1", None),
        (";;;,,q=1, gzip", "gzip"),
    ],
)
async def test_the_reader_says_how_an_answer_is_packed(site: Site, header: str | None, coding: str | None) -> None:
    log = await some_log(site, 3)
    headers, body = await fetch(site, log, header)
    assert headers.get("Content-Encoding") == coding
    assert opened(coding, body) == log.printed


async def test_who_accepts_nothing_is_told_so(site: Site) -> None:
    log = await some_log(site, 1)
    for header in ("identity;q=0, zstd;q=0, gzip;q=0", "*;q=0", "identity;q=0"):
        async with site.admin.get(path(log), headers={"Accept-Encoding": header}) as response:
            assert response.status == 406


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_packed_live_log_is_readable_event_by_event(site: Site, coding: str) -> None:
    log = await site.log()
    open_piece = (
        zlib.decompressobj(31).decompress
        if coding == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress
    )
    headers = {
        "Accept": "text/event-stream",
        "Accept-Encoding": coding,
        "Authorization": f"Bearer {site.admin_token}",
    }
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(site.url + path(log), headers=headers) as response,
    ):
        seen = b""
        for number in range(5):
            await log.lines(b"line %d\n" % number)
            while b"line %d" % number not in seen:
                seen += open_piece(await response.content.readany())


async def test_the_last_entries_are_had_at_once(site: Site) -> None:
    log = await some_log(site)
    whole = (await (await site.admin.get(path(log), params={"limit": 10_000})).json())["entries"]
    for count in (1, 2, 7, 40, 300, 10_000):
        for query in ({}, {"job": "j"}, {"job": "k", "step": 1}, {"after": 11}, {"job": "nobody"}):
            wanted = [
                entry
                for entry in whole
                if entry["cursor"] > query.get("after", 0)
                and (entry["kind"] == "end" or "job" not in query or entry.get("job") == query["job"])
            ][-count:]
            part = await (await site.admin.get(path(log), params={"tail": count, **query})).json()
            assert part["entries"] == wanted, (count, query)
            assert part["end"]


async def test_the_last_lines_are_had_as_text_and_live(site: Site) -> None:
    log = await some_log(site)
    lines = log.printed.splitlines(keepends=True)
    for count in (1, 3, 50):
        _, body = await fetch(site, log, None, tail=str(count))
        assert body.endswith(lines[-1])
        entries = (await (await site.admin.get(path(log), params={"limit": 10_000})).json())["entries"]
        last = [entry for entry in entries if entry["kind"] == "lines"][-count:]
        assert body.decode() == "".join(entry["text"] + "\n" * (not entry.get("partial")) for entry in last)
    _, body = await fetch(site, log, None, "text/event-stream", tail="1")
    assert body.count(b"event: ") == 1
    assert b"event: end" in body


async def test_the_last_lines_begin_with_a_whole_one(site: Site) -> None:
    log = await site.log()
    await log.lines(b"first\nconnection ref")
    await log.lines(b"another\n", job="k")
    await log.lines(b"used ")
    await log.event("group_started", job="j", step=1, line=2, title="Fetch")
    await log.lines(b"by peer\n")
    for query in ({"job": "j"}, {"job": "j", "step": "1"}):
        _, body = await fetch(site, log, None, tail="1", **query)
        assert body == b"connection refused by peer\n"
    _, body = await fetch(site, log, None, tail="1")
    assert body == b"connection refanother\nused by peer\n"  # as it was printed
    async with site.admin.get(path(log), params={"tail": "1", "q": "refused by"}) as response:
        assert [hit["cursor"] for hit in (await response.json())["hits"]] == [6]
    _, body = await fetch(site, log, None, tail="1", job="k")
    assert body == b"another\n"
    _, body = await fetch(site, log, None, tail="1", after="2", job="j")
    assert body == b"used by peer\n"
    await log.event("gap", job="j", step=1)
    await log.lines(b"fresh\n")
    _, body = await fetch(site, log, None, tail="1", job="j")
    assert body == b"fresh\n"


async def test_the_outline_is_all_but_the_text(site: Site) -> None:
    log = await site.log()
    for _ in range(3):
        await log.lines(b"1\n2\n", job="j")
    await log.event("group_started", line=2, title="Fetch")
    await log.lines(b"3\n", job="j")
    await log.lines(b"4\n", job="k")
    await log.lines(b"5\n", job="j", step=2)
    await log.end()
    outline = await (await site.admin.get(path(log), params={"outline": "1"})).json()
    assert outline["runs"] == [[1, 6, "j", 1], [8, 8, "j", 1], [9, 9, "k", 1], [10, 10, "j", 2]]
    assert [(event["cursor"], event["kind"]) for event in outline["events"]] == [(7, "group_started"), (11, "end")]
    assert outline["events"][0]["data"] == {"line": 2, "title": "Fetch"}
    assert (outline["next"], outline["end"]) == (11, True)
    rest = await (
        await site.admin.get(path(log), params={"outline": "1", "after": "3", "job": "j", "step": "1"})
    ).json()
    assert rest["runs"] == [[4, 6, "j", 1], [8, 8, "j", 1]]


async def test_a_tail_does_not_read_what_is_before_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await site.log()
    for number in range(50):
        await log.lines(b"".join(b"%d\n" % line for line in range(number * 100, number * 100 + 100)))
    reads = list[int]()
    read = type(site.stores.logs).read

    async def counted(self: Any, build: Any, *, after: int, size: int = 64) -> Any:
        found = await read(self, build, after=after, size=size)
        reads.append(len(found))
        return found

    monkeypatch.setattr(type(site.stores.logs), "read", counted)
    _, body = await fetch(site, log, None, tail="150")
    assert body == b"".join(b"%d\n" % line for line in range(4850, 5000))
    assert sum(reads) <= 8


async def test_a_stretch_of_time_can_be_asked_for(site: Site) -> None:
    log = await site.log()
    for number in range(10):
        await log.lines(b"%d\n" % number)
    for number in range(10):
        await site.database.pool.execute(
            "UPDATE log_records SET at = $1 WHERE first = $2", BEGIN + timedelta(seconds=number), number + 1
        )
    for query, wanted in (
        ({"since": "2026-03-01T12:00:07Z"}, b"7\n8\n9\n"),
        ({"until": "2026-03-01T12:00:02Z"}, b"0\n1\n"),
        ({"since": "2026-03-01T14:00:03+02:00", "until": "2026-03-01T12:00:05.000001Z"}, b"3\n4\n5\n"),
        ({"since": "2026-03-01T12:00:03Z", "tail": "2"}, b"8\n9\n"),
        ({"until": "2026-03-01T12:00:03Z", "tail": "2"}, b"1\n2\n"),
        ({"since": "9999-12-31T23:59:59Z"}, b""),
    ):
        _, body = await fetch(site, log, None, **query)
        assert body == wanted, query


@pytest.mark.parametrize(
    "query",
    [
        *({"tail": tail} for tail in ("0", "-1", "x", "10001", "1.5", "")),
        *({"since": since} for since in ("yesterday", "2026-03-01T12:00:00", "", "9" * 400, "0000-00-00T00:00:00Z")),
        {"until": "tomorrow"},
        {"regex": "perhaps"},
        {"seconds": "0"},
        {"seconds": "nan"},
        {"sort": "down"},
        {"step": "one"},
        {"job": "a\x00b"},
    ],
)
async def test_what_makes_no_sense_is_refused(site: Site, query: dict[str, str]) -> None:
    log = await site.log()
    await log.lines(b"1\n")
    for accept in ("text/plain", "application/json", "text/event-stream"):
        async with site.admin.get(path(log), params=query, headers={"Accept": accept}) as response:
            assert response.status in (400, 422), (accept, await response.text())


async def test_a_long_text_breaks_off_with_its_readers_token(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildsys.web.logs.LOOK_AGAIN", 0.0)
    log = await site.log()
    for _ in range(40):  # more than sockets hold
        await log.lines(b"x" * 1_000_000 + b"\n")
    headers = {"Accept": "text/plain", "Accept-Encoding": "identity"}
    async with asyncio.timeout(60), site.admin.get(path(log), headers=headers, read_bufsize=1 << 12) as response:
        assert await response.content.readexactly(100) == b"x" * 100
        await site.stores.tokens.revoke(site.admin_id)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_no_read_of_a_log_brings_much_more_than_its_share(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small what came before it was: forty short records, then noise, and events that carry much."""
    log, noise = await site.log(), random.Random(11)
    for number in range(40):
        await log.lines(b"%d\n" % number)
    for _ in range(16):
        await log.lines(noise.randbytes(1 << 19).replace(b"\n", b" ") + b"\n")
    for _ in range(40):
        await log.event("annotation", message="x" * 60_000)
    await log.end()
    brought = list[int]()
    read = type(site.stores.logs).read

    async def weighed(self: Any, build: Any, *, after: int, size: int = 64) -> Any:
        found = await read(self, build, after=after, size=size)
        brought.append(sum(len(record.frame or msgspec.json.encode(record.data)) for record in found))
        return found

    monkeypatch.setattr(type(site.stores.logs), "read", weighed)
    _, body = await fetch(site, log, "identity")
    assert body == log.printed
    for query in ({"outline": "1"}, {"q": "not there"}, {"tail": "90"}, {"limit": "1000"}):
        async with site.admin.get(path(log), params=query) as response:
            assert response.status == 200
            await response.read()
    async with site.admin.get(path(log), headers={"Accept": "text/event-stream"}) as response:
        await response.read()
    assert max(brought) < READ + (1 << 19) + (64 << 10)
    assert len(brought) > 5 * 8


async def test_events_that_carry_much_end_an_answer_before_its_limit(site: Site) -> None:
    log = await site.log()
    for _ in range(200):
        await log.event("annotation", message="x" * 60_000)
    await log.end()
    for query in ({"limit": "1000"}, {"outline": "1"}):
        seen, after = 0, 0
        while True:
            body = await (await site.admin.get(path(log), params={**query, "after": after})).read()
            assert len(body) < PART + (1 << 20)
            part = msgspec.json.decode(body)
            seen += len(part["events" if "outline" in query else "entries"])
            after = part["next"]
            if part["end"]:
                break
        assert seen == 201
