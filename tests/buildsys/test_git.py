"""Reading repositories: real git, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from buildsys.adapters import git as adapter
from buildsys.adapters.git import GitReader
from buildsys.core.assignment import Credential
from buildsys.errors import NoSuchCommit, SourceError
from tests.git_server import GitServer, Repository, git, git_server

PASSWORD = "correct-horse-battery"
CI = ".github/workflows/ci.yml"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "project")


@pytest.fixture
async def server(tmp_path: Path, repository: Repository) -> AsyncIterator[GitServer]:
    async with git_server(tmp_path / "served") as running:
        yield running


@pytest.fixture
def reader(tmp_path: Path) -> GitReader:
    return GitReader(cache=tmp_path / "cache", timeout=30)


async def test_resolves_the_default_branch_and_others(
    server: GitServer, repository: Repository, reader: GitReader
) -> None:
    first = repository.commit({"a": "1"})
    repository.branch("feature/x")
    second = repository.commit({"a": "2"})
    git(repository.path, "checkout", "--quiet", "main")
    url = f"{server.url}/project/.git"
    assert await reader.resolve(url) == (first, "main")
    assert await reader.resolve(url, branch="feature/x") == (second, "feature/x")


@pytest.mark.parametrize(
    ("branch", "message"),
    [("--upload-pack=touch /tmp/x", "not a branch"), ("ma*", "not a branch")],
)
async def test_refuses_what_can_be_no_branch(
    branch: str, message: str, server: GitServer, repository: Repository, reader: GitReader
) -> None:
    repository.commit({"a": "1"})
    with pytest.raises(SourceError, match=message):
        await reader.resolve(f"{server.url}/project/.git", branch=branch)


async def test_what_a_repository_lacks_is_told_from_one_that_cannot_be_read(
    server: GitServer, repository: Repository, reader: GitReader
) -> None:
    url = f"{server.url}/project/.git"
    with pytest.raises(NoSuchCommit, match="empty"):
        await reader.resolve(url)
    repository.commit({"a": "1"})
    with pytest.raises(NoSuchCommit, match="no branch 'x'"):
        await reader.resolve(url, branch="x")
    with pytest.raises(NoSuchCommit, match=r"f{40} is not in the history of refs/heads/main"):
        await reader.read_workflows(url, commit="f" * 40, ref="refs/heads/main")
    with pytest.raises(SourceError) as caught:
        await reader.resolve(f"{server.url}/nothing/.git")
    assert not isinstance(caught.value, NoSuchCommit)


@pytest.mark.parametrize("old", [False, True], ids=["server", "old server"])
async def test_reads_every_commit_as_it_was(old: bool, tmp_path: Path, repository: Repository) -> None:
    first = repository.commit({CI: "one", "src/a": "1"}, "First\n\nand more")
    second = repository.commit(
        {CI: "two", ".github/workflows/b.yaml": "b", ".github/workflows/notes.txt": "-"}, "Second"
    )
    third = repository.commit({"src/a": "3"}, "Dritter ß")
    async with git_server(tmp_path / "served", old=old) as server:
        reader = GitReader(cache=tmp_path / "cache", timeout=30)
        url = f"{server.url}/project/.git"
        for commit, files, subject in (
            (second, {CI: b"two", ".github/workflows/b.yaml": b"b"}, "Second"),
            (first, {CI: b"one"}, "First"),
            (third, {CI: b"two", ".github/workflows/b.yaml": b"b"}, "Dritter ß"),
            (second, {CI: b"two", ".github/workflows/b.yaml": b"b"}, "Second"),
        ):
            read = await reader.read_workflows(url, commit=commit, ref="refs/heads/main")
            assert (read.files, read.subject) == (files, subject)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": "1"}, set()),
        ({".buildsys.yml": "1", CI: "2"}, {".buildsys.yml"}),
        ({".buildsys/a.yml": "1", ".buildsys/b.yaml": "1", CI: "2"}, {".buildsys/a.yml", ".buildsys/b.yaml"}),
        ({".buildsys/README": "1", CI: "2"}, set()),
        ({".github/workflows/deep/x.yml": "1", ".github/x.yml": "2", CI: "2"}, {CI}),
        ({".buildsys.yml.md": "1", ".buildsys2/a.yml": "2", CI: "3"}, {CI}),
        ({".github/workflows/ä b\n.yml": "1"}, {".github/workflows/ä b\n.yml"}),
    ],
)
async def test_our_own_folder_wins(
    files: dict[str, str], expected: set[str], server: GitServer, repository: Repository, reader: GitReader
) -> None:
    commit = repository.commit(files)
    read = await reader.read_workflows(f"{server.url}/project/.git", commit=commit)
    assert set(read.files) == expected


async def test_a_link_is_not_a_workflow_file(server: GitServer, repository: Repository, reader: GitReader) -> None:
    (repository.path / ".buildsys.yml").symlink_to("/etc/passwd")
    commit = repository.commit({CI: "x"})
    assert set((await reader.read_workflows(f"{server.url}/project/.git", commit=commit)).files) == {CI}


async def test_a_commit_is_fetched_once(server: GitServer, repository: Repository, reader: GitReader) -> None:
    commit = repository.commit({CI: "x"})
    url = f"{server.url}/project/.git"
    await asyncio.gather(*(reader.read_workflows(url, commit=commit) for _ in range(5)))
    assert sum("POST" in line for line in server.requests) <= 2, "one listing of refs, one fetch"


async def test_what_a_killed_fetch_left_behind_is_no_obstacle(
    server: GitServer, repository: Repository, reader: GitReader, tmp_path: Path
) -> None:
    url = f"{server.url}/project/.git"
    await reader.read_workflows(url, commit=repository.commit({CI: "x"}))
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "shallow.lock").touch()
    (folder / "refs/buildsys/last.lock").touch()
    assert (await reader.read_workflows(url, commit=repository.commit({CI: "y"}))).files == {CI: b"y"}


async def test_the_cache_does_not_grow_for_ever(
    server: GitServer, repository: Repository, reader: GitReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MAX_PACKS", 2)
    for number in range(6):
        read = await reader.read_workflows(f"{server.url}/project/.git", commit=repository.commit({CI: f"{number}"}))
        assert read.files == {CI: f"{number}".encode()}
        assert len(list((tmp_path / "cache").glob("*/objects/pack/*.pack"))) <= 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({CI: "x" * ((512 << 10) + 1)}, f"{CI} is larger than 512 KiB"),
        ({f".buildsys/{number}.yml": "x" * (512 << 10) for number in range(9)}, "have 4,718,592 bytes; at most"),
        ({f".buildsys/{number}.yml": "x" for number in range(101)}, "101 workflow files; at most 100"),
    ],
)
async def test_refuses_too_much(
    files: dict[str, str], message: str, server: GitServer, repository: Repository, reader: GitReader
) -> None:
    commit = repository.commit(files)
    with pytest.raises(SourceError, match=message):
        await reader.read_workflows(f"{server.url}/project/.git", commit=commit)


@pytest.mark.parametrize("password", [PASSWORD, "wrong-password", None])
async def test_the_credential_opens_and_is_left_nowhere(
    password: str | None, tmp_path: Path, repository: Repository
) -> None:
    commit = repository.commit({CI: "x"})
    credential = None if password is None else Credential(username="builder", password=password)
    async with git_server(tmp_path / "served", password=PASSWORD) as server:
        reader = GitReader(cache=tmp_path / "cache", timeout=30)
        url = f"{server.url}/project/.git"
        if password == PASSWORD:
            assert (await reader.resolve(url, credential=credential))[0] == commit
            assert (await reader.read_workflows(url, commit=commit, credential=credential)).files == {CI: b"x"}
        else:
            with pytest.raises(SourceError) as caught:
                await reader.read_workflows(url, commit=commit, credential=credential)
            assert "wrong-password" not in str(caught.value)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept, "something was written that could have held it"
    assert not [path for path in kept if password is not None and password.encode() in path.read_bytes()]


@pytest.mark.parametrize("credential", [None, Credential(username="builder", password="wrong-password")])
async def test_what_one_credential_opened_stays_closed_to_others(
    credential: Credential | None, tmp_path: Path, repository: Repository
) -> None:
    commit = repository.commit({CI: "x"})
    async with git_server(tmp_path / "served", password=PASSWORD) as server:
        reader = GitReader(cache=tmp_path / "cache", timeout=30)
        url = f"{server.url}/project/.git"
        await reader.read_workflows(url, commit=commit, credential=Credential(username="builder", password=PASSWORD))
        with pytest.raises(SourceError):
            await reader.read_workflows(url, commit=commit, credential=credential)


@pytest.mark.parametrize("url", ["ext::sh -c touch% /tmp/x", "file:///etc", "/etc", "--upload-pack=x", "ftp://h/x"])
async def test_refuses_urls_that_git_must_not_see(url: str, reader: GitReader, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        await reader.resolve(url)
    with pytest.raises(SourceError):
        await reader.read_workflows(url, commit="0" * 40)
    assert not (tmp_path / "cache").exists()


async def test_a_local_repository_is_read_where_that_is_allowed(tmp_path: Path, repository: Repository) -> None:
    commit = repository.commit({CI: "x"})
    reader = GitReader(cache=tmp_path / "cache", allow_local=True, timeout=30)
    assert await reader.resolve(str(repository.path)) == (commit, "main")
    assert (await reader.read_workflows(str(repository.path), commit=commit)).files == {CI: b"x"}


async def test_a_commit_that_is_not_there_is_an_error(
    server: GitServer, repository: Repository, reader: GitReader
) -> None:
    repository.commit({CI: "x"})
    with pytest.raises(SourceError):
        await reader.read_workflows(f"{server.url}/project/.git", commit="1" * 40, ref="refs/heads/main")


async def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader = GitReader(cache=tmp_path / "cache", timeout=0.3)
        with pytest.raises(SourceError, match=r"took longer than 0\.3 s"):
            await reader.resolve(f"http://127.0.0.1:{port}/project")
