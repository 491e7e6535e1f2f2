"""The process that keeps the embedded Postgres running, and outlives the one that started it.

    python -I -S postgres_supervisor.py FOLDER ORPHAN_LIMIT COMMAND...

It runs in a session of its own and imports nothing but the standard library, so it stays small and does not mind an
upgrade of the package around it. It starts COMMAND, starts it again when it dies, and ends in three ways:

- SIGTERM: the server is shut down (fast, then immediately after 30 s), exit 0.
- Nobody has held FOLDER/owner.lock for ORPHAN_LIMIT seconds: the same. Until then a new owner may adopt the server.
- The server died three times without having been ready once: exit 1, for its log says what is wrong.

It holds FOLDER/supervisor.lock, with its pid in it, as long as it lives. Killed, it takes the server along: the kernel
sends the server SIGINT (a fast shutdown) then, so that no server is ever left that nobody looks after.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
TICK = 1.0  # seconds between two looks at the owner's lock and the size of the log
LOG_LIMIT = 10 << 20  # bytes; one older log of this size is kept beside it
HEALTHY_AFTER = 10.0  # seconds of life after which a death is the first of its row
LONGEST_DELAY = 10.0  # seconds
ATTEMPTS = 3
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def supervise(folder: Path, orphan_limit: float, command: list[str]) -> int:
    """Keep `command` running until told otherwise; returns the exit status."""
    lock = hold_lock(folder / "supervisor.lock")
    if lock is None:
        return 0  # another supervisor has the server
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    stop_stray(folder / "data")
    owner = Owner(folder / "owner.lock")
    server: subprocess.Popen[bytes] | None = None
    started = start_at = time.monotonic()
    deaths, was_ready = 0, False
    while True:
        now = time.monotonic()
        if server is None and now >= start_at:
            server, started = start(command), now
        received = signal.sigtimedwait(SIGNALS, TICK if server else min(TICK, start_at - now))
        stop_wanted = received is not None and received.si_signo != signal.SIGCHLD
        if stop_wanted or owner.absence() > orphan_limit:
            say(
                "stopping the server"
                if stop_wanted
                else f"nobody has owned the server for {orphan_limit:g} s: stopping it"
            )
            if server is not None:
                stop(server)
            return 0
        was_ready = was_ready or is_ready(folder / "data")
        if server is not None and server.poll() is not None:
            deaths = 1 if time.monotonic() - started > HEALTHY_AFTER else deaths + 1
            say(f"the server died with status {server.returncode}, {deaths} in a row")
            if not was_ready and deaths >= ATTEMPTS:
                return 1
            server, start_at = None, time.monotonic() + min(0.05 * 2**deaths, LONGEST_DELAY)
        rotate_log()


class Owner:
    """Tells how long nobody has held the owner's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = time.monotonic()

    def absence(self) -> float:
        """Seconds since the lock was last seen held, 0 while it is. Holds it itself for an instant to find out."""
        if self._is_held():
            self._seen = time.monotonic()
        return time.monotonic() - self._seen

    def _is_held(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def hold_lock(path: Path) -> int | None:
    """The descriptor of the locked file with our pid in it, None when another supervisor holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.005)  # one that only looks has it for an instant
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            return descriptor
    return None


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_before_server)


def _before_server() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Shut down fast (end the sessions, write a checkpoint); if that hangs immediately, which leaves recovery."""
    for number, limit in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(limit)
            return


def stop_stray(data: Path) -> None:
    """Shut down a server on this data that a killed supervisor left, should the kernel not have told it to end."""
    pid = stray_pid(data)
    for number, limit in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0)):
        deadline = time.monotonic() + limit
        if pid is not None and stray_pid(data) == pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while pid is not None and stray_pid(data) == pid and time.monotonic() < deadline:
            time.sleep(0.02)


def stray_pid(data: Path) -> int | None:
    """The process that postmaster.pid names, if it lives and works in this folder, as every Postgres server does."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return pid if Path(f"/proc/{pid}/cwd").samefile(data) else None
    except (OSError, ValueError):
        return None


def is_ready(data: Path) -> bool:
    """Whether the server says in postmaster.pid, on its 8th line, that it takes connections."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def rotate_log() -> None:
    """Copy our standard error, a file that the server appends to, aside and empty it once it is over LOG_LIMIT."""
    if os.fstat(2).st_size > LOG_LIMIT:
        with contextlib.suppress(OSError):
            log = Path("/proc/self/fd/2").readlink()
            shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.ftruncate(2, 0)


def say(message: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not end us
        print(
            f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())} supervisor: {message}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(supervise(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
