"""The init of a process container: one small process a job, which outlives runner and zygote.

It runs the steps that are ordered through the job's folder, as `buildsys.core.driver` says, adopts every orphan among
their children (child-subreaper), and ends all of it at the end of its lifetime. Three signals are for it alone: SIGTERM
is passed on to every process of the job, SIGUSR2 kills them, and SIGUSR1 kills them and ends the supervisor. That they
are killed it says by removing the driver's order, a file beside the driver's record. Its last deed is to write the
reason down, in another one, once no process of the job is left.

Run by root it works under two identities. Its real user stays root, so that no job can signal or trace it. Its
effective user is the job's, so that nothing a job puts into the folder (a link, for instance) opens us a door that is
closed to the job itself.

Standard library only: the zygote imports it, and what it imports is imported before there is a job.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from buildsys.adapters import process_kernel as kernel
from buildsys.adapters import process_tree as tree
from buildsys.adapters.process_sandbox import PRIVATE, Sandbox, SandboxError, exit_status
from buildsys.adapters.process_step import Step, read_limits

MARK = "BUILDSYS_CONTAINER"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OPEN_FILES = 65536
ORDER_LIMIT = 20
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
ROUNDS = 100
"""How often a terminated job is looked at again: one that answers SIGTERM with new processes need never be done."""
ROUND = 0.05
SANDBOX_DEADLINE = 2.0
"""Seconds that the kernel may need to clear a pid namespace whose first process was killed."""
END_DEADLINE = 30.0
KILL_DEADLINE = 5.0
KILL_ORDER = ".kill"
LIFETIME_OVER = "its lifetime is over"


def supervise(order: dict[str, Any], driver: socket.socket) -> NoReturn:
    """Be the supervisor of the ordered container. Answers the driver once, when steps can be ordered or why not."""
    answer: dict[str, Any] = {"id": order["id"]}
    try:
        supervisor = Supervisor(order)
    except FileExistsError:
        answer["exists"] = True
    except (OSError, SandboxError) as error:
        answer["error"] = str(error)
    with contextlib.suppress(OSError), driver:  # the runner may be gone: the container is there all the same
        driver.send(json.dumps(answer).encode())
    if len(answer) == 1 and order["record"]:
        supervisor.run()
    os._exit(0)


class Supervisor:
    """The life of one container. Raises `FileExistsError` where the container has a supervisor already."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._deadline = time.monotonic() + order["lifetime"]
        self._folder = Path(order["folder"])
        self._record = Path(order["record"]) if order["record"] else None
        self._uid: int | None = order["uid"]
        self._memory: int = order["memory"]
        self._processes: int | None = order["processes"]
        self._env = {
            "PATH": PATH,
            "HOME": str(self._folder / "home"),
            "TMPDIR": str(PRIVATE[0] if order["sandbox"] else self._folder / "tmp"),
            "SHELL": "/bin/sh",  # without it bash looks for the user's own, with all that knows of users
            MARK: order["name"],
        }
        self._steps: dict[int, Step] = {}
        self._waiting: list[int] = []
        self._ordered = b""
        self._sandbox: Sandbox | None = None
        os.setsid()
        os.umask(0o022)
        Path("/proc/self/comm").write_text("buildsys-init")
        self._signals = _catch_signals()
        self._not_default = [number for number in signal.valid_signals() if signal.getsignal(number) != signal.SIG_DFL]
        kernel.prctl(kernel.CHILD_SUBREAPER, 1)
        if self._record:
            _write_record(self._record, order)
        if self._uid is not None:
            self._take_user(self._uid)
        kernel.prctl(kernel.DUMPABLE, 0)
        if self._record:
            self._control = os.open(self._folder / "control", os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        if order["sandbox"]:
            self._sandbox = Sandbox(order["sandbox"], self._env, self._become)
        if not self._record:
            self._probe()

    def run(self) -> NoReturn:
        """Serve until the lifetime is over, the driver says so, or the job has destroyed what it runs on.

        The alarm rings a moment after the lifetime, should anything hold us up then.
        """
        signal.signal(signal.SIGALRM, lambda *_: self._end(LIFETIME_OVER))
        signal.setitimer(signal.ITIMER_REAL, max(self._deadline - time.monotonic(), 0.0) + 1.0)
        self._poll = select.poll()
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._signals, select.POLLIN)
        try:
            while (left := self._deadline - time.monotonic()) > 0:
                for fd, _ in self._poll.poll(left * 1000 + 1):
                    if fd == self._control:
                        self._read_orders()
                    elif fd == self._signals:
                        self._read_signals()
                    else:
                        self._forward(self._steps[fd])
        except (OSError, ValueError) as error:
            self._end(f"it could not go on: {error}")
        self._end(LIFETIME_OVER)

    def _forward(self, step: Step) -> None:
        step.forward()
        if not step.open:
            self._poll.unregister(step.pipe)
            self._forget_closed()

    def _forget_closed(self) -> None:
        for step in [step for step in self._steps.values() if not step.open and not step.running]:
            self._steps.pop(step.pipe).close()

    def _read_orders(self) -> None:
        *orders, self._ordered = (self._ordered + os.read(self._control, 4096)).split(b"\n")
        if len(self._ordered) > ORDER_LIMIT:
            raise ValueError("what is written into its control file is no step's number")
        self._waiting += [int(number) for number in orders]
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and not self._running():
            folder = self._folder / "steps" / str(self._waiting.pop(0))
            limits = read_limits(folder)
            try:
                (folder / "started").mkdir()
            except FileExistsError:
                continue
            step = Step(folder, *limits)
            self._steps[step.pipe] = step
            self._poll.register(step.pipe, select.POLLIN)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            step.pid = self._fork(functools.partial(self._execute, step))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            step.started()
        # while a step runs, orders wait in the FIFO: a job that floods it fills no memory of ours
        self._poll.modify(self._control, 0 if self._running() else select.POLLIN)

    def _running(self) -> list[Step]:
        return [step for step in self._steps.values() if step.running]

    def _read_signals(self) -> None:
        numbers = os.read(self._signals, 4096)
        if signal.SIGUSR1 in numbers:
            self._end("removed")
        if signal.SIGUSR2 in numbers:
            self._kill()
        if signal.SIGTERM in numbers:
            self._terminate()
        for pid, status in _reap():
            if self._sandbox and pid == self._sandbox.pid:
                self._end("the job killed its sandbox")
            for step in self._running():
                if step.pid == pid:
                    step.finish(exit_status(status))
        self._forget_closed()
        self._start_next()

    def _terminate(self) -> None:
        """Ask all that is there, and all that it made meanwhile; a stopped process is woken to hear it."""
        ours = self._sandbox.pids if self._sandbox else set()
        asked: set[int] = set()
        for _ in range(ROUNDS):
            # The oldest first: a shell is to hear of it before the command it waits for dies of it.
            fresh = sorted(tree.descendants(os.getpid()) - ours - asked)
            tree.send(fresh, signal.SIGTERM)
            tree.send(fresh, signal.SIGCONT)
            asked.update(fresh)
            if not fresh:
                break

    def _kill(self) -> None:
        """Kill all that is there and go on; the order goes when none of it runs any more."""
        deadline = time.monotonic() + KILL_DEADLINE
        while self._others():
            if time.monotonic() > deadline:
                return
            tree.kill(self._others)
            time.sleep(0.002)
        if self._record:
            with self._as_ourselves():
                self._record.with_suffix(KILL_ORDER).unlink(missing_ok=True)

    def _others(self) -> set[int]:
        """What runs of the job, but for what holds its sandbox."""
        holders = self._sandbox.pids if self._sandbox else set()
        return {pid for pid in tree.descendants(os.getpid()) - holders if tree.identity(pid)}

    @contextlib.contextmanager
    def _as_ourselves(self) -> Iterator[None]:
        """With the rights to what is the driver's."""
        if self._uid is not None:
            os.seteuid(0)
        try:
            yield
        finally:
            if self._uid is not None:
                os.seteuid(self._uid)

    def _end(self, reason: str) -> NoReturn:
        """Leave no process, then say so. A process that the kernel does not let go keeps us from saying it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        deadline = time.monotonic() + END_DEADLINE
        if self._sandbox:
            self._sandbox.kill()
            _reap_until(time.monotonic() + SANDBOX_DEADLINE)
        while _has_children() and time.monotonic() < deadline:
            if self._uid is not None:
                self._kill_user()
            tree.kill(lambda: tree.descendants(os.getpid()))
            _reap_until(time.monotonic() + ROUND)
        for step in self._steps.values():
            with contextlib.suppress(OSError):  # the job may have left no room for its last words
                step.drain()
        with self._as_ourselves():
            if self._record and not _has_children():
                _put(self._record.with_suffix(".end"), reason)
        os._exit(0)

    def _kill_user(self) -> None:
        """Kill every process of the job's user at one stroke: no fork bomb is faster."""
        killer = os.fork()
        if killer == 0:
            try:
                self._become()
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        os.waitpid(killer, 0)

    def _fork(self, become: Callable[[int], None]) -> int:
        """A child that becomes something else: our own child even where it has gone into the sandbox."""
        told, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                become(tells)
            finally:
                os._exit(127)
        os.close(tells)
        inner = os.read(told, 20) if self._sandbox else b""
        os.close(told)
        if inner:
            os.waitpid(pid, 0)
        return int(inner or pid)

    def _execute(self, step: Step, tells: int) -> None:
        """Become the step. What goes wrong here is the step's last line, and status 127 as in a shell."""
        try:
            signal.set_wakeup_fd(-1)
            self._become()
            kernel.prctl(kernel.DUMPABLE, 1)  # makes the next file our own
            # out of memory, the kernel is to choose the job
            os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"500")
            if self._sandbox:
                self._sandbox.enter(tells)
            for number in self._not_default:
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            self._limit()
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(step.stdout, 1)
            os.dup2(step.stdout, 2)
            os.chdir(self._folder / "workspace")
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _become_shell(str(step.folder / "run"), env=self._env)
        except OSError as error:
            os.write(step.stdout, f"buildsys: the step cannot be started: {error}\n".encode())

    def _limit(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (self._memory, self._memory))
        if self._processes is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (self._processes, self._processes))

    def _take_user(self, uid: int) -> None:
        if self._record:
            os.chown(self._folder, uid, uid)
            self._folder.chmod(0o700)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(0, uid, 0)

    def _become(self) -> None:
        """Give up what is left of us for good: in a child, before it runs anything of the job."""
        if self._uid is not None:
            os.setresuid(self._uid, self._uid, self._uid)
        kernel.prctl(kernel.NO_NEW_PRIVS, 1)

    def _probe(self) -> None:
        """Run a program in the sandbox, to see whether it can be entered."""
        _, status = os.waitpid(self._fork(self._try), 0)
        if status:
            raise SandboxError(f"the namespaces of bubblewrap cannot be entered (status {exit_status(status)})")

    def _try(self, tells: int) -> None:
        self._become()
        if self._sandbox:
            self._sandbox.enter(tells)
        _become_shell("-c", "echo works >/dev/null", env=os.environ)


def _become_shell(*arguments: str, env: Mapping[str, str]) -> None:
    os.execve("/bin/sh", ["sh", *arguments], env)  # noqa: S606


def _catch_signals() -> int:
    """Turn our signals into bytes of a pipe; those of a terminal are not for us."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    return out


def _reap() -> list[tuple[int, int]]:
    """The children that ended since, each with what waitpid(2) said of it."""
    ended = []
    while _has_children() and (child := os.waitpid(-1, os.WNOHANG))[0]:
        ended.append(child)
    return ended


def _reap_until(deadline: float) -> None:
    """Reap until there is no child left, or for as long as we may. SIGCHLD is to be blocked, so that none is missed."""
    while _has_children() and (left := deadline - time.monotonic()) > 0:
        signal.sigtimedwait({signal.SIGCHLD}, left)
        _reap()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _write_record(path: Path, order: dict[str, Any]) -> None:
    """Say who supervises this container, unless another one does: the link is made once."""
    record = {
        "name": order["name"],
        "folder": order["folder"],
        "uid": order["uid"],
        "labels": order["labels"],
        "pid": os.getpid(),
        "identity": tree.identity(os.getpid()),
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(record))
    try:
        path.hardlink_to(draft)
    finally:
        draft.unlink()


def _put(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text)
    draft.rename(path)
