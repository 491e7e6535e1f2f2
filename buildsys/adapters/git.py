"""Reads a repository without a checkout: where a branch stands, and the workflow files at a commit.

Each repository has a bare one in the cache folder for each credential it is read with, which holds the commits that
were read and none of their history. A commit costs one fetch, in which the server sends what has changed since the
last. That takes half the time of a fetch without the files' contents and a second one for those that are wanted; only a
repository's very first is slower.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from buildsys.adapters.git_process import run_git
from buildsys.core.assignment import Credential
from buildsys.core.git import check_commit, check_ref, check_url
from buildsys.core.repository import WorkflowFiles
from buildsys.core.yaml_source import MAX_BYTES
from buildsys.errors import NoSuchCommit, SourceError

OWN = (".buildsys.yml", ".buildsys/")
GITHUB = (".github/workflows/",)
"""Where workflow files are. Those in `OWN` win: a repository that has any is not built by its GitHub files."""

MAX_FILES = 100
MAX_TOTAL = 4 << 20
"""Bytes of all workflow files of a commit: reading them takes seconds a megabyte where somebody wrote them so."""

MAX_SUBJECT = 200
MAX_PACKS = 64
DEPTHS = ("1", "50", "1000", "2147483647")
"""How far a ref's history is fetched, one after the other, where a server sends no commit that is not a ref's tip."""

_KEPT = "refs/buildsys/last"
_LISTING = 4 << 20
_REFUSALS = ("not our ref", "unadvertised object", "does not support shallow", "no such remote ref", "remote ref")
_ENTRY = re.compile(rb"100\d{3} blob ([0-9a-f]{40,64}) +(\d+)\t(.+)", re.DOTALL)


class GitReader:
    """Reads repositories, each one by one call at a time, within `timeout` seconds. `cache` is its own folder.

    Raises `SourceError`, in which no credential appears; `NoSuchCommit` where the repository lacks what is asked for.
    """

    def __init__(self, *, cache: Path, allow_local: bool = False, timeout: float = 120.0) -> None:
        self._cache = cache
        self._allow_local = allow_local
        self._timeout = timeout
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def resolve(
        self, url: str, *, branch: str | None = None, credential: Credential | None = None
    ) -> tuple[str, str]:
        """The commit at the head of a branch (None: of the default branch), and the branch's name."""
        repository = self._repository(url, credential)
        if branch is not None:
            check_ref(branch)
        wanted = "HEAD" if branch is None else f"refs/heads/{branch}"
        async with self._deadline(url):
            said = await repository.git("ls-remote", "--quiet", "--symref", "--end-of-options", url, wanted)
        lines = [line.split("\t") for line in said.decode(errors="replace").splitlines() if "\t" in line]
        answers = [value for value, name in lines if name == wanted]
        commit = next((value for value in answers if not value.startswith("ref: ")), None)
        name = next((value.removeprefix("ref: ") for value in answers if value.startswith("ref: ")), wanted)
        if commit is None:
            raise NoSuchCommit("the repository is empty" if branch is None else f"there is no branch {branch!r}")
        if not name.startswith("refs/heads/"):
            raise NoSuchCommit("the repository has no default branch; name one")
        check_commit(commit)
        check_ref(name)
        return commit, name.removeprefix("refs/heads/")

    async def tip(self, url: str, *, ref: str, credential: Credential | None = None) -> str | None:
        """The commit that a complete ref stands at, or the tag that is there, None where there is no such ref."""
        repository = self._repository(url, credential)
        check_ref(ref)
        peeled = f"{ref}^{{}}"
        async with self._deadline(url):
            said = await repository.git("ls-remote", "--quiet", "--end-of-options", url, ref, peeled)
        lines = [line.split("\t") for line in said.decode(errors="replace").splitlines() if "\t" in line]
        found = {name: value for value, name in lines}
        commit = found.get(peeled, found.get(ref))
        if commit is not None:
            check_commit(commit)
        return commit

    async def read_workflows(
        self, url: str, *, commit: str, ref: str | None = None, credential: Credential | None = None
    ) -> WorkflowFiles:
        """The workflow files at a commit, and the first line of its message.

        `ref` serves servers that send no bare commit. A file that is too large, or too many of them, is an error.
        """
        repository = self._repository(url, credential)
        check_commit(commit)
        if ref is not None:
            check_ref(ref)
        lock = self._locks.setdefault(url, asyncio.Lock())
        async with self._deadline(url), lock:
            await repository.have(commit, ref or "HEAD")
            return await repository.workflows(commit)

    async def changed(
        self, url: str, *, before: str, after: str, ref: str, credential: Credential | None = None
    ) -> tuple[str, ...] | None:
        """The files that differ between two commits; None where one is not to be had, or they are too many to list."""
        repository = self._repository(url, credential)
        check_commit(before)
        check_commit(after)
        check_ref(ref)
        lock = self._locks.setdefault(url, asyncio.Lock())
        async with self._deadline(url), lock:
            try:
                for commit in (before, after):
                    await repository.have(commit, ref)
                return await repository.changed(before, after)
            except SourceError:
                return None

    def _repository(self, url: str, credential: Credential | None) -> _Repository:
        check_url(url, allow_local=self._allow_local)
        opened_by = msgspec.json.encode((url, credential))  # what one credential opened is not there for another
        folder = self._cache / hashlib.sha256(opened_by).hexdigest()[:40]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _Repository(url=url, folder=folder, allow_local=self._allow_local, credential=credential)

    @asynccontextmanager
    async def _deadline(self, url: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise SourceError(f"reading {url} took longer than {self._timeout:g} s") from None


class _Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A cached repository and where it comes from."""

    url: str
    folder: Path
    allow_local: bool
    credential: Credential | None

    async def git(self, *arguments: str, given: bytes = b"", limit: int = _LISTING) -> bytes:
        return await run_git(
            *("--git-dir", str(self.folder), *arguments),
            url=self.url,
            home=self.folder,
            allow_local=self.allow_local,
            credential=self.credential,
            given=given,
            limit=limit,
        )

    async def have(self, commit: str, ref: str) -> None:
        """Fetch the commit unless it is here. Every fetch leaves a pack; a heap of them is dropped, not repacked."""
        if len(list(self.folder.glob("objects/pack/*.pack"))) >= MAX_PACKS:
            await asyncio.to_thread(shutil.rmtree, self.folder)
            self.folder.mkdir(mode=0o700)
        if not (self.folder / "HEAD").exists():
            await self.git("init", "--quiet", "--bare", "--template=")
        if await self._has(commit):
            return
        try:
            await self._fetch("1", commit)
        except SourceError as error:
            if not any(refusal in str(error) for refusal in _REFUSALS):
                raise
            for depth in DEPTHS:
                await self._fetch(depth, ref)
                if await self._has(commit):
                    return
            raise NoSuchCommit(f"commit {commit} is not in the history of {ref}") from None

    async def workflows(self, commit: str) -> WorkflowFiles:
        listed = await self.git("ls-tree", "-z", "-l", "--full-tree", commit, "--", *OWN, *GITHUB)
        entries = [match for line in listed.split(b"\0") if (match := _ENTRY.fullmatch(line))]
        files = {match[3].decode(errors="replace"): (match[1].decode(), int(match[2])) for match in entries}
        own = [path for path in files if path.startswith(OWN)]
        paths = [path for path in own or files if path.endswith((".yml", ".yaml"))]
        if len(paths) > MAX_FILES:
            raise SourceError(f"the commit has {len(paths)} workflow files; at most {MAX_FILES} are read")
        for path in paths:
            if files[path][1] > MAX_BYTES:
                raise SourceError(f"{path} is larger than {MAX_BYTES >> 10} KiB")
        if (total := sum(files[path][1] for path in paths)) > MAX_TOTAL:
            raise SourceError(f"the commit's workflow files have {total:,} bytes; at most {MAX_TOTAL:,} are read")
        head, *contents = await self._contents([commit, *(files[path][0] for path in paths)])
        return WorkflowFiles(
            files=dict(zip(paths, contents, strict=True)), subject=_subject(head), parents=_parents(head)
        )

    async def changed(self, before: str, after: str) -> tuple[str, ...]:
        """Renamed files are two that differ."""
        printed = await self.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after)
        return tuple(name.decode(errors="replace") for name in printed.split(b"\0") if name)

    async def _contents(self, objects: list[str]) -> list[bytes]:
        """The objects as `git cat-file --batch` prints them: a line `NAME TYPE SIZE`, the bytes, a newline."""
        given = "".join(f"{name}\n" for name in objects).encode()
        printed = await self.git("cat-file", "--batch", given=given, limit=(MAX_FILES + 2) * MAX_BYTES)
        contents, at = [], 0
        for name in objects:
            start = printed.find(b"\n", at) + 1
            head = printed[at:start].split()
            if len(head) != 3 or head[0] != name.encode():
                raise SourceError(f"the repository lacks the object {name}")
            end = start + int(head[2])
            contents.append(printed[start:end])
            at = end + 1
        return contents

    async def _has(self, commit: str) -> bool:
        try:
            await self.git("cat-file", "-e", f"{commit}^{{commit}}")
        except SourceError:
            return False
        return True

    async def _fetch(self, depth: str, what: str) -> None:
        """Fetch as one pack, all or nothing, over what a killed fetch left behind: there is one at a time."""
        for lock in ("shallow.lock", f"{_KEPT}.lock"):
            (self.folder / lock).unlink(missing_ok=True)
        whole = ("-c", "fetch.unpackLimit=1")
        options = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
        quick = ("--no-auto-maintenance", "--no-show-forced-updates", f"--depth={depth}")
        await self.git(*whole, "fetch", *options, *quick, "--end-of-options", self.url, f"+{what}:{_KEPT}")


def _subject(commit: bytes) -> str:
    """The first line of a commit object's message."""
    _, _, message = commit.partition(b"\n\n")
    return next(iter(message.decode(errors="replace").strip().splitlines()), "")[:MAX_SUBJECT]


def _parents(commit: bytes) -> tuple[str, ...]:
    """The commits that a commit object names as those before it."""
    head, _, _ = commit.partition(b"\n\n")
    return tuple(line.removeprefix(b"parent ").decode() for line in head.splitlines() if line.startswith(b"parent "))
