"""Which blob store the settings name, and which of them cannot be."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from buildsys.adapters.files import FileBlobs
from buildsys.adapters.s3 import S3Blobs
from buildsys.blob_store import open_blobs
from buildsys.config import Config, InvalidConfig

SHARED = "postgresql://ci@db/ci"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, FileBlobs),
        ({"keep_logs": 5}, FileBlobs),
        ({"database_url": SHARED}, type(None)),
        ({"database_url": SHARED, "blobs": "s3://logs", "keep_logs": 5}, S3Blobs),
    ],
)
async def test_the_store_that_is_named(tmp_path: Path, settings: dict[str, Any], kind: type) -> None:
    async with AsyncExitStack() as stack:
        assert type(await open_blobs(stack, Config(data_dir=tmp_path, **settings), tmp_path / "blobs")) is kind


@pytest.mark.parametrize("rule", ["keep_logs_for", "keep_logs", "keep_log_bytes"])
async def test_a_rule_for_logs_that_are_archived_nowhere_is_refused(tmp_path: Path, rule: str) -> None:
    config = Config(data_dir=tmp_path, database_url=SHARED, **{rule: 5})
    async with AsyncExitStack() as stack:
        with pytest.raises(InvalidConfig, match=rf"^--{rule.replace('_', '-')}: .*--blobs"):
            await open_blobs(stack, config, tmp_path / "blobs")
