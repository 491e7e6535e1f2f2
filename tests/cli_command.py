"""The command `buildsys` as people run it: a process of its own, which imports nothing from the folder it is in."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def json(self) -> Any:
        """The answer, which is one line."""
        (line,) = self.text.splitlines()
        return json.loads(line)


class Command:
    """Runs `buildsys` with these variables, and none of those that this process happens to have."""

    def __init__(self, **environ: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BUILDSYS_")}
        self._environ: Mapping[str, str] = {**kept, "COLUMNS": "120", **environ}

    async def start(self, *arguments: str, **options: Any) -> Process:
        options = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE} | options
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "buildsys", *arguments, env=self._environ, **options
        )

    async def __call__(self, *arguments: str, given: bytes = b"", limit: float = 60.0, **options: Any) -> Ended:
        """Run it to its end."""
        process = await self.start(*arguments, **options)
        try:
            async with asyncio.timeout(limit):
                output, errors = await process.communicate(given)
        except TimeoutError:
            process.kill()
            output, errors = await process.communicate()
            raise AssertionError(f"{arguments} did not end: {output[-2000:]!r} {errors.decode()[-2000:]}") from None
        assert process.returncode is not None
        return Ended(process.returncode, output, errors.decode())
