"""What it takes to decode and plan a workflow, beside reading its YAML and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from buildsys.core.course import Course
from buildsys.core.decisions import JobEnd, Result, Start
from buildsys.core.definition import Workflow
from buildsys.core.planning import BuildPlan, PlanSettings, plan_build
from buildsys.core.workflow_file import decode_workflow
from tests.bench.figures import Say, spread

PATH = ".github/workflows/bench.yml"
LINES = 1000
JOBS = 100

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
    runs-on: ${{{{ matrix.os }}}}
    strategy: {{fail-fast: false, matrix: {{os: [a, b, c, d], n: {list(range(JOBS // 4))}, name: [unit]}}}}
    steps:
      - run: make test N=${{{{ matrix.n }}}}
  last:
    needs: test
    runs-on: a
    steps:
      - run: make report
"""


def measure(*, runs: int, say: Say) -> dict[str, Any]:
    """Milliseconds of each part, and the bytes of a stored plan."""
    text = large()
    say(f"{runs} runs of {len(text.splitlines())} lines, and of a matrix of {JOBS} jobs")
    workflow = decode_workflow(text, file=PATH)
    matrix = _plan(decode_workflow(_MATRIX, file=PATH))
    return {
        "lines": len(text.splitlines()),
        "yaml_alone_ms": _milliseconds(lambda: yaml.load(text, yaml.SafeLoader), runs),
        "decode_ms": _milliseconds(lambda: decode_workflow(text, file=PATH), runs),
        "plan_ms": _milliseconds(lambda: Course(_plan(workflow)).advance({}), runs),
        "plan_bytes": len(msgspec.json.encode(_plan(workflow))),
        "matrix_jobs": JOBS,
        "matrix_start_ms": _milliseconds(lambda: Course(matrix).advance({}), runs),
        "matrix_to_its_end_ms": _milliseconds(lambda: _run(matrix), runs),
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


def _milliseconds(measured: Callable[[], object], runs: int) -> dict[str, float]:
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        measured()
        took.append((time.perf_counter() - began) * 1000)
    return spread(took)
