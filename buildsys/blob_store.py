"""The blob store that the settings name: a folder or a bucket."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from buildsys.adapters.files import FileBlobs
from buildsys.adapters.s3 import Bucket, S3Blobs
from buildsys.config import Config, InvalidConfig
from buildsys.core.blobs import Blobs
from buildsys.private_files import private_folder


async def open_blobs(stack: AsyncExitStack, config: Config, usual: Path) -> Blobs | None:
    """The store, open until the stack's end. Where none is named it is the folder `usual`.

    None where the database is shared and the store is not named: another node could not read what lies on this disk.
    Raises `InvalidConfig` where a rule for archived logs is set then, which there are none of.
    """
    if config.blobs is None and config.database_url is not None:
        for rule in ("keep_logs_for", "keep_logs", "keep_log_bytes"):
            if getattr(config, rule) is not None:
                raise InvalidConfig(
                    f"--{rule.replace('_', '-')}: only archived logs are ever deleted, and with --database-url none is "
                    "archived unless --blobs says where"
                )
        return None
    if config.blobs is not None and config.blobs.startswith("s3://"):
        try:
            bucket = Bucket.parse(config.blobs)
        except ValueError as error:
            raise InvalidConfig(f"--blobs: {error}") from None
        return await stack.enter_async_context(S3Blobs(bucket))
    folder = FileBlobs(private_folder(Path(config.blobs) if config.blobs else usual))
    folder.sweep()
    return folder
