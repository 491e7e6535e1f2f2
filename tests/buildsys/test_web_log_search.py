"""Search in a log: every line that matches and no other, in time that no pattern can stretch."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from thread_gate import ThreadGate
from web_site import Log, Site, serve

from actors import Database
from buildsys.core.logs import LogRecord
from buildsys.web import log_search
from buildsys.web.log_events import Filter
from buildsys.web.log_pattern import Pattern
from buildsys.web.log_reading import LogSource
from buildsys.web.log_search import _Search


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with serve(database) as site:
        yield site


async def search(site: Site, log: Log, accept: str = "application/json", **query: Any) -> Any:
    async with site.admin.get(f"/api/v1/builds/{log.build}/logs", params=query, headers={"Accept": accept}) as response:
        assert response.status == 200, await response.text()
        body = await response.read()
        return [json.loads(line) for line in body.splitlines()] if "ndjson" in accept else json.loads(body)


async def write_some(log: Log, chance: random.Random, records: int) -> list[bytes]:
    """Lines of few letters, so that there is much to find; event records between. Returns them by cursor."""
    entries = [b""]
    for _ in range(records):
        lines = [
            bytes(chance.choices(b"aAb. \xc3\xa4\xff\x00", k=chance.randrange(12)))
            for _ in range(chance.randrange(1, 30))
        ]
        await log.lines(b"\n".join(lines) + b"\n", job=chance.choice("jk"))
        await log.event("step_started", name="ab")
        entries += [*lines, b""]
    return entries


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("ab", {}, rb"ab"),
        ("a b", {"job": "j"}, rb"a b"),
        ("AB", {"ignore_case": "1"}, rb"(?i)ab"),
        ("ä", {}, rb"\xc3\xa4"),
        (".", {}, rb"\."),
        ("^a+ ?b", {"regex": "1"}, rb"^a+ ?b"),
        ("b$", {"regex": "1"}, rb"b$"),
        ("^$", {"regex": "1"}, rb"^$"),
        ("[^b]a$", {"regex": "1", "ignore_case": "1"}, None),
        ("a|b b", {"regex": "true"}, rb"a|b b"),
        ("x*", {"regex": "1"}, rb""),
    ],
)
async def test_every_line_that_matches_is_found_once(
    site: Site, text: str, options: dict[str, str], expected: bytes | None
) -> None:
    log = await site.log()
    written = await write_some(log, random.Random(3), 30)
    await log.end()
    whole = await (await site.admin.get(f"/api/v1/builds/{log.build}/logs", params={"limit": 10_000})).json()
    lines = [entry for entry in whole["entries"] if entry["kind"] == "lines"]
    wanted = [
        entry["cursor"]
        for entry in lines
        if options.get("job") in (None, entry["job"])
        and (expected is None or re.search(expected, written[entry["cursor"]]))
    ]
    found = await search(site, log, q=text, limit=10_000, **options)
    assert (found["next"], found["end"], found["stopped"]) == (log.last, True, None)
    cursors = [hit["cursor"] for hit in found["hits"]]
    if expected is None:
        assert cursors
        assert set(cursors) < set(wanted)
    else:
        assert cursors == wanted
        assert wanted
    for hit in found["hits"]:
        assert hit["text"] == lines[[line["cursor"] for line in lines].index(hit["cursor"])]["text"]

    streamed, after = [], 0
    while True:
        *hits, ended = await search(site, log, "application/x-ndjson", q=text, limit=7, after=after, **options)
        streamed += hits
        after = ended["next"]
        if ended["stopped"] is None:
            break
        assert (len(hits), ended["stopped"]) == (7, "hits")
    assert streamed == found["hits"]


async def test_a_hit_shows_where_it_matches(site: Site) -> None:
    log = await site.log()
    await log.lines("1\n\N{SNOWMAN} an érror, and an Error\r\n".encode() + b"\xffbad\xfe error \x1b[31m\n")
    await log.lines(b"nothing")
    await log.lines(b" an error over two batches\n")
    first, second, third = (await search(site, log, q="[eé]rror", regex="1", ignore_case="1"))["hits"]
    assert [first["text"][a:b] for a, b in first["matches"]] == ["érror", "Error"]
    assert (first["cursor"], first["job"], first["step"]) == (2, "j", 1)
    assert [second["text"][a:b] for a, b in second["matches"]] == ["error"]
    assert second["text"].startswith("\N{REPLACEMENT CHARACTER}bad")
    assert (third["cursor"], third["text"]) == (5, "nothing an error over two batches")
    (joined,) = (await search(site, log, q="nothing an"))["hits"]
    assert (joined["cursor"], joined["matches"]) == (5, [[0, 10]])


async def test_a_long_line_is_shown_around_its_first_match(site: Site) -> None:
    log = await site.log()
    long = "ä" * 50_000 + "needle" + "ö" * 50_000 + "needle"
    await log.lines(long.encode() + b"\nneedle" + b"x" * 10_000 + b"\n")
    one, two = (await search(site, log, q="needle"))["hits"]
    for hit, line in ((one, long.encode()), (two, b"needle" + b"x" * 10_000)):
        assert len(hit["text"].encode()) <= 2000
        assert line[hit.get("before", 0) : len(line) - hit["behind"]] == hit["text"].encode()
        assert [hit["text"][a:b] for a, b in hit["matches"]] == ["needle"]
    assert one["before"] > 0


async def test_only_the_part_behind_the_cursor_is_searched(site: Site) -> None:
    log = await site.log()
    await log.lines(b"one x\ntwo x\nthree\nfour x\n")
    for after, wanted in ((0, [1, 2, 4]), (1, [2, 4]), (2, [4]), (4, [])):
        found = await search(site, log, q="x", after=after)
        assert [hit["cursor"] for hit in found["hits"]] == wanted
        assert (found["next"], found["end"]) == (4, False)
    assert [hit["cursor"] for hit in (await search(site, log, q="x", tail=2))["hits"]] == [4]


async def test_a_line_that_came_in_parts_is_one_line(site: Site) -> None:
    log = await site.log()
    await log.lines(b"first\nconnection ref")
    await log.lines(b"another\nconnection ref", job="k")
    await log.event("group_started", line=1, title="Fetch", job="j", step=1)
    await log.lines(b"used ")
    await log.lines(b"by peer\nlast\n")
    await log.lines(b"lost", job="k")
    assert log.last == 9
    for options in ({}, {"regex": "1"}, {"ignore_case": "1"}, {"job": "j"}):
        (hit,) = (await search(site, log, q="connection refused by peer", **options))["hits"]
        assert (hit["cursor"], hit["job"], hit["text"]) == (7, "j", "connection refused by peer")
        assert hit["matches"] == [[0, 26]]
    assert [hit["cursor"] for hit in (await search(site, log, q="refus"))["hits"]] == [6]
    assert [hit["cursor"] for hit in (await search(site, log, q="connection"))["hits"]] == [2, 4]
    assert [hit["cursor"] for hit in (await search(site, log, q="^by", regex="1"))["hits"]] == []
    assert [hit["cursor"] for hit in (await search(site, log, q="^connection.*d by", regex="1"))["hits"]] == [7]
    assert [hit["text"] for hit in (await search(site, log, q="reflost"))["hits"]] == ["connection reflost"]
    for after in range(7):  # wherever one search ends and the next goes on
        (hit,) = (await search(site, log, q="refused by", after=after))["hits"]
        assert (hit["cursor"], hit["text"]) == (7, "connection refused by peer")
    assert (await search(site, log, q="refused by", after=7))["hits"] == []


async def test_what_is_missing_between_two_parts_is_not_passed_over(site: Site) -> None:
    log = await site.log()
    await log.lines(b"connection ref")
    await log.event("gap", job="j", step=1)
    await log.lines(b"used by peer\n")
    for after in (0, 1, 2):
        assert (await search(site, log, q="refused", after=after))["hits"] == []


async def test_a_search_that_begins_within_a_batch_carries_nothing_past_it(site: Site) -> None:
    log = await site.log()
    await log.lines(b"connection ref")
    await log.lines(b"x\ny\n")
    await log.lines(b"used by peer\n")
    assert (await search(site, log, q="refused", after=2))["hits"] == []


async def test_of_a_long_line_in_parts_the_end_is_carried_on(site: Site) -> None:
    log = await site.log()
    for _ in range(3):
        await log.lines("é".encode() * 5000)
    await log.lines(b"needle\n")
    (hit,) = (await search(site, log, q="éneedle"))["hits"]
    assert (hit["cursor"], hit["before"] + len(hit["text"].encode())) == (4, 30_006)
    assert [hit["text"][a:b] for a, b in hit["matches"]] == ["éneedle"]
    assert [hit["cursor"] for hit in (await search(site, log, q="^é", regex="1"))["hits"]] == [1]


def noise(size: int) -> bytes:
    """A line that keeps RE2 from its quick way."""
    return bytes(random.Random(1).choices(b"ab", k=size))


async def test_a_search_that_is_left_keeps_its_place_until_its_thread_has_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await site.log()
    for _ in range(4):
        await log.lines(noise(1 << 17) + b"\n")
    source = LogSource(logs=site.stores.logs)
    reading = await source.reading(log.build, after=0, wanted=Filter())
    matching = list[int]()
    match = Pattern._match

    def counted(self: Pattern, *of: Any) -> Any:
        matching.append(1)
        try:
            return match(self, *of)
        finally:
            matching.pop()

    monkeypatch.setattr(Pattern, "_match", counted)
    with ThreadPoolExecutor(1) as threads:
        pattern = Pattern("a[ab]{300}$x", regex=True, ignore_case=False)
        found = _Search(source, threads, reading, pattern, limit=100, seconds=30.0)
        searching = asyncio.create_task(anext(found.hits()))
        async with asyncio.timeout(20):
            while not matching:
                await asyncio.sleep(0.001)
        searching.cancel()
        left = time.monotonic()
        await asyncio.wait([searching])
        assert searching.cancelled()
        assert not matching
        assert time.monotonic() - left < 5  # not the 30 seconds, nor the whole of what is there


async def test_searches_take_no_thread_from_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await site.log()
    await log.lines(b"1\n")
    used = set[str]()
    match = Pattern._match

    def seen(self: Pattern, *of: Any) -> Any:
        used.add(threading.current_thread().name.partition("_")[0])
        return match(self, *of)

    monkeypatch.setattr(Pattern, "_match", seen)
    await search(site, log, q="not there")
    assert used == {"log-search"}


async def test_a_line_that_takes_too_long_is_said_to_be_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever goes on gets on, and knows."""
    monkeypatch.setattr(log_search, "FIRST_LINE", 0.05)
    log = await site.log()
    await log.lines(b"short\n")
    await log.lines(noise(1 << 20) + b"\n")
    await log.lines(b"axe\n")
    await log.end()
    parts, after = list[Any](), 0
    while not parts or parts[-1]["stopped"]:
        parts.append(await search(site, log, q="a[ab]{500}$|xe$", regex="1", seconds="0.05", after=after))
        after = parts[-1]["next"]
    assert [part["next"] for part in parts if part["cut"]] == [2]
    assert [hit["cursor"] for part in parts for hit in part["hits"]] == [3]


BAD = {
    "(a": "character 3",
    "a)b": "character",
    "x*a**": "character 4",
    "ab[z-a]": "character 4",
    "a(?<=b)": "character 2",
    "\\": "character 1",
    "x{1001}": "character 2",
    "": "empty",
    "a\nb": "line break",
    "x" * 1001: "1000 characters",
    "((a{30}){30}){30}": "",
    "(\\pL{1000}){1}": "",
    "\\8": "character 1",
}


@pytest.mark.parametrize("pattern", BAD)
async def test_a_pattern_that_is_none_is_refused_with_the_place(site: Site, pattern: str) -> None:
    log = await site.log()
    await log.lines(b"1\n")
    for accept in ("application/json", "application/x-ndjson", "text/plain"):
        async with site.admin.get(
            f"/api/v1/builds/{log.build}/logs", params={"q": pattern, "regex": "1"}, headers={"Accept": accept}
        ) as response:
            assert response.status == 400
            problem = await response.json(content_type=None)
            assert BAD[pattern] in problem["detail"]
            assert problem["code"] == "bad_request"


async def test_a_search_ends_at_its_time_and_goes_on_from_there(site: Site) -> None:
    log = await site.log()
    for number in range(30):
        await log.lines(b"".join(b"%d: hit\n" % line for line in range(number * 1000, number * 1000 + 1000)))
    await log.end()
    cursors, after, parts = list[int](), 0, 0
    while True:
        found = await search(site, log, q="(hit)$", regex="1", seconds="0.005", after=after, limit=10_000)
        cursors += [hit["cursor"] for hit in found["hits"]]
        parts += 1
        if found["stopped"] is None:
            break
        assert after < found["next"]
        after = found["next"]
    assert found["end"]
    assert cursors == list(range(1, 30_001))
    assert parts > 1


async def test_more_searches_than_can_be_done_are_told_to_come_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await site.log()
    await log.lines(b"1\n")
    free, read = asyncio.Event(), type(site.stores.logs).read

    async def slow(self: Any, build: Any, *, after: int, size: int = 64) -> list[LogRecord]:
        await free.wait()
        return await read(self, build, after=after, size=size)

    monkeypatch.setattr(type(site.stores.logs), "read", slow)

    async def ask() -> int:
        async with site.admin.get(f"/api/v1/builds/{log.build}/logs", params={"q": "1"}) as response:
            return response.status

    asked = [asyncio.create_task(ask()) for _ in range(15)]
    async with asyncio.timeout(20):
        while sum(each.done() for each in asked) < 5:
            await asyncio.sleep(0.01)
    free.set()
    assert sorted(await asyncio.gather(*asked)) == [200] * 10 + [503] * 5


async def test_a_search_goes_through_much_in_its_time(site: Site) -> None:
    log = await site.log()
    block = b"".join(b"%06d the quick brown fox jumps over the lazy dog, again and again\n" % n for n in range(14_000))
    for _ in range(40):
        await log.lines(block)
    for options in ({"q": "not there"}, {"q": "[a-z]+ fox [0-9]+", "regex": "1"}):
        assert (await search(site, log, **options))["stopped"] is None


async def test_a_search_holds_up_no_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await site.log()
    await log.lines(b"1\n")
    gate = ThreadGate()
    monkeypatch.setattr(Pattern, "_match", gate.held(Pattern._match))
    searching = asyncio.create_task(search(site, log, q="1"))
    await gate.reached.wait()
    async with site.admin.get("/api/v1/builds") as answer:
        assert answer.status == 200
    assert not searching.done()
    gate.open()
    assert len((await searching)["hits"]) == 1
