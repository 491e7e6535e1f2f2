"""What runs after a cancel or a time limit, and what of a matrix ends, through the server on both drivers.

Sources: "Workflow cancellation reference", "Status check functions" and `jobs.<job_id>.strategy` in GitHub's
documentation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import outside
import pytest
from drivers import DRIVERS, system_on
from system import Repository, System, until

GRACE = 10.0


@pytest.fixture(params=DRIVERS)
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with system_on(tmp_path / "data", request.param, BUILDSYS_GRACE=str(GRACE), BUILDSYS_SLOTS="4") as system:
        yield system


async def started(system: System, repository: Repository, jobs: str) -> str:
    """A build of these jobs."""
    secret = await system.add_project("demo", str(repository.path))
    commit = repository.workflow(f"on: push\njobs:\n{jobs}")
    assert await system.push("demo", secret, commit=commit) == 202
    return await system.only_build("demo")


async def up(system: System, build: str, job: str) -> None:
    """Returns once the job's first step has said `up`."""

    async def holds() -> bool:
        return b"up\n" in await system.text(build, job=job, step=1)

    await until(holds, what=f"{job} to be up")


def ends(build: dict[str, Any]) -> dict[str, str]:
    return {job["id"]: job["outcome"] for job in build["jobs"]}


def steps(build: dict[str, Any], job: str) -> list[str]:
    """How the steps of a job ended, without its set-up."""
    (found,) = [each for each in build["jobs"] if each["id"] == job]
    return [step["outcome"] for step in found["steps"]][1:]


CANCELED = """
  a:
    runs-on: linux
    steps:
      - run: echo up; sleep 600 & wait
      - run: echo not this
      - run: echo always
        if: always()
      - run: echo cancelled
        if: cancelled()
      - run: echo failure
        if: failure()
  going: {if: always(), runs-on: linux, steps: [{run: 'echo up; sleep 3; echo went on'}]}
  after: {needs: a, runs-on: linux, steps: [{run: 'echo not this'}]}
  cleaning:
    needs: [a, after]
    if: always()
    runs-on: linux
    steps: [{run: 'echo ${{ needs.a.result }} and ${{ needs.after.result }}'}]
  telling: {needs: a, if: cancelled(), runs-on: linux, steps: [{run: echo told}]}
"""


async def test_after_a_cancel_run_the_steps_and_jobs_that_say_so(system: System, repository: Repository) -> None:
    build = await started(system, repository, CANCELED)
    for job in ("a", "going"):
        await up(system, build, job)
    await system.call("POST", f"/builds/{build}/cancel")
    found = await system.stopped(build)
    assert ends(found) == {
        "a": "canceled",
        "going": "success",
        "after": "skipped",
        "cleaning": "success",
        "telling": "success",
    }
    assert steps(found, "a") == ["canceled", "skipped", "success", "success", "skipped"]
    assert (await system.text(build, job="a")).endswith(b"up\nalways\ncancelled\n")
    assert (await system.text(build, job="going", step=1)) == b"up\nwent on\n"
    assert (await system.text(build, job="cleaning", step=1)) == b"cancelled and skipped\n"
    assert (found["outcome"], found["reason"].split(" of ")[0]) == ("canceled", "canceled by administrator")


TIMED_OUT = """
  a:
    runs-on: linux
    timeout-minutes: 0.1
    steps:
      - run: echo up; sleep 600 & wait
      - run: echo not this
      - run: echo always
        if: always()
  b: {needs: a, runs-on: linux, steps: [{run: 'echo not this'}]}
  c: {needs: a, if: always(), runs-on: linux, steps: [{run: 'echo a is ${{ needs.a.result }}'}]}
  d: {needs: a, if: failure(), runs-on: linux, steps: [{run: 'echo not this'}]}
"""


async def test_a_job_whose_time_is_up_is_cancelled_for_the_others(system: System, repository: Repository) -> None:
    build = await started(system, repository, TIMED_OUT)
    found = await system.stopped(build)
    assert ends(found) == {"a": "timed_out", "b": "skipped", "c": "success", "d": "skipped"}
    assert steps(found, "a") == ["timed_out", "skipped", "success"]
    assert (await system.text(build, job="c", step=1)) == b"a is cancelled\n"
    assert (found["jobs"][0]["time_limit"], found["jobs"][1]["time_limit"]) == (6.0, 1200.0)
    assert (found["outcome"], found["reason"]) == ("timed_out", "the job's time limit of 6 s was reached")


async def test_a_combination_that_fails_ends_the_others_and_they_are_gone(
    system: System, repository: Repository
) -> None:
    marker = f"combination-{uuid4().hex}"
    build = await started(
        system,
        repository,
        f"""
  a:
    runs-on: linux
    strategy: {{matrix: {{x: [fail, wait, wait too]}}, max-parallel: 2}}
    env: {{MARKER: {marker}}}
    steps: [{{run: "echo up; if [ '${{{{ matrix.x }}}}' = fail ]; then sleep 8; exit 1; fi; sleep 600"}}]
""",
    )
    await up(system, build, "a.2")
    assert [job["waiting"] for job in (await system.build(build))["jobs"]] == [None, None, "max-parallel is 2"]
    assert outside.marked(marker)
    found = await system.stopped(build)
    assert outside.marked(marker) == []
    assert ends(found) == {"a.1": "failed", "a.2": "canceled", "a.3": "canceled"}
    assert {job["reason"] for job in found["jobs"][1:]} == {"a.1 failed, and its matrix fails fast"}
    assert found["outcome"] == "failed"


async def test_combinations_may_fail_one_by_one(system: System, repository: Repository) -> None:
    build = await started(
        system,
        repository,
        """
  a:
    runs-on: linux
    continue-on-error: ${{ matrix.may }}
    strategy: {max-parallel: 1, matrix: {may: [true, false]}}
    steps: [{run: "echo ${{ matrix.may }}; ${{ matrix.may && 'exit 1' || 'exit 0' }}"}]
  b: {needs: a, runs-on: linux, steps: [{run: 'echo ${{ needs.a.result }}'}]}
""",
    )
    found = await system.stopped(build)
    assert [(job["id"], job["outcome"], job["tolerated"]) for job in found["jobs"]] == [
        ("a.1", "failed", True),
        ("a.2", "success", False),
        ("b", "success", False),
    ]
    assert (found["outcome"], await system.text(build, job="b", step=1)) == ("success", b"success\n")
    first, second = found["jobs"][:2]
    assert first["stopped_at"] <= second["started_at"], "one at a time"
