"""What the process driver promises beyond the contract: its isolation, and what survives the death of which process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from containers import Job, Kind, Start, as_root, make_folder, processes, until, wanting
from pids import is_alive

from buildsys.adapters.process import ProcessDriver, Record
from buildsys.adapters.process_users import CLAIMS, USERS
from buildsys.core.driver import ContainerSpec, Driver, Limits
from buildsys.errors import DriverError

of_both_kinds = pytest.mark.parametrize("kind", ["process", "process-plain"], indirect=True)
of_the_sandbox = pytest.mark.parametrize("kind", ["process"], indirect=True)


def record(job: Job, tmp_path: Path) -> Record:
    return msgspec.json.decode((tmp_path / "state" / f"{job.spec.name}.container").read_bytes(), type=Record)


def zygote() -> int:
    [pid] = [pid for pid in processes("process_zygote") if os.getpid() in parents(pid)]
    return pid


def parents(pid: int) -> list[int]:
    """The process's parent; none where it has ended meanwhile."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "PPid" in line]
    return []


@pytest.fixture
async def sandboxed(kind: Kind) -> None:
    """Skips what needs bubblewrap where it does not work."""
    assert isinstance(kind.driver, ProcessDriver)
    await kind.driver.prepare(wanting(None), lambda _: None)
    if kind.driver.no_sandbox:
        pytest.skip(kind.driver.no_sandbox)


@of_both_kinds
class TestDeath:
    async def test_a_lost_supervisor_is_told_and_remove_finds_its_processes(
        self, start: Start, driver: Driver, token: str, tmp_path: Path
    ) -> None:
        job = await start()
        await job.order(job.write(f"setsid sleep {token} & (cd /; sleep {token}) & echo up; sleep {token}"))
        await until(lambda: len(processes(token)) >= 3)
        os.kill(record(job, tmp_path).pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while (status := await driver.inspect(job.spec.name)) and status.running:
                await asyncio.sleep(0.01)
        assert status
        assert status.reason == "supervisor_lost"
        await driver.remove(job.spec)
        assert processes(token) == []

    async def test_a_hanging_supervisor_does_not_keep_its_job_alive(
        self, start: Start, driver: Driver, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("buildsys.adapters.process.END_DEADLINE", 1.0)
        job = await start()
        await job.order(job.write(f"sleep {token} & sleep {token}"))
        await until(lambda: len(processes(token)) >= 2)
        pid = record(job, tmp_path).pid
        os.kill(pid, signal.SIGSTOP)
        await driver.remove(job.spec)
        assert processes(token) == []
        assert not is_alive(pid)

    async def test_the_end_of_the_lifetime_is_the_reason_told(self, start: Start, driver: Driver) -> None:
        job = await start(lifetime=0.2)
        async with asyncio.timeout(10):
            while (status := await driver.inspect(job.spec.name)) and status.running:
                await asyncio.sleep(0.01)
        assert status
        assert status.reason == "its lifetime is over"

    async def test_a_killed_zygote_takes_no_container_along_and_is_replaced(self, start: Start, token: str) -> None:
        job = await start()
        step = job.write("until [ -e gate ]; do sleep 0.02; done; echo ended")
        await job.order(step)
        os.kill(zygote(), signal.SIGKILL)
        (job.folder / "workspace" / "gate").touch()
        assert (await job.result(step)).log == b"ended\n"

        async def another() -> Job:
            async with asyncio.timeout(10):
                while True:
                    try:
                        return await start()
                    except DriverError:  # it dies while it is asked
                        await asyncio.sleep(0.01)

        assert (await (await another()).run("echo another")).log == b"another\n"

    async def test_the_zygote_goes_with_the_driver_and_supervisors_stay(self, start: Start, driver: Driver) -> None:
        job = await start()
        pid = zygote()
        await driver.close()
        assert not Path(f"/proc/{pid}").exists()
        assert (await job.run("echo alive")).log == b"alive\n"

    async def test_a_folder_that_the_job_destroyed_ends_the_container(self, start: Start, driver: Driver) -> None:
        job = await start()
        step = job.write("rm -rf ../steps; mv ../steps ../gone; exit 0")
        await job.order(step)
        async with asyncio.timeout(10):
            while (status := await driver.inspect(job.spec.name)) and status.running:
                await asyncio.sleep(0.01)
        assert status
        assert status.reason
        assert status.reason.startswith("it could not go on")

    @pytest.mark.parametrize("name", ["limits", "log", "status.new"])
    @pytest.mark.parametrize("plant", ["mkfifo {}", "ln -s /dev/zero {}", "mkdir {}"])
    async def test_what_a_job_plants_holds_its_supervisor_up_for_nothing(
        self, start: Start, driver: Driver, token: str, name: str, plant: str
    ) -> None:
        job = await start()
        step = job.write("true")
        path = f"../steps/{step}/{name}"
        await job.run(f"setsid sleep {token} </dev/null >/dev/null 2>&1 & rm -f {path}; {plant.format(path)}")
        await job.order(step)
        async with asyncio.timeout(10):
            while (status := await driver.inspect(job.spec.name)) and status.running:
                await asyncio.sleep(0.01)
        assert status
        assert (status.reason or "").startswith("it could not go on")
        assert processes(token) == []

    async def test_a_flood_of_orders_fills_no_memory(self, start: Start, tmp_path: Path) -> None:
        job = await start()

        def resident() -> int:
            pages = Path(f"/proc/{record(job, tmp_path).pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")

        before = resident()
        result = await job.run("timeout 1 sh -c 'while :; do echo 1; done >../control'; echo end")
        assert result.log == b"end\n"
        assert resident() - before < 4 << 20


@of_both_kinds
class TestStart:
    async def test_two_drivers_start_one_container(self, start: Start, kind: Kind, tmp_path: Path) -> None:
        job = await start(run=False)
        other = ProcessDriver(state=tmp_path / "state", sandbox=False)
        first, second = await asyncio.gather(kind.driver.start(job.spec), other.start(job.spec))
        assert first.id == second.id
        await other.close()

    async def test_many_at_once(self, start: Start) -> None:
        jobs = await asyncio.gather(*(start() for _ in range(20)))
        results = await asyncio.gather(*(job.run(f"echo {i}") for i, job in enumerate(jobs)))
        assert [result.log for result in results] == [b"%d\n" % i for i in range(20)]

    async def test_a_name_that_is_none(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        with pytest.raises(DriverError, match="cannot be called"):
            await driver.start(msgspec.structs.replace(job.spec, name="../elsewhere"))

    async def test_a_folder_that_is_not_there(self, start: Start, driver: Driver) -> None:
        job = await start(run=False)
        shutil.rmtree(job.folder)
        with pytest.raises(DriverError):
            await driver.start(job.spec)
        assert await driver.inspect(job.spec.name) is None
        job.folder.mkdir()

    async def test_an_image_is_not_used_and_that_is_said(self, driver: Driver) -> None:
        said: list[str] = []
        await driver.prepare(wanting("debian:12"), said.append)
        assert "debian:12" in said[0]


@of_both_kinds
class TestIsolation:
    @as_root
    async def test_a_job_has_a_user_of_its_own(self, start: Start, tmp_path: Path) -> None:
        first, second = await start(), await start()
        users = {int((await job.run("id -u")).log) for job in (first, second)}
        assert users == {record(first, tmp_path).uid, record(second, tmp_path).uid}
        assert len(users) == 2
        assert users <= set(USERS)

    @as_root
    async def test_a_job_cannot_end_its_supervisor_or_another_job(
        self, start: Start, driver: Driver, token: str, tmp_path: Path
    ) -> None:
        first, second = await start(), await start()
        await first.order(first.write(f"sleep {token}"))
        await until(lambda: bool(processes(token)))
        pids = " ".join(map(str, [record(second, tmp_path).pid, record(first, tmp_path).pid, *processes(token)]))
        result = await second.run(f"for pid in {pids}; do kill -9 $pid 2>/dev/null && echo killed $pid; done; echo end")
        assert result.log == b"end\n"
        assert processes(token)

    @as_root
    async def test_a_job_cannot_read_another_ones_folder(self, start: Start) -> None:
        first, second = await start(), await start()
        (first.folder / "workspace" / "private").write_text("private")
        assert (await second.run(f"cat {first.folder}/workspace/private")).status != 0

    @as_root
    async def test_a_user_is_given_back(self, start: Start, driver: Driver, tmp_path: Path) -> None:
        job = await start()
        uid = record(job, tmp_path).uid
        assert uid
        assert (CLAIMS / str(uid)).is_symlink()
        await driver.remove(job.spec)
        assert not (CLAIMS / str(uid)).is_symlink()

    async def test_no_step_can_gain_privileges(self, start: Start) -> None:
        assert b"NoNewPrivs:\t1\n" in (await (await start()).run("cat /proc/self/status")).log

    async def test_no_descriptor_of_ours_is_left_open(self, start: Start) -> None:
        assert (await (await start()).run("exec ls /proc/self/fd")).log.split() == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]  # 3: ls's own

    async def test_signals_have_their_default_effects(self, start: Start) -> None:
        log = (await (await start()).run("exec cat /proc/self/status")).log.decode()
        masks = dict(line.split(":\t") for line in log.splitlines() if line.startswith(("SigIgn", "SigBlk")))
        assert set(masks.values()) == {"0" * 16}

    async def test_the_memory_of_a_sibling_process_is_its_own(self, start: Start) -> None:
        job = await start(limits=Limits(memory=256 << 20))
        assert (await job.run("dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null")).status == 0


@of_the_sandbox
@pytest.mark.usefixtures("sandboxed")
class TestSandbox:
    async def test_no_other_process_is_seen(self, start: Start) -> None:
        log = (await (await start()).run("ls /proc")).log.split()
        assert len([name for name in log if name.isdigit()]) <= 5

    async def test_neither_other_jobs_nor_hidden_folders_are_seen(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "secret.key").write_text("secret")
        other, job = await start(), await start()
        result = await job.run(f"ls {other.folder}; cat {tmp_path}/secret.key; ls {job.folder.parent.parent} 2>&1")
        assert b"secret" not in result.log.replace(b"secret.key", b"")
        assert other.spec.name.encode() not in (await job.run(f"ls {job.folder.parent.parent}")).log

    @pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])
    async def test_temporary_files_are_the_jobs_own(self, start: Start, place: str) -> None:
        name = f"{place}/buildsys-test-{uuid4().hex}"
        job = await start()
        assert (await job.run(f"echo mine >{name} && cat {name}")).log == b"mine\n"
        assert not Path(name).exists()
        assert (job.folder / "tmp" / Path(name).name).read_text() == "mine\n"

    async def test_a_path_for_temporary_files_leaves_room_for_the_name_of_a_socket(self, start: Start) -> None:
        assert (await (await start()).run("echo $TMPDIR")).log == b"/tmp\n"

    async def test_the_host_is_read_only(self, start: Start) -> None:
        job = await start()
        for place in ("/usr/planted", "/etc/planted", "/run/planted", "/planted"):
            assert (await job.run(f"echo x >{place}")).status != 0
            assert not Path(place).exists()

    async def test_a_job_below_a_hidden_folder_sees_of_it_only_its_own(self, tmp_path: Path) -> None:
        data = Path(f"/var/tmp/buildsys-test-{uuid4().hex}")
        folder = data / "runner" / "jobs" / "one" / "folder"
        for each in (folder, folder / "workspace", folder / "home", folder / "tmp", folder / "steps"):
            make_folder(each)
        (data / "secret.key").write_text("secret")
        driver = ProcessDriver(state=tmp_path / "state", hidden=[data])
        job = Job(driver, ContainerSpec(name="buildsys-test-hidden", folder=folder, lifetime=60))
        await driver.start(job.spec)
        assert (
            await job.run(f"cd {data}; find . -maxdepth 3 | sort")
        ).log == b".\n./runner\n./runner/jobs\n./runner/jobs/one\n"
        assert (await job.run(f"touch {data}/new")).status != 0
        assert (await job.run(f"mv {data} {data}-moved")).status != 0
        await driver.remove(job.spec)
        await driver.close()
        shutil.rmtree(data)

    async def test_no_socket_of_the_host_is_seen(self, start: Start) -> None:
        assert (await (await start()).run("ls /run/docker.sock /var/run/docker.sock")).status != 0

    async def test_it_ends_with_its_supervisor(self, start: Start, token: str, tmp_path: Path) -> None:
        job = await start()
        await job.order(job.write(f"setsid env -i sh -c 'cd /; exec sleep {token}' & sleep {token}"))
        await until(lambda: len(processes(token)) >= 2)
        os.kill(record(job, tmp_path).pid, signal.SIGKILL)
        await until(lambda: not processes(token))

    async def test_a_job_that_kills_its_sandbox_is_lost_not_successful(self, start: Start, driver: Driver) -> None:
        job = await start()
        step = job.write("kill -9 -1; sleep 60")
        await job.order(step)
        async with asyncio.timeout(10):
            while (status := await driver.inspect(job.spec.name)) and status.running:
                await asyncio.sleep(0.01)
        assert status
        assert status.reason == "the job killed its sandbox"


class TestSandboxMissing:
    async def test_without_bubblewrap_it_is_said_and_demanded_it_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        said: list[str] = []
        driver = ProcessDriver(state=tmp_path / "state")
        await driver.prepare(wanting(None), said.append)
        assert said == ["Steps run without a sandbox: bubblewrap is not installed"]
        with pytest.raises(DriverError, match="bubblewrap is not installed"):
            await ProcessDriver(state=tmp_path / "state", sandbox=True).prepare(wanting(None), said.append)

    async def test_a_bubblewrap_that_fails_is_quoted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = Path(f"/var/tmp/buildsys-test-bwrap-{uuid4().hex}")
        broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
        broken.chmod(0o755)
        monkeypatch.setattr("shutil.which", lambda name: str(broken))
        driver = ProcessDriver(state=tmp_path / "state")
        said: list[str] = []
        await driver.prepare(wanting(None), said.append)
        await driver.close()
        broken.unlink()
        assert "No permissions to create new namespace" in said[0]


@as_root
async def test_the_contract_holds_for_an_ordinary_user_too() -> None:
    """As root maps itself: to a user that is the owner of our files, and may nothing that root may."""
    ordinary = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
    probe = await asyncio.create_subprocess_exec(*ordinary, "true", stderr=asyncio.subprocess.DEVNULL)
    if await probe.wait() != 0:
        pytest.skip("no user namespaces here")
    suite = Path(__file__).with_name("test_driver.py")
    only = "process and (TestEnd or TestStatus or TestHostility)"
    pytest_run = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite), "-k", only)
    run = await asyncio.create_subprocess_exec(*ordinary, *pytest_run, stdout=asyncio.subprocess.PIPE)
    out, _ = await run.communicate()
    assert run.returncode == 0, out.decode()
