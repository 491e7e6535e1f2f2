"""What this machine runs, seen from outside: no answer of ours is believed here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

STUBBORN = "sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done'"
"""A command that no polite signal ends; the word behind it marks its process in the list of all."""


def stubborn_step(marker: str) -> str:
    """The lines of a script that ignores TERM and leaves processes behind, out of its session and of its tree."""
    return "\n".join(
        (
            "trap '' TERM HUP INT",
            f"( ( setsid {STUBBORN} {marker}-orphan >/dev/null 2>&1 & ) & )",
            f"setsid {STUBBORN} {marker}-session &",
            f"{STUBBORN} {marker}-child &",
            "echo up",
            f"{STUBBORN} {marker}-step",
        )
    )


def environments_and_arguments() -> list[str]:
    """What this machine shows of each process to whoever may look."""
    return [(words + b"\n" + environ).decode(errors="replace").replace("\0", " ") for words, environ in _processes()]


def marked(marker: str) -> list[str]:
    """The arguments of every process that has the marker in one of them, or in its environment."""
    return [
        words.decode(errors="replace").replace("\0", " ")
        for words, environ in _processes()
        if marker.encode() in words or marker.encode() in environ
    ]


def in_control_group(container: str) -> list[Path]:
    """The processes that the kernel counts to a container."""
    return [file.parent for file in Path("/proc").glob("[0-9]*/cgroup") if container.encode() in (_read(file) or b"")]


def containers(build: str) -> list[str]:
    """The containers, running or not, that an engine here has for a build."""
    shown = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label=buildsys.build={build}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout.split()


def _processes() -> Iterator[tuple[bytes, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        words = _read(folder / "cmdline")
        if words:
            yield words, _read(folder / "environ") or b""


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:  # it has ended meanwhile, or is none of ours to look into
        return None
