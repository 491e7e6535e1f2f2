"""A commit, fetched into a folder by the git on this host; the rules of its calls are in `buildsys.core.git`."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from buildsys.core.assignment import Source
from buildsys.core.git import (
    Revision,
    check_ref,
    check_source,
    credential_lines,
    environment,
    is_commit,
    redact,
)
from buildsys.errors import SourceError

DEPTHS = ("1", "50", "1000")
"""How far a ref's history is fetched, one after the other, where a server does not send a bare commit."""

BRANCHES = "+refs/heads/*:refs/remotes/origin/*"
TAGS = "+refs/tags/*:refs/tags/*"

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
        async with self._home(folder, source.commit) as home:
            await self._checkout(source, folder, home)

    async def checkout_revision(self, source: Source, revision: Revision, folder: Path) -> None:
        """The same for another revision of the source's repository, with as much of its history as is wanted.

        A branch goes before a tag of the same name.
        """
        check_source(source, allow_local=self._allow_local)
        check_ref(revision.ref)
        async with self._home(folder, revision.ref) as home:
            await self._init(source, folder, home)
            if revision.depth == 0:
                await self._fetch(source, folder, home, "", BRANCHES, TAGS)
            found = await self._fetch_revision(source, revision, folder, home)
            await self._git(source, home, "-C", str(folder), "checkout", "--quiet", "--detach", found)

    async def _fetch_revision(self, source: Source, revision: Revision, folder: Path, home: Path) -> str:
        """What the revision is called here once it is."""
        depth = f"--depth={revision.depth}" if revision.depth else ""
        tags = (TAGS,) if revision.tags and revision.depth else ()  # beside a ref: alone, git fails where there is none
        if is_commit(revision.ref):
            try:
                await self._fetch(source, folder, home, depth, revision.ref, *tags)
            except SourceError as error:
                if not _is_refusal(error):
                    raise
                await self._fetch(source, folder, home, "", BRANCHES, TAGS)
                if not await self._has(source, folder, home, revision.ref):
                    raise SourceError(f"the repository has no commit {revision.ref}") from None
            return revision.ref
        for there, here in _names(revision.ref):
            try:
                await self._fetch(source, folder, home, depth, f"+{there}:{here}", *tags)
            except SourceError as error:
                if not _is_refusal(error):
                    raise
            else:
                return here
        raise SourceError(f"the repository has no branch and no tag {revision.ref!r}")

    @asynccontextmanager
    async def _home(self, folder: Path, what: str) -> AsyncIterator[Path]:
        """A home for git beside the folder, for as long as fetching may take."""
        with tempfile.TemporaryDirectory(prefix="home-", dir=folder.parent) as home:
            try:
                async with asyncio.timeout(self._timeout):
                    yield Path(home)
            except TimeoutError:
                raise SourceError(f"fetching {what} took longer than {self._timeout:g} s") from None

    async def _init(self, source: Source, folder: Path, home: Path) -> None:
        await self._git(source, home, "init", "--quiet", "--template=", str(folder))
        _add_origin(folder / ".git" / "config", source.url)

    async def _checkout(self, source: Source, folder: Path, home: Path) -> None:
        await self._init(source, folder, home)
        try:
            await self._fetch(source, folder, home, "--depth=1", source.commit)
        except SourceError as error:
            if not _is_refusal(error):
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
            if await self._has(source, folder, home, source.commit):
                return
        if (folder / ".git" / "shallow").exists():
            await self._fetch(source, folder, home, "--unshallow", ref)
        if not await self._has(source, folder, home, source.commit):
            raise SourceError(f"commit {source.commit} is not in the history of {ref}")

    async def _fetch(self, source: Source, folder: Path, home: Path, depth: str, *what: str) -> None:
        """Fetch refs; `depth` is the option that says how much of their history, empty for all of it."""
        quiet = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-commit-graph")
        options = (*quiet, depth) if depth else quiet
        await self._git(source, home, "-C", str(folder), "fetch", *options, "--end-of-options", "origin", *what)

    async def _has(self, source: Source, folder: Path, home: Path, commit: str) -> bool:
        try:
            await self._git(source, home, "-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}")
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
            raise SourceError(
                said.strip() or f"git {_command(arguments)} ended with status {code}, and did not say why"
            )
        return said


def _command(arguments: tuple[str, ...]) -> str:
    """Which of git's commands it is; a folder may stand before it."""
    return arguments[2] if arguments[0] == "-C" else arguments[0]


def _is_refusal(error: SourceError) -> bool:
    return any(refusal in str(error) for refusal in _REFUSALS)


def _names(ref: str) -> Iterator[tuple[str, str]]:
    """What a ref may be called there, and is called here then."""
    for kind, here in (("refs/heads/", "refs/remotes/origin/"), ("refs/tags/", "refs/tags/")):
        if not ref.startswith("refs/"):
            yield f"{kind}{ref}", f"{here}{ref}"
        elif ref.startswith(kind):
            yield ref, f"{here}{ref.removeprefix(kind)}"
    if ref.startswith("refs/") and not ref.startswith(("refs/heads/", "refs/tags/")):
        yield ref, f"refs/remotes/{ref.removeprefix('refs/')}"


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
