"""The archive's format: what comes out is what went in, for any stretch and in two reads, and damage shows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import zstandard

from buildsys.core.archive import (
    TRAILER,
    ArchiveWriter,
    BadArchive,
    Root,
    read_page,
    read_root,
    read_trailer,
    records,
    span,
)
from buildsys.core.logs import LogRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def some_log(seed: int, length: int) -> list[LogRecord]:
    """Records as a build may have them: frames of some lines, and events between them."""
    chance = random.Random(seed)
    made: list[LogRecord] = []
    last = 0
    for number in range(length):
        at = NOW + timedelta(milliseconds=number)
        first = last + 1
        if chance.random() < 0.3:
            data = {"name": "é" * chance.randrange(50), "code": chance.randrange(256), "nothing": None}
            last, event = first, LogRecord(first=first, last=first, kind="step_started", at=at, job="a", data=data)
            made.append(event)
        else:
            text = b"".join(b"%d %d\n" % (number, line) for line in range(chance.randrange(1, 30)))
            last = first + text.count(b"\n") - 1
            made.append(
                LogRecord(
                    first=first,
                    last=last,
                    kind="lines",
                    at=at,
                    job="a",
                    step=1,
                    source=(number, number + len(text)),
                    size=len(text),
                    frame=zstandard.compress(text),
                    mac=chance.randbytes(32),
                )
            )
    return made


def archived(log: list[LogRecord]) -> tuple[bytes, Root]:
    writer = ArchiveWriter(uuid4())
    frames = b"".join([writer.add(record) for record in log])
    rest, root = writer.finish()
    return frames + rest, root


def stretch(data: bytes, root: Root, cursor: int, size: int) -> list[LogRecord]:
    """The records behind a cursor that the cursor's own page knows of, in two reads."""
    page = next(iter(root.pages_behind(cursor)), None)
    if page is None:
        return []
    places = read_page(data[page.offset : page.offset + page.length])
    wanted = [place for place in places if place.last > cursor][:size]
    start, length = span(wanted)
    return records(wanted, data[start : start + length])


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 2000])
def test_any_stretch_is_what_was_written(length: int) -> None:
    log = some_log(length, length)
    data, root = archived(log)
    assert root.last == (log[-1].last if log else 0)
    chance = random.Random(length)
    for cursor in {0, root.last, *(chance.randrange(root.last + 1) for _ in range(50))}:
        expected = [record for record in log if record.last > cursor]
        found = stretch(data, root, cursor, 40)
        assert found == expected[: len(found)]
        assert bool(found) == bool(expected)
    whole: list[LogRecord] = []
    while more := stretch(data, root, whole[-1].last if whole else 0, 10_000):
        whole += more
    assert whole == log


def test_large_events_part_pages() -> None:
    data = {"message": "x" * 60_000}
    log = [LogRecord(first=n, last=n, kind="annotation", at=NOW, data=data) for n in range(1, 61)]
    stored, root = archived(log)
    assert len(root.pages) == 4
    assert stretch(stored, root, 59, 10) == log[59:]


def test_the_object_says_itself_what_it_holds() -> None:
    data, root = archived(some_log(1, 700))
    length = read_trailer(data[-TRAILER:])
    assert read_root(data[-TRAILER - length : -TRAILER]) == root


def test_zstd_reads_the_lines_alone() -> None:
    log = some_log(2, 700)
    data, _ = archived(log)
    printed = b"".join(zstandard.decompress(record.frame) for record in log if record.frame)
    unfolded = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    assert unfolded == printed


def test_damage_is_said_to_be_such() -> None:
    data, root = archived(some_log(3, 600))
    page = root.pages[0]
    good = data[page.offset : page.offset + page.length]
    chance = random.Random(4)
    for _ in range(300):
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        with pytest.raises(BadArchive):
            read_page(bytes(bad))
    for cut in range(0, len(good), 97):
        with pytest.raises(BadArchive):
            read_page(good[:cut])
    with pytest.raises(BadArchive):
        read_trailer(data[-TRAILER - 1 : -1])
    with pytest.raises(BadArchive):
        read_root(b"nothing of ours")
    places = read_page(good)
    start, length = span(places)
    with pytest.raises(BadArchive, match="ends before"):
        records(places, data[start : start + length - 1])


def test_a_page_that_would_unfold_without_end_is_refused() -> None:
    bomb = zstandard.compress(bytes(100 << 20))
    framed = (0x184D2A50).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb
    with pytest.raises(BadArchive, match="larger than any"):
        read_page(framed)
