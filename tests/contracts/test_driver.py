"""The contract of `buildsys.core.driver`, as promises that every driver keeps."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from containers import Kind, Start, processes, until

from buildsys.core.driver import Driver, Limits
from buildsys.runner.removal import remove_tree


class TestOutput:
    async def test_stdout_and_stderr_arrive_as_printed_and_in_order(self, start: Start) -> None:
        job = await start()
        result = await job.run("i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done")
        assert result.log == b"".join(b"out %d\nerr %d\n" % (i, i) for i in range(500))

    @pytest.mark.parametrize(
        ("script", "printed"),
        [
            ("printf 'no newline at the end'", b"no newline at the end"),
            (r"printf 'a\000b\n'", b"a\x00b\n"),
            (r"printf '\377\376 \303(\n'", b"\xff\xfe \xc3(\n"),
            ("true", b""),
        ],
        ids=["no-newline", "nul", "invalid-utf8", "nothing"],
    )
    async def test_bytes_are_kept_as_they_are(self, start: Start, script: str, printed: bytes) -> None:
        assert (await (await start()).run(script)).log == printed

    async def test_ten_megabytes(self, start: Start) -> None:
        result = await (await start()).run("dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\000' 'x'")
        assert len(result.log) == 10 << 20
        assert result.log == b"x" * (10 << 20)

    @pytest.mark.parametrize("into", ["/dev/stdout", "/dev/stderr", "/proc/self/fd/1", "/dev/fd/2"])
    async def test_reopening_the_output_loses_nothing(self, start: Start, into: str) -> None:
        result = await (await start()).run(f"echo before; echo reopened >{into}; echo teed | tee {into}; echo after")
        assert result.log == b"before\nreopened\nteed\nteed\nafter\n"
        assert result.status == 0

    async def test_a_truncating_child_truncates_nothing(self, start: Start) -> None:
        result = await (await start()).run("echo before; sh -c 'echo child >/dev/stdout'; : >/dev/stdout; echo after")
        assert result.log == b"before\nchild\nafter\n"

    async def test_stdin_is_empty(self, start: Start) -> None:
        assert (await (await start()).run("cat; echo end")).log == b"end\n"

    async def test_a_step_that_prints_its_own_marker_loses_nothing(self, start: Start) -> None:
        job = await start()
        lines = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"
        result = await job.run(f'cat "${{0%/*}}/limits"; {lines}; cat "${{0%/*}}/limits"')
        limits = (job.step(1) / "limits").read_bytes()
        assert result.log == limits + b"".join(b"%d\n" % i for i in range(20000)) + limits


class TestStatus:
    @pytest.mark.parametrize("status", [0, 1, 2, 77, 126, 127, 255])
    async def test_the_exit_status_is_kept(self, start: Start, status: int) -> None:
        assert (await (await start()).run(f"exit {status}")).status == status

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
    async def test_death_by_a_signal_is_128_and_its_number(self, start: Start, number: signal.Signals) -> None:
        assert (await (await start()).run(f"kill -{number.value} $$")).status == 128 + number

    async def test_a_marker_precedes_the_status_of_every_step(self, start: Start) -> None:
        job = await start()
        for i in range(20):
            assert (await job.run(f"echo {i}")).log == b"%d\n" % i


class TestSteps:
    async def test_a_step_ends_with_its_first_process_and_its_children_go_on(self, start: Start, token: str) -> None:
        job = await start()
        gate = job.folder / "workspace" / "gate"
        first = job.write(f"(until [ -e gate ]; do sleep 0.05; done; echo behind; exec sleep {token}) & echo first")
        await job.order(first)
        assert (await job.result(first)).log == b"first\n"
        assert (await job.run("echo second")).log == b"second\n"
        gate.touch()
        await until(lambda: job.behind(first) == b"behind\n")

    async def test_a_step_runs_once_however_often_it_is_ordered(self, start: Start) -> None:
        job = await start()
        step = job.write("echo ran >>count")
        for _ in range(3):
            await job.order(step)
        await job.result(step)
        await job.order(step)
        await job.run("true")  # in turn: what was ordered before it is over
        assert (job.folder / "workspace" / "count").read_text() == "ran\n"

    async def test_a_step_that_has_its_mark_is_not_started(self, start: Start) -> None:
        job = await start()
        step = job.write("touch ran")
        (job.step(step) / "started").mkdir()
        await job.order(step)
        await job.run("true")
        assert not (job.folder / "workspace" / "ran").exists()
        assert not (job.step(step) / "status").exists()

    async def test_the_mark_is_there_before_the_step(self, start: Start, kind: Kind) -> None:
        job = await start()
        root = kind.driver.root(job.spec)
        assert (await job.run(f"ls -d {root}/steps/1/started")).status == 0

    async def test_steps_share_the_workspace_home_and_tmp(self, start: Start) -> None:
        job = await start()
        await job.run('echo w >w; echo h >"$HOME/h"; echo t >"$TMPDIR/t"')
        assert (await job.run('cat w "$HOME/h" "$TMPDIR/t"')).log == b"w\nh\nt\n"
        read = [(job.folder / name).read_text() for name in ("workspace/w", "home/h", "tmp/t")]
        assert read == ["w\n", "h\n", "t\n"]

    async def test_nothing_of_our_own_environment_is_seen(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CANARY", "yellow-bird")
        job = await start()
        result = await job.run("env; cat /proc/self/environ")
        assert b"yellow-bird" not in result.log
        assert b"PATH=" in result.log

    async def test_two_containers_do_not_disturb_each_other(self, start: Start) -> None:
        jobs = [await start(), await start()]
        results = await asyncio.gather(
            *(job.run(f"for i in 1 2 3 4 5; do echo {i} $i; sleep 0.02; done") for i, job in enumerate(jobs))
        )
        for i, result in enumerate(results):
            assert result.log == b"".join(b"%d %d\n" % (i, n) for n in range(1, 6))


class TestLife:
    async def test_start_is_idempotent(self, start: Start, driver: Driver) -> None:
        job = await start()
        await job.run("echo kept >file")
        first = await driver.inspect(job.spec.name)
        assert await driver.start(job.spec) == first
        assert (await job.run("cat file")).log == b"kept\n"

    async def test_inspect_knows_no_other_container(self, driver: Driver) -> None:
        assert await driver.inspect("buildsys-test-never-started") is None

    async def test_list_is_by_labels(self, start: Start, driver: Driver) -> None:
        mine = await start(labels={"buildsys.color": "red", "buildsys.size": "small"})
        await start(labels={"buildsys.color": "blue", "buildsys.size": "small"})
        own = {"buildsys.test": mine.spec.name}
        assert [each.name for each in await driver.list({"buildsys.color": "red", **own})] == [mine.spec.name]
        assert await driver.list({"buildsys.color": "blue", **own}) == []
        [status] = await driver.list(own)
        assert status == await driver.inspect(mine.spec.name)
        assert status.labels.items() >= {"buildsys.color": "red", "buildsys.size": "small"}.items()

    async def test_another_process_finds_inspects_and_removes(self, start: Start, kind: Kind, token: str) -> None:
        job = await start()
        await job.order(job.write(f"exec sleep {token}"))
        await until(lambda: bool(processes(token)))
        code = f"""
import asyncio
from buildsys.core.driver import ContainerSpec
{kind.source}
spec = ContainerSpec(name={job.spec.name!r}, folder=pathlib.Path({str(job.folder)!r}), lifetime=1, image={kind.image!r})
async def main():
    assert [s.name for s in await driver.list({{"buildsys.test": spec.name}})] == [spec.name]
    assert (await driver.inspect(spec.name)).running
    await driver.remove(spec)
    assert await driver.inspect(spec.name) is None
    await driver.close()
asyncio.run(main())
"""
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        assert await other.wait() == 0
        assert processes(token) == []
        assert await kind.driver.inspect(job.spec.name) is None

    async def test_a_killed_runner_leaves_the_step_to_its_right_end(self, start: Start, kind: Kind) -> None:
        job = await start(run=False)
        step = job.write("echo begun; until [ -e gate ]; do sleep 0.02; done; echo ended; exit 7")
        code = f"""
import asyncio
from buildsys.core.driver import ContainerSpec
{kind.source}
spec = ContainerSpec(name={job.spec.name!r}, folder=pathlib.Path({str(job.folder)!r}), lifetime=60,
    image={kind.image!r}, labels={job.spec.labels!r})
async def main():
    await driver.start(spec)
    print("up", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
        pipe = asyncio.subprocess.PIPE
        runner = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe)
        assert runner.stdout
        assert await asyncio.wait_for(runner.stdout.readline(), 20) == b"up\n"
        await job.order(step)
        await until(lambda: (job.step(step) / "log").exists() and job.log(step) == b"begun\n")
        runner.kill()
        await runner.wait()
        (job.folder / "workspace" / "gate").touch()
        result = await job.result(step)
        assert (result.log, result.status) == (b"begun\nended\n", 7)
        assert (await job.run("echo next")).log == b"next\n"

    async def test_at_the_end_of_its_lifetime_all_of_it_goes_by_itself(
        self, start: Start, driver: Driver, token: str
    ) -> None:
        job = await start(lifetime=3)
        await job.order(job.write(f"trap '' TERM; setsid sleep {token} & setsid sh -c 'exec sleep {token}' & wait"))
        await until(lambda: len(processes(token)) >= 2)

        async def stopped() -> bool:
            status = await driver.inspect(job.spec.name)
            return status is None or not status.running

        async with asyncio.timeout(20):
            while not await stopped():
                await asyncio.sleep(0.05)
        await until(lambda: not processes(token))


ORPHAN = "setsid sh -c '(exec sleep {token}) & exec sleep {token}' </dev/null >/dev/null 2>&1 &"


class TestEnd:
    async def test_terminate_reaches_every_process_but_the_init(self, start: Start, driver: Driver, token: str) -> None:
        job = await start()
        step = job.write(f"{ORPHAN.format(token=token)}\nsleep {token}")
        await job.order(step)
        await until(lambda: len(processes(token)) >= 3)
        await driver.terminate(job.spec.name)
        await until(lambda: not processes(token))
        assert (await job.result(step)).status == 128 + signal.SIGTERM
        assert (await job.run("echo alive")).log == b"alive\n"

    async def test_what_ignores_term_goes_by_remove(self, start: Start, driver: Driver, token: str) -> None:
        job = await start()
        mortal = f"{token}1"
        orphan = ORPHAN.format(token=token)
        step = job.write(f"sleep {mortal} &\ntrap '' TERM\n{orphan}\nsleep {token}; sleep {token}")
        await job.order(step)
        await until(lambda: len(processes(token)) == 4)
        await driver.terminate(job.spec.name)
        await until(lambda: not processes(mortal))
        assert len(processes(token)) == 3
        status = await driver.inspect(job.spec.name)
        assert status
        assert status.running
        await driver.remove(job.spec)
        assert processes(token) == []
        assert await driver.inspect(job.spec.name) is None
        assert await driver.list({"buildsys.test": job.spec.name}) == []

    async def test_remove_is_idempotent(self, start: Start, driver: Driver) -> None:
        job = await start()
        await driver.remove(job.spec)
        await driver.remove(job.spec)

    async def test_remove_of_what_was_never_started(self, start: Start, driver: Driver) -> None:
        await driver.remove((await start(run=False)).spec)

    async def test_terminate_of_what_is_gone_is_no_error(self, start: Start, driver: Driver) -> None:
        job = await start()
        await driver.remove(job.spec)
        await driver.terminate(job.spec.name)

    async def test_a_container_can_be_started_anew_after_its_removal(self, start: Start, driver: Driver) -> None:
        job = await start()
        await driver.remove(job.spec)
        assert (await driver.start(job.spec)).running
        assert (await job.run("echo again")).log == b"again\n"

    async def test_the_folder_can_be_deleted_whatever_was_left_in_it(self, start: Start, driver: Driver) -> None:
        job = await start()
        await job.run("i=0; while [ $i -lt 1200 ]; do mkdir dir; cd dir; i=$((i+1)); done; echo x >file")
        await job.run("mkdir -p deep/er; echo x >deep/er/file; ln -s / deep/link; chmod 000 deep/er/file deep/er deep")
        await driver.remove(job.spec)
        remove_tree(job.folder)
        assert not job.folder.exists()
        job.folder.mkdir()


class TestLimits:
    async def test_at_the_log_limit_the_step_goes_on(self, start: Start) -> None:
        job = await start()
        limit = 64 * 1024
        lines = "i=0; while [ $i -lt 200 ]; do printf '%01000d\\n' $i; i=$((i+1)); done"
        result = await job.run(f"{lines}; echo >done; exit 3", log_limit=limit)
        assert (job.step(1) / "truncated").exists()
        printed = b"".join(b"%01000d\n" % i for i in range(200))
        assert len(result.log) <= limit
        assert printed.startswith(result.log)
        assert len(result.log) > limit - 8192
        assert result.status == 3
        assert (job.folder / "workspace" / "done").exists()
        assert (await job.run("echo next")).log == b"next\n"

    async def test_below_the_log_limit_nothing_is_truncated(self, start: Start) -> None:
        job = await start()
        assert len((await job.run("printf '%01000d' 1", log_limit=64 * 1024)).log) == 1000
        assert not (job.step(1) / "truncated").exists()

    async def test_a_memory_hog_is_stopped(self, start: Start, driver: Driver) -> None:
        job = await start(limits=Limits(memory=64 << 20))
        step = job.write("dd if=/dev/zero of=/dev/null bs=512M count=1; status=$?; echo $status >hog; exit $status")
        await job.order(step)
        await until(lambda: (job.step(step) / "status").exists() or (job.folder / "workspace" / "hog").exists(), 20)
        assert (await job.result(step)).status != 0

    async def test_a_fork_bomb_is_stopped(self, start: Start, driver: Driver, kind: Kind, token: str) -> None:
        if kind.driver.name == "process" and os.getuid() != 0:
            pytest.skip("without a user of its own a job shares the runner's limit of processes")
        job = await start(limits=Limits(pids=100))
        step = job.write(f"i=0; while [ $i -lt 300 ]; do sleep {token} & i=$((i+1)); done; wait")
        await job.order(step)
        await until(lambda: len(processes(token)) >= 50 or (job.step(step) / "status").exists())
        assert len(processes(token)) <= 101
        await driver.remove(job.spec)
        assert processes(token) == []


class TestHostility:
    async def test_a_link_in_place_of_the_log_reaches_no_file_of_ours(
        self, start: Start, driver: Driver, kind: Kind, tmp_path: Path
    ) -> None:
        ours = tmp_path / "ours"
        ours.write_text("untouched")
        ours.chmod(0o600)
        job = await start()
        step = job.write("echo overwritten")
        await job.run(f"rm -rf ../steps/{step}/log; ln -s {ours} ../steps/{step}/log")
        await job.order(step)
        await until(lambda: (job.step(step) / "started").exists())
        await driver.remove(job.spec)
        assert ours.read_text() == "untouched"
