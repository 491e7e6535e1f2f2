"""A folder that `buildsys run` is tried in, and what must be as it was behind every run."""

from __future__ import annotations

import os
import subprocess
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli_command import Command, Ended

NO_ENGINE = "unix:///nonexistent/docker.sock"


class Place:
    """`folder` is the user's, `temporary` where programs put their files."""

    def __init__(self, root: Path, **environ: str) -> None:
        self.folder = root / "a project"
        self.temporary = root / "temporary files"
        for folder in (self.folder, self.temporary):
            folder.mkdir()
        self._command = Command(**{"TMPDIR": str(self.temporary), "BUILDSYS_GRACE": "1", **environ})

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        words = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    async def run(self, *arguments: str, driver: str = "process", **options: Any) -> Ended:
        """Run to the end, and see that nothing was written to the folder, and nothing is left elsewhere."""
        before = self.state()
        ended = await self._command("run", *arguments, "--driver", driver, **{"cwd": self.folder, **options})
        assert "Traceback" not in ended.errors, ended.errors
        self.check(before)
        return ended

    async def start(self, *arguments: str, driver: str = "process", **options: Any) -> Process:
        return await self._command.start("run", *arguments, "--driver", driver, **{"cwd": self.folder, **options})

    def check(self, before: dict[str, Any]) -> None:
        assert self.state() == before
        assert list(self.temporary.iterdir()) == []

    def state(self) -> dict[str, Any]:
        """Every file of the folder, git's own among them: kind, mode, time of its last change, and content."""
        found: dict[str, Any] = {}
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[os.fsdecode(path.relative_to(self.folder))] = (status.st_mode, status.st_mtime_ns, content)
        return found


def printed(ended: Ended) -> list[str]:
    """The lines that steps printed, of a run with one job into a pipe."""
    return [line[2:] for line in ended.text.splitlines() if line.startswith("  ")]
