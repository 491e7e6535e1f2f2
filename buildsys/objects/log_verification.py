"""Whether a build's log is all that was written, and nothing else."""

from __future__ import annotations

import asyncio
from uuid import UUID

from buildsys.core.build import State
from buildsys.core.logs import BadFrame, LogReader, LogRecord, unfold
from buildsys.core.seal import Verdict, Verifier
from buildsys.store.builds import Builds

PAGE = 64
"""Records that are read and checked at once; each may stand for 1 MiB."""


class LogVerification:
    """Reads whole logs and follows their chains, beside the event loop."""

    def __init__(self, *, builds: Builds, logs: LogReader, key: bytes) -> None:
        self._builds = builds
        self._logs = logs
        self._key = key

    async def verify(self, build: UUID) -> Verdict:
        """What the build's log is worth. Raises `NotFound`."""
        stopped = (await self._builds.get(build)).state == State.STOPPED  # asked first: it stops with its log's end
        verifier = Verifier(key=self._key, build=build)
        after = 0
        while page := await self._logs.read(build, after=after, size=PAGE):
            await asyncio.to_thread(_take, verifier, page)
            after = page[-1].last
        return verifier.verdict(stopped=stopped)


def _take(verifier: Verifier, page: list[LogRecord]) -> None:
    for record in page:
        verifier.take(record, _printed(record))


def _printed(record: LogRecord) -> bytes | None:
    try:
        return unfold(record)
    except BadFrame:
        return None
