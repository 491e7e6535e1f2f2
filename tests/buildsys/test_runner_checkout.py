"""`actions/checkout` of other revisions of a project's repository: each test names its sentence."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from git_server import Repository, git, git_server
from steps_bench import CONTEXTS, StepsBench, job

from buildsys.core.assignment import Credential, Source
from buildsys.core.build import Outcome

PASSWORD = "correct-horse-battery"

NESTED = """\
name: checks out twice
description: before and behind a process
runs:
  using: composite
  steps:
    - uses: actions/checkout@v4
    - run: echo
      shell: sh
    - uses: actions/checkout@v4
"""


class Origin:
    """A repository behind a password, with three commits, branches, tags and a pull request."""

    def __init__(self, root: Path) -> None:
        self.repository = Repository(root / "served" / "project")
        path = self.repository.path
        self.first = self.repository.commit({"file": "first\n"})
        git(path, "tag", "v1")
        git(path, "tag", "both")
        self.second = self.repository.commit({"file": "second\n"})
        self.repository.branch("other")
        self.third = self.repository.commit({"file": "other\n", "deep/er": "x\n"})
        git(path, "tag", "-a", "-m", "annotated", "v2")
        self.repository.branch("both")
        git(path, "update-ref", "refs/pull/7/merge", self.first)
        self.url = ""

    def source(self, password: str = PASSWORD) -> Source:
        credential = Credential(username="builder", password=password)
        return Source(url=self.url, commit=self.second, ref="refs/heads/main", credential=credential)


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    origin = Origin(tmp_path)
    async with git_server(tmp_path / "served", password=PASSWORD) as server:
        origin.url = f"{server.url}/project/.git"
        yield origin


def contexts(origin: Origin) -> dict[str, Any]:
    return {**CONTEXTS, "github": {**CONTEXTS["github"], "sha": origin.second}}


async def checked_out(origin: Origin, folder: Path, given: str, then: str, *before: str) -> str:
    """What a step prints behind a checkout, and the checkout's log before it."""
    first = "".join(f"  - run: {line}\n" for line in before)
    number = len(before) + 1
    steps = f"steps:\n{first}  - {{uses: actions/checkout@v4, id: c, with: {given}}}\n  - run: |\n      {then}\n"
    planned = job(steps, contexts=contexts(origin))
    async with StepsBench(folder, planned, source=origin.source()) as bench:
        await bench.steps.run()
        assert PASSWORD not in bench.log(number)
        return bench.log(number) + bench.log(number + 1)


@pytest.mark.parametrize(
    ("sentence", "ref", "expected"),
    [
        ("a branch", "other", "other"),
        ("a complete ref of a branch", "refs/heads/other", "other"),
        ("a tag", "v1", "first"),
        ("an annotated tag", "refs/tags/v2", "other"),
        ("a commit", "FIRST", "first"),
        ("a branch goes before a tag", "both", "other"),
        ("a ref of another kind", "refs/pull/7/merge", "first"),
    ],
)
async def test_ref(origin: Origin, tmp_path: Path, sentence: str, ref: str, expected: str) -> None:
    """ "The branch, tag or SHA to checkout"; the commit is an output."""
    ref = ref.replace("FIRST", origin.first)
    commit = {"first": origin.first, "other": origin.third}[expected]
    then = "cat file; echo ${{ steps.c.outputs.commit }} ${{ steps.c.outputs.ref }}; ls -A"
    printed = await checked_out(origin, tmp_path, f"{{ref: '{ref}'}}", then)
    files = ".git\ndeep\nfile\n" if expected == "other" else ".git\nfile\n"
    assert printed == f"Checked out {commit}\n{expected}\n{commit} {ref}\n{files}"


@pytest.mark.parametrize(
    ("sentence", "given", "commits", "tags"),
    [
        ("0 indicates all history for all branches and tags", "{fetch-depth: 0, ref: other}", "3", "both v1 v2"),
        ("number of commits to fetch", "{fetch-depth: 2, ref: other}", "2", ""),
        ("one commit unless it is said", "{ref: other}", "1", ""),
        ("fetch-tags: tags as well", "{fetch-tags: true, ref: other}", "1", "both v1 v2"),
        ("a tag that is among all tags", "{fetch-tags: true, ref: refs/tags/v2}", "1", "both v1 v2"),
        ("all history, and so all tags", "{fetch-tags: true, fetch-depth: 0, ref: other}", "3", "both v1 v2"),
    ],
)
async def test_history(origin: Origin, tmp_path: Path, sentence: str, given: str, commits: str, tags: str) -> None:
    printed = await checked_out(origin, tmp_path, given, "git rev-list --count HEAD; echo $(git tag)")
    assert printed == f"Checked out {origin.third}\n{commits}\n{tags}\n"


async def test_clean_removes_all_else(origin: Origin, tmp_path: Path) -> None:
    then = "ls -A | tr '\\n' ' '; cat file"
    dirty = "mkdir d; echo changed > file; touch d/new .hidden"
    cleaned = await checked_out(origin, tmp_path / "1", "{ref: v1}", then, dirty)
    assert cleaned.splitlines()[1:] == [".git file first"]
    kept = await checked_out(origin, tmp_path / "2", "{ref: v1, clean: false}", then, dirty)
    assert kept.splitlines()[1:] == [".git .hidden d file first"]


CHANGES = [
    "echo changed > file",
    "rm file",
    "mkdir d; touch d/new .hidden",
    "git -c user.name=x -c user.email=x@y commit -q --allow-empty -m more",
    "git checkout -q -b mine; git rm -q file",
    "rm -rf .git",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_behind_a_step_the_commit_is_checked_out_again(origin: Origin, tmp_path: Path, change: str) -> None:
    """ "When checking out the repository that triggered a workflow, this defaults to the reference or SHA"."""
    planned = job(
        f"""\
steps:
  - {{uses: actions/checkout@v4, with: {{ref: other}}}}
  - run: {change}
  - uses: actions/checkout@v4
  - run: git status --porcelain --ignored; ls -A | tr '\\n' ' '; git rev-parse HEAD; cat file
""",
        contexts=contexts(origin),
    )
    async with StepsBench(tmp_path, planned, source=origin.source()) as bench:
        assert await bench.steps.run() is False, bench.log(2)
        assert bench.log(3) == f"Checked out {origin.second}\n"
        assert bench.log(4) == f".git file {origin.second}\nsecond\n"


async def test_behind_a_checkout_of_another_ref(origin: Origin, tmp_path: Path) -> None:
    """In every `path` is what its own checkout says, whatever those before it left."""
    planned = job(
        """\
steps:
  - {uses: actions/checkout@v4, with: {ref: v1}}
  - {uses: actions/checkout@v4, id: c}
  - {uses: actions/checkout@v4, with: {path: again}}
  - {uses: actions/checkout@v4, with: {path: v1, ref: v1}}
  - run: echo ${{ steps.c.outputs.commit }}; cat file again/file v1/file; ls -A again
""",
        contexts=contexts(origin),
    )
    async with StepsBench(tmp_path, planned, source=origin.source()) as bench:
        assert await bench.steps.run() is False
        assert bench.log(5) == f"{origin.second}\nsecond\nsecond\nfirst\n.git\nfile\n"


async def test_what_is_there_already_needs_no_fetch(origin: Origin, tmp_path: Path) -> None:
    """Before any process has run, within an action, too."""
    planned = job("steps: [{uses: ./act}, {run: cat file, if: always()}]", contexts=contexts(origin))
    files = {"act/action.yml": NESTED, "file": "there\n"}
    async with StepsBench(tmp_path, planned, files) as bench:
        assert await bench.steps.run() is True
        assert bench.log(1001) == f"The commit {origin.second} is in the workspace already\n"
        assert bench.log(1003) == "buildsys: error: there is no repository here to fetch it from\n"
        assert bench.log(2) == "there\n"


async def test_a_path_beside_what_is_there(origin: Origin, tmp_path: Path) -> None:
    given = '{ref: other, path: "a path/x\'y"}'
    printed = await checked_out(origin, tmp_path, given, 'cat "a path/x\'y/deep/er" mine', "echo mine > mine")
    assert printed == f"Checked out {origin.third}\nx\nmine\n"


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("absent", "the repository has no branch and no tag 'absent'"),
        ("refs/heads/absent", "the repository has no branch and no tag 'refs/heads/absent'"),
        ("--upload-pack=touch owned", "not a branch or tag"),
        ("a:b", "not a branch or tag"),
        ("f" * 39 + "e", "the repository has no commit f+e"),
    ],
)
async def test_what_is_not_there_fails_the_step(origin: Origin, tmp_path: Path, ref: str, message: str) -> None:
    printed = await checked_out(origin, tmp_path, f"{{ref: '{ref}'}}", "echo not reached")
    assert re.search(message, printed)
    assert "not reached" not in printed


async def test_a_runner_that_is_started_again_fetches_what_it_had_not(origin: Origin, tmp_path: Path) -> None:
    planned = job("steps: [{uses: actions/checkout@v4, with: {ref: v1}}, {run: cat file}]")
    async with StepsBench(tmp_path, planned, source=origin.source()) as bench:
        begun = await bench.steps._begin("1", 0, bench.steps._top)
        assert begun is not None
        assert await bench.life().run() is False
        assert bench.log(2) == "first\n"


async def test_the_hosts_git_never_runs_in_the_workspace(origin: Origin, tmp_path: Path) -> None:
    """A job may write there what git would obey."""
    hostile = f"git init -q . && git config core.fsmonitor 'touch {tmp_path}/owned; false'"
    await checked_out(origin, tmp_path / "bench", "{ref: v1}", "true", hostile)
    assert not (tmp_path / "owned").exists()


@pytest.fixture
async def silent() -> AsyncIterator[tuple[Source, asyncio.Event]]:
    """A repository on a server that takes calls and says nothing, and whether it was called."""
    called = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Source(url=f"http://127.0.0.1:{port}/x.git", commit="1" * 40), called


async def test_a_cancel_ends_a_fetch(silent: tuple[Source, asyncio.Event], tmp_path: Path) -> None:
    source, called = silent
    planned = job("steps: [{uses: actions/checkout@v4, with: {ref: v1}}, {run: echo last, if: always()}]")
    async with StepsBench(tmp_path, planned, source=source) as bench:
        running = asyncio.create_task(bench.steps.run())
        await asyncio.wait_for(called.wait(), 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await bench.steps.run(cut=Outcome.CANCELED)
        assert (bench.ended(1).outcome, bench.log(2)) == (Outcome.CANCELED, "last\n")


async def test_a_steps_time_limit_ends_a_fetch(silent: tuple[Source, asyncio.Event], tmp_path: Path) -> None:
    source, called = silent
    planned = job("steps: [{uses: actions/checkout@v4, with: {ref: v1}, timeout-minutes: 0.02}]")
    async with StepsBench(tmp_path, planned, source=source) as bench:
        assert await asyncio.wait_for(bench.steps.run(), 30) is True
        assert called.is_set()
        assert bench.log(1) == "buildsys: error: the step's time limit was reached\n"
