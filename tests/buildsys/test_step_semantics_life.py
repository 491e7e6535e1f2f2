"""Steps that are cut short, outlive their time or their runner, and that flood what they may write."""

from __future__ import annotations

import asyncio
import random
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from runner_orchestrator import until
from steps_bench import StepsBench, job, steps
from test_composite import action

from buildsys.core.build import Outcome
from buildsys.runner.environment_files import FileError, read_assignments, read_paths
from buildsys.runner.journal import Ended, Journal

SUCCESS, FAILED, SKIPPED, CANCELED = Outcome.SUCCESS, Outcome.FAILED, Outcome.SKIPPED, Outcome.CANCELED


async def interrupt(bench: StepsBench, number: int = 1, printed: str = "begun\n") -> None:
    """Run the steps until one of them has printed, and cut that off."""
    running = asyncio.create_task(bench.steps.run())
    await until(lambda: bench.log(number) == printed)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


ENDING = """\
  - run: echo not reached
  - run: echo not reached
    if: failure()
  - run: echo "${{ job.status }} ${{ steps.a.outcome }} ${{ steps.a.outputs.o }}"
    if: always()
    id: last
  - run: echo cancelled
    if: cancelled()
  - run: echo not reached
    if: ${{ !cancelled() }}
"""


async def test_a_cancel(tmp_path: Path) -> None:
    """Steps with always() and cancelled() run although the job was canceled; all others do not."""
    planned = job(f"steps:\n  - run: |\n      echo o=1 >> $GITHUB_OUTPUT; echo begun; sleep 30\n    id: a\n{ENDING}")
    async with StepsBench(tmp_path, planned) as bench:
        await interrupt(bench)
        await bench.steps.run(cut=CANCELED)
        assert bench.outcomes == {
            "1": CANCELED, "2": SKIPPED, "3": SKIPPED, "4": SUCCESS, "5": SUCCESS, "6": SKIPPED
        }  # fmt: skip
        assert bench.log(4) == "cancelled cancelled 1\n"
        assert bench.ended(1).exit_code not in (0, None)


async def test_a_cancel_between_two_steps(tmp_path: Path) -> None:
    planned = job(f"steps:\n  - run: echo o=1 >> $GITHUB_OUTPUT\n    id: a\n{ENDING}")
    async with StepsBench(tmp_path, planned) as bench:
        await bench.steps.run(cut=CANCELED)
        assert bench.outcomes["1"] is SKIPPED
        assert bench.log(4) == "cancelled skipped \n"


async def test_a_time_limit_is_like_a_cancel(tmp_path: Path) -> None:
    planned = job(f"steps:\n  - run: echo begun; sleep 30\n    id: a\n{ENDING}")
    async with StepsBench(tmp_path, planned) as bench:
        await interrupt(bench)
        await bench.steps.run(cut=Outcome.TIMED_OUT)
        assert bench.outcomes["1"] is Outcome.TIMED_OUT
        assert bench.log(4) == "cancelled cancelled \n"


async def test_a_cancel_within_an_action(tmp_path: Path) -> None:
    body = """\
- run: echo begun; sleep 30
  shell: bash
- run: echo not reached
  shell: bash
- run: echo inner
  shell: bash
  if: always()
"""
    planned = job("steps:\n  - uses: ./a\n  - run: echo outer\n    if: cancelled()\n")
    async with StepsBench(tmp_path, planned, {"a/action.yml": action(body)}) as bench:
        await interrupt(bench, 1001)
        await bench.steps.run(cut=CANCELED)
        assert bench.outcomes == {"1.1": CANCELED, "1.2": SKIPPED, "1.3": SUCCESS, "1": CANCELED, "2": SUCCESS}
        assert (bench.log(1002), bench.log(2)) == ("inner\n", "outer\n")


async def test_a_cancel_before_the_step_was_started(tmp_path: Path) -> None:
    """It was decided what the step does, and its runner died: then it is not started any more."""
    async with StepsBench(tmp_path, steps("echo no")) as bench:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench.folder, "start", lambda step: False)
            running = asyncio.create_task(bench.steps.run())
            await until(lambda: "1" in bench.journal.begun)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        await bench.life().run(cut=CANCELED)
        assert bench.outcomes == {"1": CANCELED}
        assert bench.log(1) == ""


async def test_the_time_limit_of_a_step(tmp_path: Path) -> None:
    """The minutes that a step may take before its process is killed; the step has failed then."""
    planned = job(
        """\
steps:
  - run: echo begun; sleep 30
    timeout-minutes: ${{ fromJSON('0.005') }}
    id: a
  - run: echo "${{ steps.a.outcome }}"
    if: failure()
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        assert await bench.steps.run() is True
        assert bench.log(1) == "begun\nbuildsys: error: the step's time limit was reached\n"
        assert bench.log(2) == "failure\n"


async def test_the_time_limit_of_an_action(tmp_path: Path) -> None:
    body = "- run: echo begun; sleep 30\n  shell: bash\n- run: echo no\n  shell: bash\n"
    planned = job("steps:\n  - uses: ./a\n    timeout-minutes: 0.005\n    continue-on-error: true\n  - run: echo on\n")
    async with StepsBench(tmp_path, planned, {"a/action.yml": action(body)}) as bench:
        assert await bench.steps.run() is False
        assert bench.outcomes == {"1.1": FAILED, "1.2": SKIPPED, "1": FAILED, "2": SUCCESS}


async def test_a_step_that_will_not_end_is_killed_with_all_that_it_left(tmp_path: Path) -> None:
    token = f"30.{uuid4().int}"
    orphan = f"setsid sh -c '(exec sleep {token}) & exec sleep {token}' & sleep {token}"
    planned = job(
        f"""\
steps:
  - run: |
      trap '' TERM; echo begun; {orphan}; sleep {token}
    timeout-minutes: 0.005
  - run: exit 3
    if: always()
    continue-on-error: true
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        bench.grace = 0.5
        assert await bench.life().run() is True
        assert bench.outcomes == {"1": FAILED, "2": FAILED}
        assert bench.log(1).splitlines() == [
            "begun",
            "buildsys: error: the step's time limit was reached",
            "buildsys: the step did not end within 0.5 s of SIGTERM: it is killed",
        ]
        assert subprocess.run(["pgrep", "-f", token], stdout=subprocess.PIPE).stdout == b""


async def test_a_new_life_goes_on_in_the_middle(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 10 ]; do echo $i; i=$((i+1)); sleep 0.05; done; echo o=1 >> $GITHUB_OUTPUT"
    async with StepsBench(tmp_path, steps(script, "echo ${{ steps.s1.outputs.o }}")) as bench:
        await interrupt(bench, 1, "0\n")
        before = bench.begun(1)
        assert await bench.life().run() is False
        assert bench.begun(1) == before
        assert bench.log(1) == "".join(f"{number}\n" for number in range(10))
        assert bench.log(2) == "1\n"
        assert [entry.key for entry in bench.told] == ["1", "1", "2", "2"]


async def test_a_new_life_decides_nothing_twice(tmp_path: Path) -> None:
    """What was decided over files that have changed since, and what steps said that others changed since, holds."""
    planned = job(
        """\
steps:
  - run: echo "o=1" >> "$GITHUB_OUTPUT"; echo "E=1" >> "$GITHUB_ENV"; echo x > new
    id: a
    if: hashFiles('new') == ''
    name: ${{ hashFiles('new') }}!
  - run: |
      echo "o=forged" > ../steps/1/output; echo "E=forged" > ../steps/1/env
      echo begun; sleep 0.3
  - run: echo "${{ steps.a.outputs.o }} $E"
"""
    )
    async with StepsBench(tmp_path, planned) as bench:
        await interrupt(bench, 2)
        assert await bench.life().run() is False
        assert bench.outcomes == {"1": SUCCESS, "2": SUCCESS, "3": SUCCESS}
        assert bench.begun(1).name == "!"
        assert bench.log(3) == "1 1\n"


async def test_a_new_life_within_an_action(tmp_path: Path) -> None:
    body = "- run: echo o=1 >> $GITHUB_OUTPUT\n  id: x\n  shell: bash\n"
    body += "- run: echo begun; rm -r a; sleep 0.3\n  shell: bash\n"
    body += '- run: echo "${{ steps.x.outputs.o }} ${{ inputs.i }}"\n  shell: bash\n'
    files = {"a/action.yml": action(body, head="inputs:\n  i: {default: d}\n")}
    async with StepsBench(tmp_path, job("steps:\n  - uses: ./a\n"), files) as bench:
        await interrupt(bench, 1002)
        assert await bench.life().run() is False
        assert bench.log(1003) == "1 d\n"
        assert bench.journal.order == (1, 1001, 1002, 1003)


async def test_any_number_of_lives(tmp_path: Path) -> None:
    """Cut off at random moments, the steps come to the same end as without."""
    scripts = [
        f'sleep 0.0{n}; echo "n=$(( ${{{{ steps.s{n}.outputs.n || 0 }}}} + 1 ))" >> "$GITHUB_OUTPUT"; echo ran'
        for n in range(6)
    ]
    chance = random.Random(5)
    async with StepsBench(tmp_path, steps(*scripts)) as bench:
        lives = 0
        while "6" not in bench.journal.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0.01, 0.06)):
                    await bench.steps.run()
            bench.steps.close()
            bench.journal.close()
            bench.life()
            lives += 1
        assert lives > 3
        assert await bench.steps.run() is False
        assert bench.ended(6).outputs == {"n": "6"}
        assert [bench.log(n) for n in range(1, 7)] == ["ran\n"] * 6


async def test_a_journal_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ended = Ended(
        key="1", number=1, outcome=SUCCESS, at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), outputs={"a": "é\n"}
    )
    journal = Journal(path)
    journal.append(ended)
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole + whole[:cut])
        again = Journal(path)
        assert again.entries == [ended]
        again.append(ended)
        again.close()
        assert path.read_bytes() == whole * 2
    assert path.stat().st_mode & 0o077 == 0


FLOODS = [
    ("GITHUB_OUTPUT", "head -c 200000000 /dev/zero | tr '\\0' x", "GITHUB_OUTPUT: it is larger than 1 MiB"),
    ("GITHUB_OUTPUT", "seq -f 'n%.0f=' 20000", "GITHUB_OUTPUT: there are more than 10,000 names in it"),
    ("GITHUB_ENV", "seq -f 'n%.0f=' 20000", "GITHUB_ENV: there are more than 10,000 names in it"),
    ("GITHUB_ENV", "echo A=; head -c 1048570 /dev/zero | tr '\\0' '\\n'", None),
    ("GITHUB_PATH", "seq -f '/p%.0f' 2000", "GITHUB_PATH: the job's steps add more than 1,000 folders"),
    ("GITHUB_STATE", "head -c 200000000 /dev/zero", "GITHUB_STATE: it is larger than 1 MiB"),
]


@pytest.mark.parametrize(("file", "flood", "problem"), FLOODS)
async def test_a_flood(tmp_path: Path, file: str, flood: str, problem: str | None) -> None:
    async with StepsBench(tmp_path, steps(f'{{ {flood}; }} > "${file}"', 'echo "still here"')) as bench:
        await bench.steps.run()
        assert bench.outcomes["1"] is (FAILED if problem else SUCCESS)
        assert bench.log(1) == (f"buildsys: error: {problem}\n" if problem else "")
        assert bench.log(2) == "still here\n"
        assert (bench.ended(1).outputs, bench.ended(1).paths) == ({}, ())
        assert (bench.folder.private / "journal").stat().st_size < 100_000


async def test_a_flood_of_a_summary(tmp_path: Path) -> None:
    flood = (
        'truncate -s 10G "$GITHUB_STEP_SUMMARY" || dd if=/dev/zero of="$GITHUB_STEP_SUMMARY" bs=1 seek=2000000 count=1'
    )
    async with StepsBench(tmp_path, steps(flood, 'echo fine > "$GITHUB_STEP_SUMMARY"')) as bench:
        assert await bench.steps.run() is False
        assert bench.ended(1).summary is None
        assert "GITHUB_STEP_SUMMARY was not kept: it is larger than 1 MiB\n" in bench.log(1)
        assert bench.ended(2).summary == "fine\n"


async def test_steps_flood_together(tmp_path: Path) -> None:
    """Each stays under the limit of a file, all together do not stay under that of a job."""
    script = 'for i in 1 2 3 4 5 6; do echo "A$N$i=$(head -c 100000 /dev/zero | tr "\\0" x)" >> "$GITHUB_ENV"; done'
    one = 'echo "A=$(head -c 200000 /dev/zero | tr "\\0" x)" >> "$GITHUB_ENV"'
    scripts = [f"N={n}; {script}" for n in range(2)]
    async with StepsBench(tmp_path, steps(*scripts, one, "echo still here")) as bench:
        await bench.steps.run()
        assert [bench.outcomes[key] for key in "1234"] == [SUCCESS, FAILED, FAILED, SUCCESS]
        assert "the variables that the job's steps set are larger than 1 MiB in all" in bench.log(2)
        assert "'A' is larger than the 128 KiB that fit into a process" in bench.log(3)
        assert bench.log(4) == "still here\n"


async def test_a_step_that_replaces_its_files(tmp_path: Path) -> None:
    attack = 'rm "$GITHUB_ENV" "$GITHUB_OUTPUT" "$GITHUB_STEP_SUMMARY"; ln -s /etc/passwd "$GITHUB_ENV"; '
    attack += 'mkfifo "$GITHUB_OUTPUT"; ln -s /etc/passwd "$GITHUB_STEP_SUMMARY"; ln -s /etc ../steps/2'
    async with StepsBench(tmp_path, steps(attack)) as bench:
        await bench.steps.run()
        assert bench.ended(1).env == {}
        assert bench.ended(1).summary is None
        assert "root:" not in bench.log(1)
        assert bench.log(1).count("buildsys: ") == 3


def test_random_files_are_read_or_refused() -> None:
    chance = random.Random(11)
    refusals: set[str] = set()
    pieces = [
        b"A",
        b"=",
        b"<<",
        b"EOF",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b" ",
        "é".encode(),
        b"B=1\n",
        b"X<<EOF\n1\nEOF\n",
    ]
    for _ in range(20_000):
        data = b"".join(chance.choices(pieces, k=chance.randrange(30)))
        for read in (read_assignments, read_paths):
            try:
                found = read(data)
            except FileError as error:
                refusals.add(str(error))
            else:
                assert all(isinstance(name, str) and name for name in found)
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)
