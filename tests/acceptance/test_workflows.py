"""Workflows through the whole system: from a push or a start to what the jobs printed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from system import Repository, until

from buildsys.core.build import Outcome
from buildsys.testing import BuildSystem

FILE = ".github/workflows/ci.yml"
CALLED = ".github/workflows/called.yml"

WORKFLOW = f"""
on: [push, workflow_dispatch]
run-name: Build ${{{{ github.ref_name }}}}
env: {{GREETING: hello}}
jobs:
  choose:
    runs-on: ubuntu-latest
    outputs: {{versions: '${{{{ steps.pick.outputs.versions }}}}'}}
    steps:
      - uses: actions/checkout@v4
      - id: pick
        run: echo 'versions=["one", "two"]' >> "$GITHUB_OUTPUT"
  test:
    needs: choose
    runs-on: ubuntu-latest
    strategy:
      matrix: {{version: '${{{{ fromJSON(needs.choose.outputs.versions) }}}}'}}
    steps:
      - name: Say ${{{{ matrix.version }}}}
        run: echo "$GREETING ${{{{ matrix.version }}}}"
  secret:
    runs-on: ubuntu-latest
    steps:
      - env: {{KEY: '${{{{ secrets.key }}}}'}}
        run: test "$KEY" = "it's hidden" && echo "$KEY"
  never:
    needs: test
    if: github.ref_name == 'elsewhere'
    runs-on: ubuntu-latest
    steps: [{{run: exit 1}}]
  call:
    needs: test
    uses: ./{CALLED}
    with: {{who: '${{{{ needs.test.result }}}}'}}
"""
INNER = """
on: {workflow_call: {inputs: {who: {type: string}}}}
jobs:
  inner:
    runs-on: ubuntu-latest
    steps: [{run: 'echo called by ${{ inputs.who }}'}]
"""


@pytest.fixture
async def system(postgres_dsn: str) -> AsyncIterator[BuildSystem]:
    async with BuildSystem(database_url=postgres_dsn) as system:
        yield system


async def test_a_workflow_of_all_kinds_of_jobs(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    repository.commit({FILE: WORKFLOW, CALLED: INNER})
    await system.add_project("shop", repository=repository.path)
    refused = await system.push("shop")
    missing = await system.wait(refused.builds[0])
    assert (missing.outcome, missing.reason) == (
        Outcome.ERRORED,
        "secret KEY is missing: set it with 'buildsys secret set KEY'",
    )
    await system.api.put("/projects/shop/secrets/KEY", {"value": "it's hidden"})
    build = await system.wait((await system.push("shop")).builds[0], seconds=120)
    assert (build.outcome, build.reason, build.title) == (Outcome.SUCCESS, None, "Build main")
    assert [(job.id, job.name, job.outcome) for job in build.jobs] == [
        ("choose", "choose", Outcome.SUCCESS),
        ("test.1", "test (one)", Outcome.SUCCESS),
        ("test.2", "test (two)", Outcome.SUCCESS),
        ("secret", "secret", Outcome.SUCCESS),
        ("never", "never", Outcome.SKIPPED),
        ("call.inner", "call / inner", Outcome.SUCCESS),
    ]
    assert [step.name for step in build.jobs[2].steps] == ["Set up job", "Say two"]
    assert await system.log(build.id, job="test.1", step=1) == "hello one\n"
    assert await system.log(build.id, job="secret", step=1) == "***\n"
    assert await system.log(build.id, job="call.inner", step=1) == "called by success\n"
    assert "hidden" not in await system.log(build.id)


async def test_inputs_of_a_start_and_a_job_that_runs_after_a_cancel(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    text = (
        "on: {workflow_dispatch: {inputs: {level: {default: low}}}}\njobs:\n"
        "  a: {runs-on: linux, steps: [{run: 'echo ${{ inputs.level }}; sleep 600'}]}\n"
        "  b: {needs: a, if: always(), runs-on: linux, steps: [{run: 'echo a is ${{ needs.a.result }}'}]}\n"
    )
    repository.commit({FILE: text})
    await system.add_project("shop", repository=repository.path)
    (id,) = await system.start("shop", level="high")

    async def has_begun() -> bool:
        return await system.log(id, job="a", step=1) == "high\n"

    await until(has_begun)
    await system.api.post(f"/builds/{id}/cancel")
    build = await system.wait(id)
    assert [(job.id, job.outcome) for job in build.jobs] == [("a", Outcome.CANCELED), ("b", Outcome.SUCCESS)]
    assert build.outcome == Outcome.CANCELED
    assert await system.log(id, job="b", step=1) == "a is cancelled\n"
