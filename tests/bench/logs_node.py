"""An API and an orchestrator in a process of its own, in which builds print what is ready: JSON lines in and out.

    python -m tests.bench.logs_node DSN FOLDER

It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
import zstandard

from actors import Database
from buildsys.app import App
from buildsys.config import Config
from buildsys.core.assignment import ContainerStarted, Item, JobStopped, LogBatch, Report, StepStarted, StepStopped
from buildsys.core.build import Outcome
from buildsys.core.project import ProjectSettings
from buildsys.core.workflow_file import decode_workflow
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.testing import queue_build
from tests.bench.logs_text import numbered, stamped

LABEL = "nobody"
"""What no runner has: the jobs are this process's own."""

WORKFLOW = decode_workflow(
    f"on: push\njobs: {{only: {{runs-on: {LABEL}, steps: [{{name: print, run: 'true'}}]}}}}", file="bench"
)


class Printing:
    """The one job of a build, as a runner reports it."""

    def __init__(self, buddy: BuildBuddy, build: UUID, assignment: UUID) -> None:
        self._buddy = buddy
        self._build = build
        self._assignment = assignment
        self._runner = uuid4()
        self._offset = self._lines = 0
        self._ready: list[LogBatch] = []

    async def begin(self) -> None:
        await self._buddy.claim_job(self._assignment, self._runner, 1)
        await self._report(
            StepStarted(step=0, at=_now()),
            ContainerStarted(container="none", driver="bench", at=_now()),
            StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=0, at=_now()),
            StepStarted(step=1, at=_now()),
        )

    def prepare(self, *, lines: int, batch: int) -> None:
        """Make so many lines ready, in batches of so many."""
        end = self._lines + lines
        while self._lines < end:
            count = min(batch, end - self._lines)
            self._ready.append(self._batch(numbered(self._lines + 1, count), count))
            self._lines += count

    async def append(self) -> float:
        """Report what is ready, batch by batch, each when the one before is durable; the seconds that took."""
        began = time.perf_counter()
        for batch in self._ready:
            await self._report(batch)
        self._ready.clear()
        return time.perf_counter() - began

    async def tick(self, *, ticks: int, pause: float, lines: int) -> list[float]:
        """Report some lines at a time that say when that was; the seconds until each report was durable."""
        took = []
        for _ in range(ticks):
            await asyncio.sleep(pause)
            began = time.monotonic_ns()
            await self._report(self._batch(stamped(began, lines), lines))
            took.append((time.monotonic_ns() - began) / 1e9)
        return took

    async def end(self) -> None:
        await self._report(
            StepStopped(step=1, outcome=Outcome.SUCCESS, exit_code=0, at=_now()),
            JobStopped(outcome=Outcome.SUCCESS, at=_now()),
        )

    def _batch(self, text: bytes, lines: int) -> LogBatch:
        offset, self._offset = self._offset, self._offset + len(text)
        return LogBatch(step=1, offset=offset, end=self._offset, lines=lines, frame=zstandard.compress(text), at=_now())

    async def _report(self, *items: Item) -> None:
        reply = await self._buddy.report(
            Report(assignment=self._assignment, build=self._build, runner=str(self._runner), incarnation=1, items=items)
        )
        assert not reply.revoked


class Builds:
    """What can be asked for, by its name."""

    def __init__(self, app: App, database: Database, project: UUID) -> None:
        self._app = app
        self._database = database
        self._project = project
        self._printing: dict[str, Printing] = {}

    async def begin(self) -> str:
        """Start a build; its id."""
        id = await queue_build(self._app.stores.builds, self._project, WORKFLOW, title="bench", time_limit=36000.0)
        buddy = self._app.namespaces.builds.get(str(id))
        await buddy.start_build()
        assignment = await self._database.pool.fetchval("SELECT id FROM assignments WHERE build = $1", id)
        printing = self._printing[str(id)] = Printing(buddy, id, assignment)
        await printing.begin()
        return str(id)

    async def prepare(self, *, builds: list[str], lines: int, batch: int) -> None:
        for build in builds:
            await asyncio.to_thread(self._printing[build].prepare, lines=lines, batch=batch)

    async def append(self, *, builds: list[str]) -> float:
        """All of them at once; the seconds until all is durable."""
        began = time.perf_counter()
        await asyncio.gather(*(self._printing[build].append() for build in builds))
        return time.perf_counter() - began

    async def tick(self, *, build: str, ticks: int, pause: float, lines: int) -> list[float]:
        return await self._printing[build].tick(ticks=ticks, pause=pause, lines=lines)

    async def end(self, *, build: str) -> None:
        await self._printing.pop(build).end()


def _now() -> datetime:
    return datetime.now(UTC)


async def main(dsn: str, folder: str) -> None:
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(30),
    )
    config = Config(
        data_dir=Path(folder),
        database_url=dsn,
        listen="127.0.0.1:0",
        roles=frozenset({"api", "orchestrator"}),
        blobs=str(Path(folder) / "archive"),
        archive_after=0.001,
        runner_lost_after=36000.0,
    )
    async with App(config) as app, Database(dsn, size=2) as database:
        project = await app.stores.projects.create("bench", ProjectSettings(repository="https://example.invalid/x.git"))
        builds = Builds(app, database, project.id)
        print(json.dumps({"url": app.url, "token": app.admin_token}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted: dict[str, Any] = json.loads(line)
            answer = await getattr(builds, wanted.pop("what"))(**wanted)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
