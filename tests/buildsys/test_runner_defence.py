"""What no job and no refusal does to a runner: end it, deceive it, or leave anything behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_bench import Bench, process_bench
from runner_orchestrator import MemoryOrchestrator, assignment, until

from buildsys.core.assignment import JobStopped, LogBatch, Poll, PollReply, Report, ReportReply
from buildsys.core.build import Outcome
from buildsys.errors import Invalid, Unauthorized
from buildsys.runner import Runner, RunnerConfig
from buildsys.runner.folder import JobFolder

SUCCESS, SKIPPED = Outcome.SUCCESS, Outcome.SKIPPED


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    yield bench
    await bench.close()


async def test_remains_that_cannot_be_removed_end_no_runner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither after the job nor when the next life sweeps: other jobs run on, and what stayed is tried again."""
    stuck = True
    delete = JobFolder.delete

    def refuse(folder: JobFolder) -> None:
        if stuck:
            raise PermissionError(f"{folder.path} is immutable")
        delete(folder)

    monkeypatch.setattr(JobFolder, "delete", refuse)
    await bench.start()
    await bench.run("echo first")
    await bench.stop()
    await bench.start()
    assert (await bench.run("echo second")).logs[1] == b"second\n"
    assert len(bench.folders()) == 2
    stuck = False
    await until(lambda: not bench.folders())


async def test_a_tree_deeper_than_any_stack(bench: Bench) -> None:
    await bench.start()
    job = await bench.run("i=0; while [ $i -lt 1200 ]; do mkdir d; cd d; i=$((i+1)); done; echo made; chmod 0 .")
    assert job.logs[1] == b"made\n"
    await until(lambda: not bench.folders())
    assert (await bench.run("echo next")).logs[1] == b"next\n"


async def test_a_refused_report_ends_the_job_with_the_reason(bench: Bench) -> None:
    """The container is gone, the end is told although nothing before it was taken, and the next job runs."""
    ends: list[JobStopped] = []
    report = bench.orchestrator.report

    async def refuse(sent: Report) -> ReportReply:
        if any(isinstance(item, LogBatch) and item.step == 1 for item in sent.items):
            raise Invalid("no log is wanted\0 here")
        ends.extend(item for item in sent.items if isinstance(item, JobStopped))
        return await report(sent)

    bench.orchestrator.report = refuse  # type: ignore[method-assign]
    runner = await bench.start()
    bench.orchestrator.offer(assignment("echo refused; sleep 60"))
    await until(lambda: ends and not runner.holding)
    assert ends[0].outcome is Outcome.ERRORED
    assert (
        ends[0].reason
        == "the orchestrator refused a report of this job: no log is wanted\N{REPLACEMENT CHARACTER} here"
    )
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []
    assert (await bench.run("true")).outcomes == {0: SUCCESS, 1: SUCCESS}


async def test_a_refused_poll_is_asked_again(bench: Bench) -> None:
    polls = 0
    poll = bench.orchestrator.poll

    async def refuse(question: Poll) -> PollReply:
        nonlocal polls
        polls += 1
        if polls <= 2:
            raise Invalid("of another version")
        return await poll(question)

    bench.orchestrator.poll = refuse  # type: ignore[method-assign]
    await bench.start()
    assert (await bench.run("echo hello")).logs[1] == b"hello\n"


async def test_a_stop_leaves_no_empty_folder_behind(bench: Bench) -> None:
    await bench.start()
    await bench.run("true")
    await until(lambda: not bench.folders())
    await bench.stop()
    assert not bench.jobs.exists()


@pytest.mark.parametrize("forged", ["zero", "", "0", "9999999999 0123456789abcdef", "256 0123456789abcdef", "-1"])
async def test_a_forged_status_is_an_error_that_says_so(bench: Bench, forged: str) -> None:
    await bench.start()
    script = f"echo '{forged}' > ../steps/1/forged; mv ../steps/1/forged ../steps/1/status; sleep 30"
    job = await bench.run(script, "echo no")
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.ERRORED
    assert "wrote its own status" in (job.stopped.reason or "")
    assert job.outcomes == {0: SUCCESS, 1: Outcome.ERRORED, 2: SKIPPED}
    assert job.codes[1] is None


async def test_a_step_that_prints_its_marker_hides_nothing(bench: Bench) -> None:
    await bench.start()
    job = await bench.run("echo before; cat ../steps/1/limits; sleep 0.3; echo after")
    assert job.logs[1].startswith(b"before\nlog_blocks=")
    assert job.logs[1].endswith(b"after\n")


async def test_a_refused_runner_says_so(bench: Bench) -> None:
    class Refusing(MemoryOrchestrator):
        async def poll(self, poll: Poll) -> PollReply:
            raise Unauthorized("no such runner")

    config = RunnerConfig(installation=bench.installation, data=bench.data, jobs=bench.jobs)
    async with Runner(config=config, drivers=(bench.driver,), orchestrator=Refusing()) as runner:
        with pytest.raises(Unauthorized, match="no such runner"):
            await runner.run()
