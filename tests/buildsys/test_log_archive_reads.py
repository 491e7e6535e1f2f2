"""How much one read of an archived log brings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from archive_bench import ARCHIVING, Failing, archive_of, archived, build_log
from objects_bench import Bench

from buildsys.adapters.files import FileBlobs
from buildsys.core.logs import LogRecord
from buildsys.objects import log_archive


async def test_a_read_ends_with_its_share_of_bytes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Failing(FileBlobs(tmp_path / "blobs"))
    async with bench.nodes(blobs=blobs, limits=ARCHIVING) as nodes:
        build, _ = await build_log(bench, nodes.declared[0])
        await archived(bench, build)
    archive = archive_of(bench, blobs)
    all_at_once = await archive.read(build, after=0, size=10_000)
    monkeypatch.setattr(log_archive, "READ", 300)
    found, after = list[LogRecord](), 0
    while page := await archive.read(build, after=after, size=10_000):
        weights = [len(record.frame or msgspec.json.encode(record.data)) for record in page]
        assert sum(weights[:-1]) < 300
        found += page
        after = page[-1].last
    assert found == all_at_once
