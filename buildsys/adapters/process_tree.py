"""The processes of this host as /proc shows them. Standard library only: the zygote imports it."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Iterable

PF_EXITING = 0x4
"""The kernel's flag of a process that runs no more (include/linux/sched.h). It may be there for long: the first process
of a pid namespace waits until each of the others is reaped."""


def identity(pid: int) -> str | None:
    """What tells a process from every other that has or had its pid, None once it has ended."""
    stat = _stat(pid)
    if stat is None or int(stat[6]) & PF_EXITING:
        return None
    return f"{_boot()}/{stat[19]}"


def descendants(ancestor: int) -> set[int]:
    """Children of a process, their children, and so on; zombies included."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        if stat := _stat(pid):
            children.setdefault(int(stat[1]), []).append(pid)
    found: set[int] = set()
    fresh = [ancestor]
    while fresh:
        fresh = [child for parent in fresh for child in children.get(parent, ())]
        found.update(fresh)
    return found


def marked(mark: str, *, folder: str, uid: int | None) -> set[int]:
    """Live processes that carry the mark in their first environment, work below the folder, or belong to the user."""
    needle = b"\0" + mark.encode() + b"\0"
    found = set()
    for pid in _pids():
        if pid == os.getpid() or identity(pid) is None:
            continue
        if (
            uid in _uids(pid)
            or needle in b"\0" + _read(f"/proc/{pid}/environ")
            or _is_below(f"/proc/{pid}/cwd", folder)
        ):
            found.add(pid)
    return found


def owned(uid: int) -> set[int]:
    """Live processes that belong to the user, by any of their user ids."""
    return {pid for pid in _pids() if uid in _uids(pid) and identity(pid)}


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes; those that are gone, or not ours to signal, are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill(find: Callable[[], set[int]]) -> None:
    """Kill what is found, and what it forked meanwhile: all are stopped before the first one dies."""
    stopped: set[int] = set()
    while fresh := find() - stopped:
        send(fresh, signal.SIGSTOP)
        stopped |= fresh
    send(stopped, signal.SIGKILL)


def describe(pid: int) -> str:
    return f"{pid} ({_read(f'/proc/{pid}/comm').decode(errors='replace').strip()})"


@functools.cache
def _boot() -> str:
    """What tells this run of the host from its others."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  Path costs a multiple


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on: [1] parent, [6] flags, [19] start time in ticks since boot."""
    text = _read(f"/proc/{pid}/stat")
    return text[text.rindex(b")") + 2 :].decode().split() if text else None


def _uids(pid: int) -> set[int]:
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"Uid:"):
            return {int(uid) for uid in line.split()[1:]}
    return set()


def _is_below(link: str, folder: str) -> bool:
    try:
        return (os.readlink(link) + "/").startswith(folder + "/")  # noqa: PTH115  as above
    except OSError:
        return False


def _read(path: str) -> bytes:
    """The file's bytes, none where the process is gone or not ours to look into."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  as above
            return file.read()
    except OSError:
        return b""
