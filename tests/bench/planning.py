"""What it takes to decode and plan a workflow, beside reading its YAML and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import yaml

from buildsys.core.course import Course
from buildsys.core.decisions import JobEnd, Result, Start
from buildsys.core.definition import Workflow
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build
from buildsys.core.workflow_file import decode_workflow
from tests.bench.builds import Ours
from tests.bench.figures import Say, spread
from tests.bench.site import site

PATH = ".github/workflows/bench.yml"
LINES = 1000
JOBS = 100
SERVED = 5
"""How often, at most, the matrix is built by the whole product."""

_JOB = """\
  job{number}:
    name: Job {number} on ${{{{ github.ref_name }}}}
    needs: {needs}
    if: github.event_name == 'push' && !cancelled()
    runs-on: ubuntu-latest
    timeout-minutes: 30
    env:
      STAGE: ${{{{ vars.STAGE || 'test' }}}}
      KEY: ${{{{ secrets.KEY }}}}
    outputs:
      version: ${{{{ steps.build.outputs.version }}}}
    steps:
      - uses: actions/checkout@v4
      - name: Build ${{{{ github.sha }}}}
        id: build
        run: |
          make build STAGE="$STAGE"
          echo "version=$(cat VERSION)" >> "$GITHUB_OUTPUT"
      - if: steps.build.outcome == 'success' && contains(github.ref, 'release')
        env:
          VERSION: ${{{{ steps.build.outputs.version }}}}
        run: make publish VERSION="$VERSION"
      - if: always()
        run: make clean
"""

_MATRIX = f"""\
on: push
jobs:
  test:
    name: ${{{{ matrix.name }}}} (${{{{ matrix.n }}}})
    runs-on: linux
    strategy: {{fail-fast: false, matrix: {{os: [a, b, c, d], n: {list(range(JOBS // 4))}, name: [unit]}}}}
    steps:
      - run: echo test ${{{{ matrix.n }}}}
  last:
    needs: test
    runs-on: linux
    steps:
      - run: echo report
"""


async def measure(*, runs: int, served: bool, say: Say) -> dict[str, Any]:
    """Milliseconds of each part, one beside the other in each run, and the bytes of a stored plan."""
    text = large()
    say(f"{runs} runs of {len(text.splitlines())} lines, and of a matrix of {JOBS} jobs")
    workflow, many = decode_workflow(text, file=PATH), decode_workflow(_MATRIX, file=PATH)
    planned, matrix = _plan(workflow), _plan(many)
    took = _milliseconds(
        {
            "yaml_events_ms": lambda: list(yaml.parse(text, yaml.CSafeLoader)),
            "yaml_alone_ms": lambda: yaml.load(text, yaml.CSafeLoader),
            "decode_ms": lambda: decode_workflow(text, file=PATH),
            "plan_ms": lambda: Course(_plan(workflow)).advance({}),
            "matrix_start_ms": lambda: Course(matrix).advance({}),
            "matrix_to_its_end_ms": lambda: _run(matrix),
        },
        runs,
    )
    return {
        "lines": len(text.splitlines()),
        "plan_bytes": len(msgspec.json.encode(planned)),
        "matrix_jobs": JOBS,
        **{name: spread(values) for name, values in took.items()},
        "decode_times_yaml_alone": spread(_ratios(took["decode_ms"], took["yaml_alone_ms"])),
        **({"matrix_served_ms": spread(await _served(many, runs=min(runs, SERVED), say=say))} if served else {}),
    }


def large() -> str:
    """A workflow of about a thousand lines: jobs in a chain of four abreast."""
    jobs = LINES // len(_JOB.splitlines())
    needs = (f"[job{number - 4}]" if number >= 4 else "[]" for number in range(jobs))
    return "on: push\njobs:\n" + "".join(_JOB.format(number=number, needs=need) for number, need in enumerate(needs))


def _plan(workflow: Workflow) -> BuildPlan:
    contexts = {
        "github": {"event_name": "push", "ref": "refs/heads/main", "ref_name": "main", "sha": "c0ffee", "event": {}},
        "inputs": {},
        "vars": {},
        "buildsys": {},
    }
    return plan_build(workflow, called={}, contexts=contexts, settings=PlanSettings(image="box"))


def _run(plan: BuildPlan) -> None:
    """A build from its first job to its last, asked anew whenever one of them is over."""
    course = Course(plan)
    rows: dict[str, JobEnd | None] = {}
    while (progress := course.advance(rows)).result is None:
        started = [decision for decision in progress.decisions if isinstance(decision, Start)]
        rows |= {job.id: None for decision in started for job in decision.jobs}
        running = next(id for id, end in rows.items() if end is None)
        rows[running] = JobEnd(result=Result.SUCCESS, order=len(rows))


def _milliseconds(parts: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(runs):
        for name, measured in parts.items():
            began = time.perf_counter()
            measured()
            took[name].append((time.perf_counter() - began) * 1000)
    return took


def _ratios(values: list[float], floors: list[float]) -> list[float]:
    return [value / floor for value, floor in zip(values, floors, strict=True)]


async def _served(workflow: Workflow, *, runs: int, say: Say) -> list[float]:
    """Milliseconds of whole builds of the workflow."""
    async with site(driver="process", BUILDSYS_SLOTS="2") as running:
        ours = await Ours.of(running, workflow)
        took = []
        for run in range(runs):
            took.append(await ours.one() * 1000)
            say(f"served {run + 1}/{runs}: {took[-1]:.0f} ms")
        await ours.check()
    return took
