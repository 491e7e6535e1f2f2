"""A commit, fetched into a folder by the git on this host; the rules of its calls are in `buildsys.core.git`."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from buildsys.core.assignment import Source
from buildsys.core.git import check_source, credential_lines, environment, redact
from buildsys.errors import SourceError

DEPTHS = ("1", "50", "1000")
"""How far a ref's history is fetched, one after the other, where a server does not send a bare commit."""

_KEPT = 8192
_REFUSALS = ("not our ref", "unadvertised object", "does not support shallow", "no such remote ref", "remote ref")


class GitFetch:
    """Fetches commits, one git process at a time, each in a session of its own that ends with the call.

    The commit arrives without its history, as files that every user may change. Nothing in it runs here: no hooks, no
    filters, no submodules. `timeout` is in seconds and covers a whole checkout.
    """

    def __init__(self, *, allow_local: bool = False, timeout: float = 900.0) -> None:
        self._allow_local = allow_local
        self._timeout = timeout

    async def checkout(self, source: Source, folder: Path) -> None:
        """Put the source's commit into `folder`, a new directory whose `origin` is the plain URL.

        Raises `SourceError` with git's own last lines, in which no credential appears.
        """
        check_source(source, allow_local=self._allow_local)
        with tempfile.TemporaryDirectory(prefix="home-", dir=folder.parent) as home:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._checkout(source, folder, Path(home))
            except TimeoutError:
                raise SourceError(f"fetching {source.commit} took longer than {self._timeout:g} s") from None

    async def _checkout(self, source: Source, folder: Path, home: Path) -> None:
        await self._git(source, home, "init", "--quiet", "--template=", str(folder))
        _add_origin(folder / ".git" / "config", source.url)
        try:
            await self._fetch(source, folder, home, "--depth=1", source.commit)
        except SourceError as error:
            if not any(refusal in str(error) for refusal in _REFUSALS):
                raise
            await self._fetch_by_ref(source, folder, home)
        await self._git(source, home, "-C", str(folder), "checkout", "--quiet", "--detach", source.commit)
        head = (folder / ".git" / "HEAD").read_text().strip()
        if head != source.commit:
            raise SourceError(f"asked for commit {source.commit} and got {head}")

    async def _fetch_by_ref(self, source: Source, folder: Path, home: Path) -> None:
        ref = source.ref or "HEAD"
        for depth in DEPTHS:
            await self._fetch(source, folder, home, f"--depth={depth}", ref)
            if await self._has(source, folder, home):
                return
        if (folder / ".git" / "shallow").exists():
            await self._fetch(source, folder, home, "--unshallow", ref)
        if not await self._has(source, folder, home):
            raise SourceError(f"commit {source.commit} is not in the history of {ref}")

    async def _fetch(self, source: Source, folder: Path, home: Path, depth: str, what: str) -> None:
        options = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-commit-graph", depth)
        await self._git(source, home, "-C", str(folder), "fetch", *options, "--end-of-options", "origin", what)

    async def _has(self, source: Source, folder: Path, home: Path) -> bool:
        try:
            await self._git(source, home, "-C", str(folder), "cat-file", "-e", f"{source.commit}^{{commit}}")
        except SourceError:
            return False
        return True

    async def _git(self, source: Source, home: Path, *arguments: str) -> str:
        """Run git and return the end of what it said; a failure is a `SourceError` with it."""
        pipe = _filled_pipe(credential_lines(source.credential)) if source.credential is not None else None
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment(
                    inherited=os.environ,
                    home=home,
                    url=source.url,
                    allow_local=self._allow_local,
                    credential_fd=pipe,
                ),
                pass_fds=() if pipe is None else (pipe,),
                start_new_session=True,
                umask=0,
            )
        except FileNotFoundError:
            raise SourceError("git is not installed on the runner's host") from None
        finally:
            if pipe is not None:
                os.close(pipe)
        try:
            said = redact(await _tail(process), source.credential)
            code = await process.wait()
        finally:
            await _end(process)
        if code != 0:
            raise SourceError(said.strip() or f"git ended with status {code}")
        return said


def _add_origin(config: Path, url: str) -> None:
    """What `git remote add` writes, without a process for it; the value is quoted as git-config(1) says."""
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    with config.open("a", encoding="utf-8") as file:
        file.write(f'[remote "origin"]\n\turl = "{quoted}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n')


def _filled_pipe(content: bytes) -> int:
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        os.write(writing, content)
    finally:
        os.close(writing)
    return reading


async def _tail(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    said = b""
    while chunk := await process.stdout.read(_KEPT):
        said = (said + chunk)[-_KEPT:]
    return said.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the process's whole session, if it is still there."""
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it has just ended
            os.killpg(process.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            await process.wait()
