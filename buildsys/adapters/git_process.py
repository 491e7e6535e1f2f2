"""One git process: started with nothing of the host's own configuration, bounded, gone when the call returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from buildsys.core.assignment import Credential
from buildsys.core.git import credential_lines, environment, redact
from buildsys.errors import SourceError

_KEPT = 8192
"""How much of what git says about an error is kept, in bytes."""

_PIPE = 65536
"""The bytes that a pipe holds while nobody reads, see pipe(7)."""


async def run_git(
    *arguments: str,
    url: str,
    home: Path,
    allow_local: bool,
    credential: Credential | None = None,
    given: bytes = b"",
    limit: int = 1 << 20,
) -> bytes:
    """Run git and return its stdout. The credential goes through a pipe, and only to the host of `url`.

    Raises `SourceError` where git fails, with its own last words and no credential, or prints more than `limit` bytes.
    Cancelled, it kills what it started.
    """
    stdin = _filled_pipe(given)
    secret = _filled_pipe(credential_lines(credential)) if credential is not None else None
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(inherited=os.environ, home=home, url=url, allow_local=allow_local, credential_fd=secret),
            pass_fds=() if secret is None else (secret,),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise SourceError("git is not installed on this host") from None
    finally:
        os.close(stdin)
        if secret is not None:
            os.close(secret)
    try:
        async with asyncio.TaskGroup() as group:
            said = group.create_task(_last(process))
            printed = group.create_task(_first(process, limit + 1))
        code = await process.wait()
    finally:
        await _end(process)
    if len(printed.result()) > limit:
        raise SourceError(f"the repository holds more than the {limit} bytes that are read of it")
    if code != 0:
        words = redact(said.result().decode(errors="replace"), credential).strip()
        raise SourceError(words or f"git ended with status {code}")
    return printed.result()


def _filled_pipe(content: bytes) -> int:
    """The reading end of a pipe that holds `content`; nobody needs to write while git runs."""
    if len(content) > _PIPE:
        raise SourceError("the credential is larger than 64 KiB")
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
    finally:
        os.close(writing)
    return reading


async def _first(process: asyncio.subprocess.Process, size: int) -> bytes:
    """The first `size` bytes of stdout; a process that prints as many is killed."""
    assert process.stdout is not None
    try:
        printed = await process.stdout.readexactly(size)
    except asyncio.IncompleteReadError as error:
        return error.partial
    _kill(process)
    return printed


async def _last(process: asyncio.subprocess.Process) -> bytes:
    """The last bytes of stderr, all of which is read."""
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(_KEPT):
        kept = (kept + chunk)[-_KEPT:]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _kill(process)
        async with asyncio.timeout(10):
            await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process's whole session; one that has just ended is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
