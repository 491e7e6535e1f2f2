"""What is done to an archived log or to its row: the verification says that, and where, and never fails."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import zstandard
from archive_bench import (
    ARCHIVING,
    BATCHES,
    Failing,
    archive_of,
    archived,
    build_log,
    in_database,
    put_off,
    ring,
    whole,
)
from objects_bench import Bench, Objects, until

from buildsys.adapters.files import FileBlobs
from buildsys.core.archive import SKIPPABLE, TRAILER, foot, read_page
from buildsys.objects.log_archive import LogDeleted
from buildsys.store.archives import Rules


@pytest.fixture
def blobs(tmp_path: Path) -> Failing:
    return Failing(FileBlobs(tmp_path / "blobs"))


@pytest.fixture
async def one(bench: Bench, blobs: Failing) -> AsyncIterator[Objects]:
    async with bench.nodes(blobs=blobs, limits=ARCHIVING) as nodes:
        yield nodes.declared[0]


@pytest.fixture
async def build(bench: Bench, one: Objects) -> UUID:
    build, _ = await build_log(bench, one)
    await archived(bench, build)
    return build


@pytest.fixture
def file(build: UUID, tmp_path: Path) -> Path:
    [file] = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    return file


async def faults(bench: Bench, build: UUID, blobs: Failing) -> list[tuple[int, str]]:
    found = await bench.verification(blobs).verify(build)
    assert found.state == "broken"
    return [(fault.cursor, fault.problem) for fault in found.faults]


async def test_a_flipped_byte_of_a_frame(bench: Bench, build: UUID, file: Path, blobs: Failing) -> None:
    log = await whole(archive_of(bench, blobs), build)
    data = bytearray(file.read_bytes())
    frame = log[40].frame
    assert frame is not None
    data[data.find(frame) + len(frame) - 1] ^= 1
    file.write_bytes(data)
    [(cursor, _), (behind, problem)] = await faults(bench, build, blobs)
    assert (cursor, behind) == (log[40].first, log[-1].last + 1)
    assert "another SHA-256" in problem


async def test_a_flipped_byte_anywhere(bench: Bench, build: UUID, file: Path, blobs: Failing) -> None:
    """Of each region the first bytes, the last, and some between."""
    good = file.read_bytes()
    archive = await bench.archives.get(build)
    assert archive is not None
    [page] = archive.root.pages
    begin = len(good) - len(foot(archive.root))
    regions = {
        "frames": (0, page.offset),
        "page": (page.offset, begin),
        "root": (begin, len(good) - TRAILER),
        "trailer": (len(good) - TRAILER, len(good)),
    }
    for region, (start, end) in regions.items():
        for place in {*range(start, start + 9), *range(start, end, (end - start) // 5), end - 1}:
            data = bytearray(good)
            data[place] ^= 1
            file.write_bytes(data)
            cursors = {cursor for cursor, _ in await faults(bench, build, blobs)}
            behind = archive.root.last + 1
            expected = {"page": {1}, "root": {behind}, "trailer": {behind}}.get(region, cursors | {behind})
            assert cursors == expected, (region, place)


async def test_too_few_or_too_many_bytes(bench: Bench, build: UUID, file: Path, blobs: Failing) -> None:
    good = file.read_bytes()
    archive = await bench.archives.get(build)
    assert archive is not None
    [page], behind = archive.root.pages, archive.root.last + 1
    for data, cursor, problem in (
        (b"", 1, "ends before"),
        (good[: page.offset // 2], 1, "ends before"),
        (good[: page.offset], 1, "ends before"),
        (good[: page.offset + page.length], behind, "ends before"),
        (good[:-1], behind, "ends before"),
        (good + b"x", behind, "has more than"),
    ):
        file.write_bytes(data)
        [(found, said)] = await faults(bench, build, blobs)
        assert (found, problem in said) == (cursor, True), said
    file.unlink()
    [(found, said)] = await faults(bench, build, blobs)
    assert (found, "there is no object" in said) == (1, True)


async def test_an_index_made_by_somebody_else(bench: Bench, build: UUID, file: Path, blobs: Failing) -> None:
    """A page that opens, and sends its reader to places that are not there."""
    archive = await bench.archives.get(build)
    assert archive is not None
    [page] = archive.root.pages
    data = file.read_bytes()
    places = read_page(data[page.offset : page.offset + page.length])
    for change in ({"offset": 1 << 60}, {"length": 1 << 20}, {"first": 1, "last": 1}):
        forged = [*places[:-1], msgspec.structs.replace(places[-1], **change)]
        packed = zstandard.compress(msgspec.msgpack.encode(forged))
        framed = struct.pack("<II", SKIPPABLE, len(packed)) + packed
        file.write_bytes(data[: page.offset] + framed)
        root = msgspec.structs.replace(archive.root, pages=(msgspec.structs.replace(page, length=len(framed)),))
        await alter(bench, build, "root = $2", msgspec.msgpack.encode(root))
        assert await faults(bench, build, blobs)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("root = root || '\\x00'", "does not open"),
        ("root = '\\x'", "does not open"),
        ("root = set_byte(root, length(root) - 1, get_byte(root, length(root) - 1) # 1)", ""),
        ("sha256 = sha256(sha256)", "another SHA-256"),
        ("size = size - 1", "does not end with its root"),
        ("size = size + 1", "ends before"),
        ("size = 0", "does not end with its root"),
        ("key = 'elsewhere'", "there is no object"),
    ],
)
async def test_a_changed_row(bench: Bench, build: UUID, blobs: Failing, change: str, problem: str) -> None:
    await alter(bench, build, change)
    [*_, (_, said)] = await faults(bench, build, blobs)
    assert problem in said


@pytest.mark.parametrize("rest", ["", ", key = NULL"])
async def test_a_false_record_of_its_deletion(bench: Bench, build: UUID, blobs: Failing, rest: str) -> None:
    await alter(bench, build, "deleted_at = now(), rule = 'age', deletion = sha256('guess')" + rest)
    [(cursor, said)] = await faults(bench, build, blobs)
    assert cursor == 1
    assert "by a record that retention did not make" in said
    assert await bench.archives.deleted() == [], "nothing is deleted for it"


async def test_a_log_that_retention_deletes_meanwhile_is_deleted(bench: Bench, build: UUID, blobs: Failing) -> None:
    class Deleting(Failing):
        async def read(self, key: str, start: int, length: int) -> bytes:
            await bench.archives.expire(Rules(age=0.0))
            await blobs.delete(key)
            return await super().read(key, start, length)

    with pytest.raises(LogDeleted, match="by the rule about age"):
        await bench.verification(Deleting(blobs.behind)).verify(build)


async def test_an_object_that_reads_back_otherwise_is_not_trusted(
    bench: Bench, one: Objects, blobs: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = blobs.read

    async def flipped(key: str, start: int, length: int) -> bytes:
        return (await read(key, start, length - 1)) + b"\x01" if start == 0 else await read(key, start, length)

    monkeypatch.setattr(blobs, "read", flipped)
    build, before = await build_log(bench, one)
    await until(lambda: put_off(bench, build))
    assert await in_database(bench, build) > BATCHES
    monkeypatch.undo()
    await ring(one, build)
    await archived(bench, build)
    assert (await whole(archive_of(bench, blobs), build))[: len(before)] == before


async def alter(bench: Bench, build: UUID, change: str, *values: object) -> None:
    status = await bench.database.pool.execute(f"UPDATE log_archives SET {change} WHERE build = $1", build, *values)
    assert status == "UPDATE 1"
