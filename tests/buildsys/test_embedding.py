"""The system inside a test, as `buildsys.testing` gives it to other people's tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from git_server import Repository

from actors import Database
from actors.testing import evict, run_alarm, run_in_actor
from buildsys.core.build import Build, Outcome, State
from buildsys.errors import Invalid, NotFound
from buildsys.objects.build_buddy import BuildBuddy
from buildsys.store.queries import QUERIES
from buildsys.testing import BuildSystem

EXAMPLE = Path(__file__).parents[2] / "examples" / "embedding"


ORCHESTRATION = frozenset({"api", "orchestrator"})
"""Without a runner: an offered job stays offered."""


def workflow(*steps: str) -> dict[str, str]:
    lines = "".join(f"      - run: {step}\n" for step in steps)
    return {".github/workflows/ci.yml": f"on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n{lines}"}


async def test_a_push_is_built_and_read_back_and_nothing_is_left(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "shop")
    repository.commit(workflow("echo one; cat VERSION", "echo two") | {"VERSION": "42\n"})
    async with BuildSystem() as system:
        await system.add_project("shop", repository=repository.path)
        delivery = await system.push("shop")
        assert delivery.outcome == "built"
        (id,) = delivery.builds
        build = await system.wait(id)
        assert (build.outcome, build.branch, build.number) == (Outcome.SUCCESS, "main", 1)
        assert (await system.log(id, step=1), await system.log(id, step=2)) == ("one\n42\n", "two\n")
        assert (await system.log(id)).endswith("one\n42\ntwo\n")
        assert processes_of(system.folder)
    assert processes_of(system.folder) == []
    assert not system.folder.exists()


async def test_the_scheduler_starts_a_created_build(postgres_dsn: str, database: Database) -> None:
    async with BuildSystem(database_url=postgres_dsn, start_scheduler=False, roles=ORCHESTRATION) as system:
        build = await system.create_build()
        assert (build.state, build.waiting) == (State.QUEUED, "waits for the scheduler")

        await system.start_scheduler()

        started = await _in_state(system, build.id, State.STARTING)
        assert started.started_at is not None
        assert await database.many(QUERIES["queue_claim"], max_running=100, size=100) == []
        assert await database.pool.fetchval("SELECT count(*) FROM queue") == 0


async def test_a_single_build_is_selected(postgres_dsn: str) -> None:
    async with BuildSystem(database_url=postgres_dsn, start_scheduler=False) as system:
        build, _other = await system.create_build(), await system.create_build()
        found = await system.api.get(f"/builds/{build.id}")
        assert (found["id"], found["commit"], found["state"]) == (str(build.id), build.commit, "queued")
        assert msgspec.convert(found, Build) == build
        with pytest.raises(NotFound):
            await system.api.get(f"/builds/{uuid4()}")


async def test_a_buddy_can_be_looked_into_rung_and_evicted(postgres_dsn: str) -> None:
    async with BuildSystem(database_url=postgres_dsn, start_scheduler=False, roles=ORCHESTRATION) as system:
        build = await system.create_build()
        buddy = system.buddy(build.id)
        await buddy.start_build()
        await evict(buddy)
        assert set(await run_in_actor(buddy, _schedules)) == {"check_health"}
        assert await run_alarm(buddy, "check_health")
        assert (await system.get(build.id)).state == State.STARTING


async def test_a_person_starts_and_what_still_runs_at_the_end_is_canceled(
    tmp_path: Path, postgres_dsn: str, database: Database
) -> None:
    repository = Repository(tmp_path / "shop")
    repository.commit(workflow("echo begun; sleep 600"))
    async with BuildSystem(database_url=postgres_dsn) as system:
        await system.add_project("shop", repository=repository.path)
        with pytest.raises(Invalid, match="no branch 'nowhere'"):
            await system.start("shop", branch="nowhere")
        with pytest.raises(Invalid, match=r"f{40} is not in the history"):
            await system.start("shop", commit="f" * 40)
        (id,) = await system.start("shop", branch="main")
        await _in_state(system, id, State.RUNNING)
        with pytest.raises(TimeoutError, match=r"still running after 0\.1 s"):
            await system.wait(id, seconds=0.1)
    rows = await database.pool.fetch("SELECT outcome, reason FROM builds")
    assert [row["outcome"] for row in rows] == ["canceled"]


async def test_a_failing_step_fails_the_build(tmp_path: Path, postgres_dsn: str) -> None:
    repository = Repository(tmp_path / "shop")
    commit = repository.commit(workflow("echo broken; exit 3"))
    async with BuildSystem(database_url=postgres_dsn) as system:
        await system.add_project("shop", repository=repository.path)
        (id,) = await system.start("shop", commit=commit)
        build = await system.wait(id)
        assert build.outcome == Outcome.FAILED
        assert build.jobs[0].steps[1].exit_code == 3


def test_the_example_passes(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": tempfile.gettempdir()}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(EXAMPLE)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def processes_of(folder: Path) -> list[str]:
    """The command lines that speak of the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return [line for line in found if str(folder) in line]


async def _in_state(system: BuildSystem, id: UUID, state: State) -> Build:
    async with asyncio.timeout(20):
        while (found := await system.get(id)).state != state:
            await asyncio.sleep(0.02)
    return found


async def _schedules(buddy: BuildBuddy) -> dict[str, datetime]:
    return buddy.ctx.schedules()
