"""A job's own view of the host, made by bubblewrap. Standard library only: the zygote imports it.

Bubblewrap runs once a job and holds the namespaces; every step enters them from outside. Inside there are the job's
own processes and no others, the host's file system read-only, the job's folder writable at its own path, and its
folder for temporary files as /tmp and /var/tmp. Not there: other jobs, /run with its sockets (an engine's among them),
and what the caller wants hidden. The network is the host's: builds fetch dependencies.

The namespaces end with the supervisor, and everything in them with them: that is the kernel's doing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from buildsys.adapters import process_kernel as kernel

DEADLINE = 10.0
PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  no files of ours: the mount points that every program knows
"""Where a job finds its folder for temporary files; a socket in the first has a name as short as sockets need (unix(7):
107 bytes), which one in the job's folder has not."""
NAMESPACES = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC
HOLDER = "echo ready; read _"
"""Holds the namespaces until its stdin ends: that is, as long as the supervisor lives."""


class SandboxError(Exception):
    """Bubblewrap cannot make a sandbox here; the message is its own."""


def command(bwrap: str, folder: Path, hidden: Sequence[Path]) -> list[str]:
    """The arguments of bubblewrap for a job's folder."""
    covers: list[Path] = []
    for path in sorted(_cover(path) for path in (*hidden, folder.parent)):
        if path.is_dir() and not any(path.is_relative_to(cover) for cover in covers):
            covers.append(path)
    return [
        *(bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/run", *_resolver(), "--remount-ro", "/run"),
        *(word for place in PRIVATE for word in ("--bind", str(folder / "tmp"), str(place))),
        *(word for cover in covers for word in ("--tmpfs", str(cover))),
        *("--bind", str(folder), str(folder)),
        *(word for cover in covers for word in ("--remount-ro", str(cover))),
    ]


def _cover(path: Path) -> Path:
    """The folder to cover so that `path` is not seen; in a private place the topmost, so that no job moves it away."""
    for place in PRIVATE:
        if path != place and path.is_relative_to(place):
            return place / path.relative_to(place).parts[0]
    return path


def _resolver() -> list[str]:
    """Names are looked up as the host does it, where the file that says how lies in /run."""
    file = str(Path("/etc/resolv.conf").resolve())
    return ["--ro-bind-try", file, file] if file.startswith("/run/") else []


class Sandbox:
    """Namespaces that live as long as this process, which bubblewrap must be a child of.

    `become` is called in the new process to take the job's identity on. Raises `SandboxError`.
    """

    def __init__(self, argv: list[str], env: dict[str, str], become: Callable[[], None]) -> None:
        info, info_in = os.pipe()
        ready, ready_in = os.pipe()
        holder_stdin, self._hold = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                become()
                os.dup2(holder_stdin, 0)
                os.dup2(ready_in, 1)
                os.dup2(ready_in, 2)
                os.set_inheritable(info_in, True)
                os.execve(argv[0], [*argv, "--info-fd", str(info_in), "/bin/sh", "-c", HOLDER], env)  # noqa: S606
            except OSError as error:
                os.write(ready_in, f"{argv[0]}: {error}\n".encode())
            finally:
                os._exit(127)
        for fd in (info_in, ready_in, holder_stdin):
            os.close(fd)
        answer = _read_line(ready)
        if answer != "ready":
            raise SandboxError(answer or "bubblewrap ended without a word")
        first = json.loads(os.read(info, 4096))["child-pid"]
        holder = int(Path(f"/proc/{first}/task/{first}/children").read_text().split()[0])
        os.close(info)
        os.close(ready)
        self.pids = {self.pid, first, holder}
        self._first = first
        self._pidfd = os.pidfd_open(holder)

    def kill(self) -> None:
        """Kill the first process inside: the kernel kills all others before it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)

    def enter(self, tells: int) -> None:
        """Move this process into the namespaces, and fork: the child goes on inside, this process is over.

        The process between is needed: a pid namespace takes in only children. It is not seen inside, and its last deed
        is to write the child's pid, as it is outside, to `tells`; then the child belongs to the next subreaper above.
        """
        kernel.setns(self._pidfd, NAMESPACES)
        if child := os.fork():
            os.write(tells, str(child).encode())
            os._exit(0)


def exit_status(waited: int) -> int:
    """The exit status of a shell for what waitpid(2) said: 128 and the number for death by a signal."""
    code = os.waitstatus_to_exitcode(waited)
    return code if code >= 0 else 128 - code


def _read_line(fd: int) -> str:
    """The first line, or all that came until the end or the deadline."""
    said = b""
    deadline = time.monotonic() + DEADLINE
    while b"\n" not in said and (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            chunk = os.read(fd, 4096)
            if not chunk:
                break
            said += chunk
    return said.decode(errors="replace").partition("\n")[0].strip()
