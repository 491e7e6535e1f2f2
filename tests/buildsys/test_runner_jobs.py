"""Jobs run by a real runner with the process driver, reported to an orchestrator that holds it to the rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from git_server import Repository
from runner_bench import Bench, process_bench
from runner_orchestrator import MemoryOrchestrator, assignment, script, until

from buildsys.core.assignment import Position, Source
from buildsys.core.build import Outcome
from buildsys.core.definition import Step
from buildsys.core.driver import ContainerSpec
from buildsys.errors import ContainerAlive

SUCCESS, FAILED, SKIPPED = Outcome.SUCCESS, Outcome.FAILED, Outcome.SKIPPED


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = process_bench(tmp_path)
    yield bench
    await bench.close()


async def test_a_job_of_one_step(bench: Bench) -> None:
    await bench.start()
    job = await bench.run("echo hello")
    assert job.logs[1] == b"hello\n"
    assert job.stopped is not None
    assert job.stopped.outcome is SUCCESS
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS}
    assert job.codes == {0: 0, 1: 0}
    assert {step: end.end for step, end in job.ends.items()} == {0: len(job.logs[0]), 1: len(b"hello\n")}
    assert job.position.container is not None
    assert b"Container started" in job.logs[0]
    await until(lambda: not bench.folders())
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []


async def test_a_trivial_job_needs_few_reports(bench: Bench) -> None:
    await bench.start()
    await bench.run("echo warm")
    before = bench.orchestrator.reports
    for _ in range(10):
        await bench.run("echo hello")
    assert bench.orchestrator.reports - before <= 60


async def test_steps_share_the_workspace_and_stop_at_a_failure(bench: Bench) -> None:
    await bench.start()
    job = await bench.run("echo 1 > file", "cat file; false; echo not reached", "echo not run")
    assert job.logs[2] == b"1\n"
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS, 2: FAILED, 3: SKIPPED}
    assert job.codes[2] == 1
    assert job.stopped is not None
    assert job.stopped.outcome is FAILED


async def test_conditions(bench: Bench) -> None:
    await bench.start()

    def step(run: str, condition: str, *, goes_on: bool = False) -> Step:
        return script(run, condition=condition, continue_on_error=goes_on)

    job = await bench.run(
        step("exit 3", "success()", goes_on=True),
        step("echo still good", "success()"),
        step("echo no", "failure()"),
        step("exit 4", "success()"),
        step("echo no", "success()"),
        step("echo failed", "failure()"),
        step("echo always", "always()"),
    )
    assert job.outcomes == {
        0: SUCCESS,
        1: FAILED,
        2: SUCCESS,
        3: SKIPPED,
        4: FAILED,
        5: SKIPPED,
        6: SUCCESS,
        7: SUCCESS,
    }
    assert job.codes[1] == 3
    assert job.stopped is not None
    assert job.stopped.outcome is FAILED


async def test_shells_and_directories(bench: Bench) -> None:
    await bench.start()
    job = await bench.run(
        "mkdir -p deep/er",
        script("false | true; echo no", name="bash", shell="bash", working_directory="deep"),
        script("pwd", name="cwd", working_directory="deep/er", condition="always()"),
        script("print(6 * 7)", name="py", shell="python", condition="always()"),
        script("as it is $HOME", name="cat", shell="cat {0}", condition="always()"),
    )
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS, 2: FAILED, 3: SUCCESS, 4: SUCCESS, 5: SUCCESS}
    assert job.logs[3].endswith(b"/workspace/deep/er\n")
    assert (job.logs[4], job.logs[5]) == (b"42\n", b"as it is $HOME\n")


async def test_values_are_never_read_by_a_shell(bench: Bench, tmp_path: Path) -> None:
    await bench.start()
    hostile = f"'; touch {tmp_path}/owned; $(touch {tmp_path}/owned) `touch {tmp_path}/owned`\n\\ \"x\" ' -n *"
    step = script('printf "%s|%s|%s" "$BRANCH" "$OWN" "$CI"', name="env", env={"OWN": hostile})
    job = await bench.run(step, env={"BRANCH": hostile, "OWN": "overridden"})
    assert job.logs[1].decode() == f"{hostile}|{hostile}|true"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (script("true", name="x", env={"A": "\0"}), b"the environment variable A contains a NUL"),
        (script("true", name="x", working_directory="\0"), b"the working directory contains a NUL"),
        (script("true", name="x", shell="fish"), b"unknown shell 'fish'"),
    ],
)
async def test_a_step_that_cannot_be_run_fails_and_says_why(bench: Bench, step: Step, message: bytes) -> None:
    await bench.start()
    job = await bench.run(step)
    assert job.stopped is not None
    assert job.stopped.outcome is FAILED
    assert job.logs[1].startswith(b"buildsys: error: " + message)
    assert job.outcomes == {0: SUCCESS, 1: FAILED}


async def test_the_commit_is_the_workspace(bench: Bench, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    commit = repository.commit({"Makefile": "all:\n", "a/b": "c"})
    await bench.start()
    steps = ("cat a/b; git rev-parse HEAD; git status --short", "echo new > a/new; rm Makefile")
    job = await bench.run(*steps, source=Source(url=str(repository.path), commit=commit))
    assert job.logs[1].decode() == f"c{commit}\n"
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS, 2: SUCCESS}
    assert f"Checked out {commit}".encode() in job.logs[0]


async def test_a_source_that_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    await bench.start()
    job = await bench.run("echo no", source=Source(url=str(tmp_path / "nothing"), commit="a" * 40))
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.ERRORED
    assert "does not" in (job.stopped.reason or "")
    assert job.outcomes == {0: Outcome.ERRORED, 1: SKIPPED}


async def test_every_byte_under_every_fault(bench: Bench) -> None:
    """Reports are lost, answered twice, and taken back, and the log is what was printed."""
    bench.orchestrator = MemoryOrchestrator(faults=0.15, seed=7)
    await bench.start()
    script = "i=1; while [ $i -le 20000 ]; do echo $i; [ $((i % 2000)) -ne 0 ] || sleep 0.05; i=$((i+1)); done"
    job = await bench.run(script, "echo second", deadline=60)
    assert job.logs[1] == b"".join(b"%d\n" % number for number in range(1, 20001))
    assert job.logs[2] == b"second\n"
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS, 2: SUCCESS}


async def test_an_orchestrator_that_is_away_does_not_stop_a_job(bench: Bench, tmp_path: Path) -> None:
    await bench.start()
    job = bench.orchestrator.offer(assignment("echo before; sleep 0.5; echo after", "echo second"))
    await until(lambda: 1 in job.position.started)
    bench.orchestrator.away = True
    done = bench.jobs / str(job.assignment.id) / "folder" / "steps" / "2" / "status"
    await until(done.exists)
    assert job.stopped is None
    bench.orchestrator.away = False
    await until(lambda: job.stopped)
    assert (job.logs[1], job.logs[2]) == (b"before\nafter\n", b"second\n")


async def test_cancel(bench: Bench) -> None:
    await bench.start()
    job = bench.orchestrator.offer(
        assignment("trap 'echo asked; exit 9' TERM; echo started; while :; do sleep 0.05 || :; done", "echo no")
    )
    await until(lambda: b"started" in job.logs.get(1, b""))
    bench.orchestrator.cancel(job)
    await until(lambda: job.stopped)
    assert job.logs[1].startswith(b"started\n")
    assert job.logs[1].endswith(b"asked\n")
    assert job.outcomes == {0: SUCCESS, 1: Outcome.CANCELED, 2: SKIPPED}
    assert job.codes[1] == 9
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.CANCELED


async def test_the_limit_ends_what_does_not_listen(bench: Bench) -> None:
    await bench.start()
    job = await bench.run(
        "trap '' TERM; echo started; while :; do sleep 0.05; done",
        script("echo no", name="always", condition="always()"),
        limit=1.5,
        grace=0.3,
    )
    assert job.logs[1] == b"started\n"
    assert job.outcomes == {0: SUCCESS, 1: Outcome.TIMED_OUT, 2: SKIPPED}
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.TIMED_OUT
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []


async def test_the_limit_is_no_matter_of_the_runner_s_clock(bench: Bench) -> None:
    """It is hours ahead of, or behind, the clock that the deadline is told by."""
    await bench.start()
    now = datetime.now(UTC)
    ahead = bench.orchestrator.offer(assignment("echo done", deadline=now - timedelta(hours=3)))
    behind = bench.orchestrator.offer(assignment("sleep 60", deadline=now + timedelta(hours=3), limit=1.5, grace=0.1))
    await until(lambda: ahead.stopped and behind.stopped)
    assert ahead.outcomes == {0: SUCCESS, 1: SUCCESS}
    assert behind.outcomes == {0: SUCCESS, 1: Outcome.TIMED_OUT}


async def test_a_revoked_job_is_forgotten(bench: Bench) -> None:
    runner = await bench.start()
    job = bench.orchestrator.offer(assignment("echo started; sleep 60"))
    await until(lambda: 1 in job.logs)
    bench.orchestrator.revoke(job)
    await until(lambda: not runner.holding and not bench.folders())
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []
    assert job.stopped is None


async def test_a_lost_container_is_an_error(bench: Bench) -> None:
    await bench.start()
    job = bench.orchestrator.offer(assignment("echo started; sleep 60", "echo no"))
    await until(lambda: 1 in job.logs)
    (container,) = await bench.driver.list({"buildsys.installation": bench.installation})
    folder = bench.jobs / str(job.assignment.id) / "folder"
    await bench.driver.remove(ContainerSpec(name=container.name, folder=folder, lifetime=0))
    await until(lambda: job.stopped)
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.ERRORED
    assert (job.stopped.reason or "").startswith("container lost")
    assert job.outcomes == {0: SUCCESS, 1: Outcome.ERRORED, 2: SKIPPED}
    assert job.logs[1] == b"started\n"


async def test_a_container_that_does_not_go_is_our_error_and_is_not_let_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine fails to remove it at first: the job says so, and the runner goes on trying without a slot for it."""
    remove = bench.driver.remove
    stuck = True

    async def refuse(spec: ContainerSpec) -> None:
        if stuck:
            raise ContainerAlive("process 7 of the container cannot be killed")
        await remove(spec)

    monkeypatch.setattr(bench.driver, "remove", refuse)
    runner = await bench.start()
    job = await bench.run("echo hello")
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.ERRORED
    assert "process 7" in (job.stopped.reason or "")
    assert job.outcomes == {0: SUCCESS, 1: SUCCESS}
    await until(lambda: not runner.holding)
    assert bench.folders()
    stuck = False
    await until(lambda: not bench.folders())
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []


async def test_a_job_whose_end_was_still_due_runs_no_further_step(bench: Bench) -> None:
    """Its runner died between the step's end, at the limit, and the job's."""
    position = Position(step=1, started=(0, 1), stopped={0: SUCCESS, 1: Outcome.TIMED_OUT}, container="1")
    await bench.start()
    job = await bench.run("echo no", "echo no", position=position, limit=-5.0)
    assert job.outcomes == {0: SUCCESS, 1: Outcome.TIMED_OUT, 2: SKIPPED}
    assert job.stopped is not None
    assert job.stopped.outcome is Outcome.TIMED_OUT


async def test_a_next_life_goes_on_in_the_middle_of_a_step(bench: Bench, tmp_path: Path) -> None:
    await bench.start()
    first = bench.orchestrator.offer(assignment("i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); sleep 0.05; done"))
    await until(lambda: 1 in first.logs)
    await bench.stop()
    assert first.stopped is None
    await bench.start()
    await until(lambda: first.stopped)
    assert first.logs[1] == b"".join(b"%d\n" % number for number in range(40))
    assert first.outcomes == {0: SUCCESS, 1: SUCCESS}
    assert [poll.incarnation for poll in bench.orchestrator.polls][-1] == 2


async def test_what_nobody_wants_any_more_is_swept(bench: Bench) -> None:
    await bench.start()
    job = bench.orchestrator.offer(assignment("echo started; sleep 60"))
    await until(lambda: 1 in job.logs)
    await bench.stop()
    bench.orchestrator.revoke(job)
    await bench.start()
    await until(lambda: not bench.folders())
    assert await bench.driver.list({"buildsys.installation": bench.installation}) == []


async def test_more_jobs_than_slots(bench: Bench) -> None:
    await bench.start()
    jobs = [bench.orchestrator.offer(assignment(f"echo {number}")) for number in range(12)]
    await until(lambda: all(job.stopped for job in jobs))
    assert [job.logs[1] for job in jobs] == [b"%d\n" % number for number in range(12)]
    assert max(len(poll.holding) for poll in bench.orchestrator.polls) <= 3


async def test_secrets_are_masked(bench: Bench) -> None:
    await bench.start()
    job = await bench.run(
        'printf "a hunter2hunt b hun"; sleep 0.4; printf "ter2 "; sleep 0.4; echo "$TOKEN"; printf hunter',
        env={"TOKEN": "two\nlines"},
        secrets=("hunter2", "two\nlines"),
    )
    assert job.logs[1] == b"a ***hunt b *** ***\nhunter"


async def test_the_log_limit_says_so(bench: Bench) -> None:
    await bench.start()
    job = await bench.run("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; exit 5", log_limit=4096)
    printed = b"".join(b"%d\n" % number for number in range(3000))[:4096]
    assert job.logs[1].startswith(printed)
    assert job.logs[1].endswith(b"\nbuildsys: the build's log limit of 4096 bytes was reached; the rest is not kept\n")
    assert job.codes[1] == 5
    assert [batch.truncated for batch in job.batches if batch.step == 1][-1:] == [True]


async def test_a_slow_fetch_shows_that_it_lives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container is told as soon as it is up, and a line comes now and then."""
    monkeypatch.setattr("buildsys.runner.executor.SAY_EVERY", 0.1)
    async with silent_server() as port:
        await bench.start()
        source = Source(url=f"http://127.0.0.1:{port}/x", commit="a" * 40)
        job = bench.orchestrator.offer(assignment("echo no", source=source))
        await until(lambda: job.position.container and job.logs.get(0, b"").count(b"Still setting up") >= 3)
        bench.orchestrator.cancel(job)
        await until(lambda: job.stopped)


async def test_cancel_while_the_commit_is_fetched(bench: Bench) -> None:
    """A server that never answers holds nobody up, and git is gone with the job."""
    async with silent_server() as port:
        await bench.start()
        source = Source(url=f"http://127.0.0.1:{port}/x", commit="a" * 40)
        job = bench.orchestrator.offer(assignment("echo no", source=source))
        await until(lambda: b"Fetching" in job.logs.get(0, b"") and processes(str(port)))
        bench.orchestrator.cancel(job)
        await until(lambda: job.stopped)
    assert job.outcomes == {0: Outcome.CANCELED, 1: SKIPPED}
    await until(lambda: not processes(str(port)) and not bench.folders())


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_revoked_job_is_asked_about_no_more(bench: Bench) -> None:
    """The orchestrator answers at once as long as a revoked job is held: that must not become a storm of polls."""
    runner = await bench.start()
    job = bench.orchestrator.offer(assignment("echo started; sleep 60"))
    await until(lambda: 1 in job.logs)
    before = len(bench.orchestrator.polls)
    bench.orchestrator.revoke(job)
    await until(lambda: not runner.holding)
    assert len(bench.orchestrator.polls) - before <= 5


def processes(text: str) -> list[int]:
    """The processes of this host that have the text in their arguments."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes()
        except OSError:
            continue
        if text.encode() in arguments:
            found.append(int(file.parent.name))
    return found
