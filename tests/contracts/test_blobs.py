"""What every store of objects does, whatever it is made of: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiobotocore.session
import pytest
from s3_server import ACCESS, SECRET, s3_server

from buildsys.adapters.files import WRITING, FileBlobs
from buildsys.adapters.s3 import PART, Bucket, S3Blobs
from buildsys.core.blobs import BlobExists, BlobMissing, Blobs, BlobsUnavailable
from tests.buildsys.small_disk import small_disk

BUCKET = "the-bucket"

SIZES = [0, 1, 1000, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 12345]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that has one bucket."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with ThreadPoolExecutor() as aside:  # the tests' loop runs in this thread
            aside.submit(lambda: asyncio.run(make_bucket(server.url))).result()
        yield server.url


async def make_bucket(url: str) -> None:
    async with aiobotocore.session.get_session().create_client(
        "s3", endpoint_url=url, region_name="us-east-1"
    ) as client:
        await client.create_bucket(Bucket=BUCKET)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(params=["folder", "bucket"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    if request.param == "folder":
        yield FileBlobs(tmp_path / "blobs")
    else:
        request.getfixturevalue("credentials")
        bucket = Bucket(name=BUCKET, prefix=f"some/{uuid4().hex}/", endpoint=request.getfixturevalue("server"))
        async with S3Blobs(bucket) as blobs:
            yield blobs


async def in_pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def keys(blobs: Blobs, prefix: str = "") -> list[str]:
    return sorted([blob.key async for blob in blobs.objects(prefix)])


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_read(blobs: Blobs, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert await blobs.put("logs/a/1", in_pieces(data)) == size
    assert await blobs.read("logs/a/1", 0, size) == data
    for start in {0, size // 2, max(size - 5, 0)}:
        length = min(5, size - start)
        assert await blobs.read("logs/a/1", start, length) == data[start : start + length]


async def test_no_object_is_replaced(blobs: Blobs) -> None:
    await blobs.put("logs/a", in_pieces(b"first"))
    for again in (b"first", b"other", b"large" * PART):
        with pytest.raises(BlobExists, match="logs/a"):
            await blobs.put("logs/a", in_pieces(again))
    assert await blobs.read("logs/a", 0, 5) == b"first"


async def test_of_many_at_once_one_wins(blobs: Blobs) -> None:
    answers = await asyncio.gather(*(blobs.put("race", in_pieces(b"%d" % n)) for n in range(5)), return_exceptions=True)
    assert sorted(type(answer) for answer in answers if not isinstance(answer, BlobExists)) == [int]
    winner = [n for n, answer in enumerate(answers) if answer == 1]
    assert await blobs.read("race", 0, 1) == b"%d" % winner[0]


@pytest.mark.parametrize("size", [1000, 2 * PART])
async def test_an_attempt_that_fails_leaves_nothing(blobs: Blobs, size: int) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for piece in in_pieces(bytes(size)):
            yield piece
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await blobs.put("logs/a", breaking())
    assert await keys(blobs) == []
    await blobs.put("logs/a", in_pieces(b"x"))
    assert await keys(blobs) == ["logs/a"]


async def test_a_canceled_attempt_leaves_nothing(blobs: Blobs) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await blobs.put("logs/a", endless())
    assert await keys(blobs) == []


async def test_what_is_missing_is_said_to_be(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing, match="nothing"):
        await blobs.read("nothing", 0, 1)
    await blobs.put("short", in_pieces(b"12345"))
    for start, length in ((0, 6), (4, 2), (5, 1), (100, 1)):
        with pytest.raises(BlobMissing, match="short"):
            await blobs.read("short", start, length)


async def test_a_deleted_object_is_gone(blobs: Blobs) -> None:
    await blobs.put("logs/a", in_pieces(b"x"))
    await blobs.delete("logs/a")
    await blobs.delete("logs/a")
    with pytest.raises(BlobMissing):
        await blobs.read("logs/a", 0, 1)
    assert await keys(blobs) == []


async def test_keys_by_prefix(blobs: Blobs) -> None:
    names = ["logs/a/1", "logs/a/2", "logs/b/1", "other/a"]
    for name in names:
        await blobs.put(name, in_pieces(b"x"))
    assert await keys(blobs) == names
    assert await keys(blobs, "logs/a") == names[:2]
    assert await keys(blobs, "nothing") == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a\0b", "a b", "é"])
async def test_no_key_leads_elsewhere(blobs: Blobs, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        await blobs.put(key, in_pieces(b"x"))
    with pytest.raises(ValueError, match="no key"):
        await blobs.read(key, 0, 1)
    with pytest.raises(ValueError, match="no key"):
        await blobs.delete(key)


class TestFolder:
    async def test_others_see_nothing(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        await blobs.put("logs/a", in_pieces(b"x"))
        assert (tmp_path / "blobs" / "logs" / "a").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "blobs" / "logs").stat().st_mode & 0o777 == 0o700

    async def test_what_a_crash_left_is_swept(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        await blobs.put("logs/a", in_pieces(b"x"))
        left = tmp_path / "blobs" / WRITING / "left"
        left.write_bytes(b"half")
        os.utime(left, (0, 0))
        assert await keys(blobs) == ["logs/a"]
        blobs.sweep()
        assert not left.exists()

    async def test_another_start_on_the_folder_disturbs_no_put(self, tmp_path: Path) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one "
            FileBlobs(tmp_path / "blobs").sweep()
            yield b"two"

        blobs = FileBlobs(tmp_path / "blobs")
        await blobs.put("logs/a", pieces())
        assert await blobs.read("logs/a", 0, 7) == b"one two"

    async def test_no_folder_outlives_its_last_object(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        for key in ("here/logs/a/1", "here/logs/a/2", "here/logs/b/1"):
            await blobs.put(key, in_pieces(b"x"))
        logs = tmp_path / "blobs" / "here" / "logs"
        await blobs.delete("here/logs/a/1")
        assert (logs / "a").exists()
        await blobs.delete("here/logs/a/2")
        assert [path.name for path in logs.iterdir()] == ["b"]
        await blobs.delete("here/logs/b/1")
        assert not (tmp_path / "blobs" / "here").exists()

    async def test_a_folder_that_comes_and_goes_takes_objects(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path / "blobs")

        async def come_and_go(name: str) -> None:
            for number in range(50):
                key = f"logs/a/{name}{number}"
                await blobs.put(key, in_pieces(b"x"))
                assert await blobs.read(key, 0, 1) == b"x"
                await blobs.delete(key)

        await asyncio.gather(*(come_and_go(name) for name in "abcd"))
        assert await keys(blobs) == []

    async def test_a_folder_deleted_while_it_is_looked_at_is_made_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        await blobs.put("logs/a/1", in_pieces(b"x"))
        folder = tmp_path / "blobs" / "logs" / "a"
        is_dir = Path.is_dir
        deleted: list[Path] = []

        def deleting(path: Path) -> bool:
            if path == folder and not deleted:
                (folder / "1").unlink()
                folder.rmdir()
                deleted.append(folder)
            return is_dir(path)

        monkeypatch.setattr(Path, "is_dir", deleting)
        await blobs.put("logs/a/2", in_pieces(b"y"))
        assert deleted
        assert await blobs.read("logs/a/2", 0, 1) == b"y"

    async def test_a_file_in_a_folders_place_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "blobs" / "logs").mkdir(parents=True)
        (tmp_path / "blobs" / "logs" / "a").write_bytes(b"")
        with pytest.raises(BlobsUnavailable, match="Not a directory"):
            await FileBlobs(tmp_path / "blobs").put("logs/a/1", in_pieces(b"x"))

    async def test_only_the_folder_of_a_prefix_is_looked_through(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        for key in ("logs/a/1", "logs/b/1"):
            await blobs.put(key, in_pieces(b"x"))
        seen: list[str] = []
        scandir = os.scandir

        def seeing(folder: Path | str) -> Any:
            seen.append(Path(folder).name)
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", seeing)
        assert await keys(blobs, "logs/a/") == ["logs/a/1"]
        assert seen == ["a"]

    async def test_a_full_disk_is_named(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", "size=1m") as disk:
            blobs = FileBlobs(disk)
            with pytest.raises(BlobsUnavailable, match="No space left"):
                await blobs.put("logs/a", in_pieces(bytes(2 << 20)))
            assert await keys(blobs) == []


@pytest.mark.usefixtures("credentials")
class TestBucket:
    async def test_no_bucket(self, server: str) -> None:
        async with S3Blobs(Bucket(name="nowhere", endpoint=server)) as blobs:
            with pytest.raises(BlobsUnavailable, match="bucket nowhere refused: NoSuchBucket"):
                await keys(blobs)

    async def test_no_server(self) -> None:
        async with S3Blobs(Bucket(name="b", endpoint="http://127.0.0.1:1"), patience=1.0) as blobs:
            with pytest.raises(BlobsUnavailable, match="does not answer"):
                await blobs.read("a", 0, 1)

    async def test_a_false_secret_is_refused_and_not_repeated(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-false-secret")
        async with S3Blobs(Bucket(name=BUCKET, endpoint=server)) as blobs:
            with pytest.raises(BlobsUnavailable, match="refused") as refused:
                await blobs.put("a", in_pieces(b"x"))
        assert "false-secret" not in str(refused.value)

    async def test_a_failed_upload_leaves_no_parts(self, server: str) -> None:
        async def breaking() -> AsyncIterator[bytes]:
            yield bytes(2 * PART)
            raise RuntimeError

        async with S3Blobs(Bucket(name=BUCKET, endpoint=server)) as blobs:
            with pytest.raises(RuntimeError):
                await blobs.put("a", breaking())
        async with aiobotocore.session.get_session().create_client(
            "s3", endpoint_url=server, region_name="us-east-1"
        ) as client:
            assert (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads", []) == []


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("s3://b", Bucket(name="b")),
        ("s3://b/", Bucket(name="b")),
        ("s3://b/some/where/", Bucket(name="b", prefix="some/where/")),
        (
            "s3://b/p?endpoint=http://127.0.0.1:9000&region=eu",
            Bucket(name="b", prefix="p/", endpoint="http://127.0.0.1:9000", region="eu"),
        ),
    ],
)
def test_the_url_of_a_bucket(url: str, bucket: Bucket) -> None:
    assert Bucket.parse(url) == bucket


@pytest.mark.parametrize("url", ["", "b", "http://b/", "s3://", "s3://key:secret@b/", "s3://b?endpoin=x", "s3://b?x"])
def test_what_is_no_url_of_a_bucket(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Bucket.parse(url)
    assert "secret@" not in str(refused.value)
