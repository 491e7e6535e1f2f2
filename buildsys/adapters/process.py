"""The process driver: containers that are process trees of this host, for machines without an engine.

A container is a *supervisor* (`process_supervisor`), forked by a *zygote* (`process_zygote`), and what runs under it.
What isolates a job is what the host has to give:

- run by root, a user of its own for every job (`process_users`);
- with bubblewrap, a view of the host of its own, and no sight of other processes (`process_sandbox`);
- without either, nothing but the process tree: a job can do what the runner's user can, even kill its supervisor.

`Limits.memory` holds for each process by itself (RLIMIT_DATA: what it has written to, not what it reserved),
`Limits.pids` only where there is a user or a sandbox for the kernel to count in, `Limits.cpus` not at all. Images are
not used, nor what goes with them (options): steps run with the programs of this host. Services, volumes and images that
are to be built are refused.

Containers outlive the runner, unless a service manager ends a service by its control group: for systemd, whose default
that is, set `KillMode=process`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from buildsys.adapters import process_tree as tree
from buildsys.adapters.process_client import ZygoteClient
from buildsys.adapters.process_sandbox import command
from buildsys.adapters.process_supervisor import KILL_ORDER, MARK
from buildsys.adapters.process_users import claim, holds, is_reachable, jobs_folder, release
from buildsys.core.driver import ContainerSpec, ContainerStatus, unheard
from buildsys.errors import ContainerAlive, ContainerRefused, DriverError

__all__ = ["ProcessDriver", "jobs_folder"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
SUFFIX = ".container"
END = ".end"
END_DEADLINE = 10.0
"""Seconds that a supervisor has to end its job before the driver does it, and the driver in turn."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor wrote of its container at the start."""

    name: str
    folder: str
    uid: int | None
    labels: dict[str, str]
    pid: int
    identity: str


class ProcessDriver:
    """Runs jobs as processes of this host.

    `state` is a folder of the runner's own, the same for each of its lives: the records of its containers are there.
    `hidden` are folders that no job is to see where there is a sandbox: the data folder, first of all. The home folder
    of the runner's user is one of them, and with it every tool that is installed there. `sandbox` says whether
    bubblewrap is used: None means where it is there and works.
    """

    name = "process"

    def __init__(self, *, state: Path, hidden: Sequence[Path] = (), sandbox: bool | None = None) -> None:
        self._state = state
        self._hidden = (*hidden, *_home())
        self._zygote = ZygoteClient(log=state / "zygote.log")
        self._sandbox = sandbox
        self._probing = asyncio.Lock()
        self._works: bool | None = None
        self.no_sandbox: str | None = None
        """Why there is no sandbox, once that is known."""

    async def prepare(self, spec: ContainerSpec, progress: Callable[[str], None]) -> ContainerSpec:
        """Nothing to prepare: says what a job may miss. Raises `ContainerRefused` for what only an engine can give."""
        _refuse(spec)
        if spec.image is not None:
            progress(f"The process driver does not use images: steps run on this host, not in {spec.image}")
        if not await self._has_sandbox():
            progress(f"Steps run without a sandbox: {self.no_sandbox}")
        return spec

    async def start(self, spec: ContainerSpec, progress: Callable[[str], None] = unheard) -> ContainerStatus:  # noqa: ARG002
        if not NAME.fullmatch(spec.name):
            raise DriverError(f"a container cannot be called {spec.name!r}")
        _refuse(spec)
        if status := await self.inspect(spec.name):
            return status
        record = self._path(spec.name)
        _make_control(spec.folder / "control")
        sandbox = self._command(spec.folder) if await self._has_sandbox() else None
        uid = self._claim(record, spec.folder)
        try:
            answer = await self._zygote.order(self._order(spec, uid=uid, sandbox=sandbox, record=record))
        except DriverError:
            self._forget(record, uid)
            raise
        if answer.get("exists") and uid is not None:
            release(uid, record)
        status = await self.inspect(spec.name)
        if status is None:
            raise DriverError(f"container {spec.name} was removed while it started")
        return status

    def root(self, spec: ContainerSpec) -> PurePath:
        return spec.folder

    async def inspect(self, name: str) -> ContainerStatus | None:
        record = self._record(name)
        if record is None:
            return None
        running = tree.identity(record.pid) == record.identity
        return ContainerStatus(
            id=f"{record.pid}",
            name=name,
            running=running,
            reason=None if running else self._reason(name),
            labels=record.labels,
        )

    async def terminate(self, name: str) -> None:
        record = self._record(name)
        if record and (pidfd := _signal(record, signal.SIGTERM)) is not None:
            os.close(pidfd)

    async def kill(self, name: str) -> None:
        record = self._record(name)
        if record is None:
            return
        order = self._path(name).with_suffix(KILL_ORDER)
        order.touch()
        if (pidfd := _signal(record, signal.SIGUSR2)) is None:
            return
        os.close(pidfd)
        try:
            async with asyncio.timeout(END_DEADLINE):
                while True:
                    if not order.exists() or tree.identity(record.pid) != record.identity:
                        return
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise ContainerAlive(f"processes of container {name} cannot be killed") from None

    async def remove(self, spec: ContainerSpec) -> None:
        record = self._record(spec.name)
        if record:
            await self._end(record)
        self._forget(self._path(spec.name), record.uid if record else None)

    async def list(self, labels: dict[str, str]) -> list[ContainerStatus]:
        found = [await self.inspect(path.stem) for path in self._state.glob(f"*{SUFFIX}")]
        return [status for status in found if status and status.labels.items() >= labels.items()]

    async def close(self) -> None:
        await self._zygote.close()

    async def _end(self, record: Record) -> None:
        """Let the supervisor end its job; do it ourselves where it is lost or hangs."""
        path = self._path(record.name)
        if await _ended(record) and path.with_suffix(END).exists():
            return
        uid = record.uid if record.uid is not None and holds(record.uid, path) else None
        try:
            async with asyncio.timeout(END_DEADLINE):
                while left := await asyncio.to_thread(_left, record, uid):
                    await asyncio.to_thread(tree.kill, lambda: _left(record, uid))
                    await asyncio.sleep(0.02)
        except TimeoutError:
            names = ", ".join(map(tree.describe, sorted(left)))
            raise ContainerAlive(f"processes of container {record.name} cannot be killed: {names}") from None

    async def _has_sandbox(self) -> bool:
        """Whether there is a sandbox here, tried once. Raises `DriverError` where one is demanded and there is none."""
        async with self._probing:
            if self._works is None:
                self.no_sandbox = "it is switched off" if self._sandbox is False else await self._probe()
                self._works = self.no_sandbox is None
            if self._sandbox and not self._works:
                raise DriverError(f"no sandbox: {self.no_sandbox}")
            return self._works

    async def _probe(self) -> str | None:
        """Why no job can be started in a sandbox here, None where one can: one is."""
        if shutil.which("bwrap") is None:
            return "bubblewrap is not installed"
        with tempfile.TemporaryDirectory(prefix="buildsys-probe-", dir="/var/tmp") as name:
            probe = Path(name)
            job = _make_probe(probe)
            uid = self._claim(probe, job)
            try:
                spec = ContainerSpec(name="probe", folder=job, lifetime=60)
                await self._zygote.order(self._order(spec, uid=uid, sandbox=self._command(job), record=None))
            except DriverError as error:
                return str(error)
            finally:
                if uid is not None:
                    release(uid, probe)
        return None

    def _command(self, folder: Path) -> Sequence[str]:
        return command(shutil.which("bwrap") or "bwrap", folder, self._hidden)

    def _order(
        self, spec: ContainerSpec, *, uid: int | None, sandbox: Sequence[str] | None, record: Path | None
    ) -> dict[str, Any]:
        return {
            "name": spec.name,
            "folder": str(spec.folder),
            "record": str(record) if record else None,
            "labels": spec.labels,
            "lifetime": spec.lifetime,
            "uid": uid,
            "sandbox": sandbox,
            "memory": spec.limits.memory,
            "processes": spec.limits.pids if sandbox or uid is not None else None,
        }

    def _claim(self, record: Path, folder: Path) -> int | None:
        """A user for the job's own, where we can give it one."""
        if os.geteuid() != 0:
            return None
        if not is_reachable(folder.parent):
            raise DriverError(f"{folder} cannot be reached by a job's own user: put jobs below jobs_folder()")
        return claim(record)

    def _forget(self, record: Path, uid: int | None) -> None:
        if uid is not None:
            release(uid, record)
        for suffix in (KILL_ORDER, END):
            record.with_suffix(suffix).unlink(missing_ok=True)
        record.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        """The container's record: it exists as long as the container does, whether or not that runs."""
        return self._state / f"{name}{SUFFIX}"

    def _record(self, name: str) -> Record | None:
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=Record)
        except FileNotFoundError:
            return None

    def _reason(self, name: str) -> str:
        """Why the container ended. What says so is written last, so that its absence has a meaning too."""
        try:
            return self._path(name).with_suffix(END).read_text()
        except FileNotFoundError:
            return "supervisor_lost"


def _refuse(spec: ContainerSpec) -> None:
    wanted = [f"the service {service.name}" for service in spec.services]
    wanted += ["an image of the project's own Dockerfile"] if spec.build is not None else []
    wanted += ["volumes"] if spec.volumes else []
    if wanted:
        raise ContainerRefused(
            f"this job needs the docker driver, for {', '.join(wanted)}, and its runner has the process driver: "
            "add 'docker' to the job's runs-on where there is a runner with it, or start this one with --driver docker"
        )


def _make_probe(probe: Path) -> Path:
    """A job's folder without a job, whoever the job's user will be."""
    probe.chmod(0o711)
    folder = probe / "folder"
    (folder / "tmp").mkdir(parents=True)
    (folder / "tmp").chmod(0o777)
    return folder


def _left(record: Record, uid: int | None) -> set[int]:
    """What still runs of a container whose supervisor is lost or hangs."""
    left = tree.marked(f"{MARK}={record.name}", folder=record.folder, uid=uid)
    if tree.identity(record.pid) == record.identity:
        left |= {record.pid} | tree.descendants(record.pid)
    return left


def _signal(record: Record, number: signal.Signals) -> int | None:
    """Signal the supervisor; returns a descriptor that tells its end, None where it is gone already."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    try:
        if tree.identity(record.pid) == record.identity:
            signal.pidfd_send_signal(pidfd, number)
            return pidfd
    except ProcessLookupError:
        pass
    os.close(pidfd)
    return None


async def _ended(record: Record) -> bool:
    """Have the supervisor end its job and itself; False where it does not do so in time."""
    pidfd = _signal(record, signal.SIGUSR1)
    if pidfd is None:
        return True
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    loop.add_reader(pidfd, end.set)
    try:
        await asyncio.wait_for(end.wait(), END_DEADLINE)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return True


def _home() -> list[Path]:
    """The folder with our own keys and tokens, if we have one."""
    home = Path(os.environ.get("HOME", "/")).resolve()
    return [home] if home != Path("/") else []


def _make_control(path: Path) -> None:
    try:
        if not path.exists():
            os.mkfifo(path)
            path.chmod(0o666)
    except OSError as error:
        raise DriverError(f"{path} cannot be made: {error.strerror}") from error
    if not stat.S_ISFIFO(path.lstat().st_mode):
        raise DriverError(f"{path} is not a FIFO")
