"""Planned jobs run by a real runner, as they are reported: names, actions, summaries, outputs, and after a cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from git_server import Repository
from runner_bench import Bench, process_bench
from runner_orchestrator import Job, MemoryOrchestrator, assignment, until
from steps_bench import job as planned
from test_composite import GREET, action

from buildsys.core.assignment import Source
from buildsys.core.build import Outcome

SUCCESS, FAILED, SKIPPED, CANCELED = Outcome.SUCCESS, Outcome.FAILED, Outcome.SKIPPED, Outcome.CANCELED


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    await bench.start()
    yield bench
    await bench.close()


def source(tmp_path: Path, files: dict[str, str]) -> Source:
    repository = Repository(tmp_path / "repository")
    return Source(url=str(repository.path), commit=repository.commit(files))


async def run(bench: Bench, yaml: str, **fields: object) -> Job:
    return await bench.run(job=planned(yaml), **fields)


async def test_names_summaries_and_outputs(bench: Bench) -> None:
    job = await run(
        bench,
        """\
outputs: {tag: "${{ steps.a.outputs.tag }}"}
steps:
  - name: Build ${{ matrix.os }}
    id: a
    run: |
      echo tag=v1 >> "$GITHUB_OUTPUT"
      echo "# It is built" >> "$GITHUB_STEP_SUMMARY"
      test "$(cat "$GITHUB_EVENT_PATH")" != "{}"
  - run: exit 3
    continue-on-error: true
""",
    )
    assert job.stopped is not None
    assert (job.stopped.outcome, job.stopped.outputs) == (SUCCESS, {"tag": "v1"})
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS, 2: FAILED}
    assert [job.named[n].name for n in (1, 2)] == ["Build linux", "Run exit 3"]
    assert [job.ends[n].summary for n in (1, 2)] == ["# It is built\n", None]
    assert [job.ends[n].tolerated for n in (1, 2)] == [False, True]


async def test_what_holds_a_secret_is_not_told(bench: Bench) -> None:
    """An output that may hold a secret is skipped, one with a value of add-mask, too. All else is masked."""
    job = await run(
        bench,
        """\
outputs:
  bad: x${{ steps.a.outputs.secret }}
  encoded: ${{ steps.a.outputs.encoded }}
  added: ${{ steps.b.outputs.added }}
  good: fine
steps:
  - id: a
    name: With ${{ secrets.TOKEN }}
    run: |
      echo "secret=$T" >> "$GITHUB_OUTPUT"
      echo "encoded=$(printf %s "$T" | base64)" >> "$GITHUB_OUTPUT"
      echo "it is $T" >> "$GITHUB_STEP_SUMMARY"
      echo "wrong line with $T" >> "$GITHUB_ENV"
    env: {T: "${{ secrets.TOKEN }}"}
    continue-on-error: true
  - id: b
    run: echo "::add-mask::added-value"; echo "added=added-value" >> "$GITHUB_OUTPUT"
""",
        named_secrets={"TOKEN": "hunter2hunter2"},
    )
    assert job.stopped is not None
    assert job.stopped.outputs == {"good": "fine"}
    assert set(job.stopped.withheld) == {"bad", "encoded", "added"}
    assert job.named[1].name == "With ***"
    assert job.ends[1].summary == "it is ***\n"
    assert b"neither NAME=VALUE nor NAME<<DELIMITER: 'wrong line with ***'" in job.logs[1]


ACTIONS = """\
steps:
  - uses: ./greet
    env: {GREETING: Hello}
    with: {extra: x}
  - run: echo "added-value behind"
  - uses: ./mask
  - run: echo "added-value masked"
"""
MASK = action("- run: |\n    echo added-value; echo '::add-mask::added-value'; echo added-value\n  shell: bash\n")


@pytest.mark.parametrize("seed", range(6))
async def test_actions_are_told_step_by_step(tmp_path: Path, seed: int) -> None:
    """However reports get lost or taken back. What a step within an action masks is masked in the steps behind it."""
    bench = process_bench(tmp_path)
    bench.orchestrator = MemoryOrchestrator(faults=0.2 if seed else 0.0, seed=seed)
    await bench.start()
    files = {"greet/action.yml": GREET, "greet/text": "text\n", "mask/action.yml": MASK}
    try:
        job = await run(bench, ACTIONS, source=source(tmp_path, files))
    finally:
        await bench.close()
    assert job.stopped is not None
    assert job.stopped.outcome is SUCCESS
    assert job.logs[1] == b"buildsys: warning: the action has no input 'extra'; it has who-to-greet\n"
    assert (job.logs[1001], job.logs[1002]) == (b"Hello World\n", b"text\n")
    assert job.logs[2] == b"added-value behind\n"
    assert job.logs[1003] == b"added-value\n::add-mask::***\n***\n"
    assert job.logs[4] == b"*** masked\n"
    assert job.position.started == (0, 1, 1001, 1002, 2, 3, 1003, 4)
    assert {number: start.parent for number, start in job.named.items() if number > 1000} == {1001: 1, 1002: 1, 1003: 3}
    assert set(job.outcomes.values()) == {SUCCESS}


async def test_a_runner_restarts_within_an_action(bench: Bench, tmp_path: Path) -> None:
    body = "- run: echo '::add-mask::added-value'\n  shell: bash\n"
    body += "- run: echo begun; sleep 0.5; echo added-value\n  shell: bash\n"
    offered = assignment(
        job=planned("steps:\n  - uses: ./a\n  - run: echo added-value\n"),
        source=source(tmp_path, {"a/action.yml": action(body)}),
    )
    job = bench.orchestrator.offer(offered)
    await until(lambda: 1002 in job.logs)
    await bench.stop()
    await bench.start()
    await until(lambda: job.stopped)
    assert job.logs[1002] == b"begun\n***\n"
    assert job.logs[2] == b"***\n"
    assert job.position.started == (0, 1, 1001, 1002, 2)


async def test_steps_after_a_cancel(bench: Bench) -> None:
    yaml = """\
steps:
  - run: echo begun; sleep 60
  - run: echo no
  - run: echo "cleaned up ${{ job.status }}"
    if: always()
"""
    job = bench.orchestrator.offer(assignment(job=planned(yaml)))
    await until(lambda: 1 in job.logs)
    bench.orchestrator.cancel(job)
    await until(lambda: job.stopped)
    assert job.stopped is not None
    assert job.stopped.outcome is CANCELED
    assert job.outcomes == {0: SUCCESS, 1: CANCELED, 2: SKIPPED, 3: SUCCESS}
    assert job.logs[3] == b"cleaned up cancelled\n"


async def test_the_grace_bounds_what_runs_after_the_time_limit(bench: Bench) -> None:
    yaml = "steps:\n  - run: echo begun; sleep 60\n  - run: echo cleaning; sleep 60\n    if: always()\n"
    job = await run(bench, yaml, limit=1.5, grace=1.0)
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.TIMED_OUT
    assert job.outcomes == {0: SUCCESS, 1: Outcome.TIMED_OUT, 2: Outcome.TIMED_OUT}
    assert job.logs[2] == b"cleaning\n"


async def test_a_runner_that_restarts_after_a_cancel(bench: Bench) -> None:
    yaml = """\
steps:
  - run: echo begun; sleep 60
  - run: echo cleaning; sleep 60
    if: always()
  - run: echo last
    if: cancelled()
"""
    job = bench.orchestrator.offer(assignment(job=planned(yaml), grace=20.0))
    await until(lambda: 1 in job.logs)
    bench.orchestrator.cancel(job)
    await until(lambda: 2 in job.logs)
    await bench.stop()
    await bench.start()
    await until(lambda: job.stopped)
    assert job.outcomes == {0: SUCCESS, 1: CANCELED, 2: CANCELED, 3: SUCCESS}
    assert job.logs[3] == b"last\n"


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        (
            "outputs: {o: '${{ fromJSON(steps.a.outputs.x) }}'}\nsteps:\n  - run: 'true'\n    id: a\n",
            "the job's output o: ",
        ),
        ("env: {A: \"${{ fromJSON(github.ref) }}\"}\nsteps:\n  - run: 'true'\n", "the job's env: "),
    ],
)
async def test_a_job_whose_own_expressions_are_wrong(bench: Bench, yaml: str, reason: str) -> None:
    job = await run(bench, yaml)
    assert job.stopped is not None
    assert job.stopped.outcome is FAILED
    assert reason in (job.stopped.reason or "")


async def test_outputs_are_bounded(bench: Bench) -> None:
    yaml = """\
outputs: {a: "${{ steps.a.outputs.o }}${{ steps.a.outputs.o }}"}
steps:
  - id: a
    run: echo "o=$(head -c 900000 /dev/zero | tr '\\\\0' x)" >> "$GITHUB_OUTPUT"
"""
    job = await run(bench, yaml.replace("\\\\", "\\"))
    assert job.stopped is not None
    assert job.stopped.outcome is FAILED
    assert job.stopped.reason == "the job's outputs are larger than 1 MiB"


async def test_the_notes_of_a_step_count_against_the_log_limit(bench: Bench) -> None:
    job = await run(
        bench,
        "steps:\n  - run: head -c 100 /dev/zero | tr '\\0' x; echo wrong >> $GITHUB_ENV\n",
        log_limit=104,
        log_left=104,
    )
    assert job.logs[1].startswith(b"x" * 100 + b"\nbui")
    assert b"log limit" in job.logs[1]
    assert job.outcomes[1] is FAILED


async def test_the_set_up_takes_nothing_of_the_log_limit(bench: Bench) -> None:
    """Not even where it goes out together with the first step's output."""
    job = bench.orchestrator.offer(assignment("head -c 100 /dev/zero | tr '\\0' x", log_limit=104, log_left=104))
    await until(bench.folders)
    bench.orchestrator.away = True
    assert 0 not in job.position.stopped
    await until((bench.jobs / str(job.assignment.id) / "folder" / "steps" / "1" / "status").exists)
    bench.orchestrator.away = False
    await until(lambda: job.stopped)
    assert job.logs[1] == b"x" * 100
