"""A commit arrives as it was made, from servers of every kind, and the credential is nowhere afterwards."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from git_server import Repository, git, git_server

from buildsys.core.assignment import Credential, Source
from buildsys.core.git import Revision, check_commit, check_ref, check_url
from buildsys.errors import SourceError
from buildsys.runner.git import GitFetch

PASSWORD = "correct-horse-battery"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "project")


def served(repository: Repository) -> Path:
    return repository.path.parent


async def checkout(source: Source, folder: Path, *, allow_local: bool = False) -> None:
    await GitFetch(allow_local=allow_local, timeout=60).checkout(source, folder)


async def test_a_private_repository_over_http(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit({"hello.txt": "hello\n", "deep/er.txt": "er\n"})
    async with git_server(served(repository), password=PASSWORD) as server:
        url = f"{server.url}/project/.git"
        source = Source(url=url, commit=commit, credential=Credential(username="builder", password=PASSWORD))
        await checkout(source, tmp_path / "w")
    assert (tmp_path / "w" / "deep" / "er.txt").read_text() == "er\n"
    assert git(tmp_path / "w", "config", "remote.origin.url") == url
    assert git(tmp_path / "w", "rev-parse", "HEAD") == commit


async def test_the_credential_is_nowhere(repository: Repository, tmp_path: Path) -> None:
    """Neither on disk, nor in any process's arguments or environment, while and after git runs."""
    commit = repository.commit({f"{number}.txt": "x" * 1000 for number in range(50)})
    seen: list[bytes] = []

    async def look() -> None:
        while True:
            for part in ("cmdline", "environ"):
                for file in Path("/proc").glob(f"[0-9]*/{part}"):
                    try:
                        seen.append(file.read_bytes())
                    except OSError:
                        continue
            await asyncio.sleep(0.001)

    async with git_server(served(repository), password=PASSWORD) as server, asyncio.timeout(60):
        url = f"{server.url}/project/.git"
        source = Source(url=url, commit=commit, credential=Credential(username="builder", password=PASSWORD))
        looking = asyncio.create_task(look())
        await checkout(source, tmp_path / "w")
        looking.cancel()
    assert any(b"git\0" in content and b"fetch" in content for content in seen)
    assert not [content for content in seen if PASSWORD.encode() in content]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]


async def test_a_wrong_password_is_an_error_without_it(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit({"a": "a"})
    async with git_server(served(repository), password=PASSWORD) as server:
        credential = Credential(username="builder", password="wrong-password")
        with pytest.raises(SourceError, match=r"(?i)authentication") as caught:
            await checkout(
                Source(url=f"{server.url}/project/.git", commit=commit, credential=credential), tmp_path / "w"
            )
    assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize("distance", [1, 60])
async def test_a_server_that_sends_no_bare_commit(repository: Repository, tmp_path: Path, distance: int) -> None:
    repository.branch("topic")
    commit = repository.commit({"a": "wanted"})
    for number in range(distance):
        repository.commit({"a": f"later {number}"})
    async with git_server(served(repository), old=True) as server:
        source = Source(url=f"{server.url}/project/.git", commit=commit, ref="topic")
        await checkout(source, tmp_path / "w")
    assert (tmp_path / "w" / "a").read_text() == "wanted"


@pytest.mark.parametrize("old", [False, True])
async def test_a_commit_that_does_not_exist(repository: Repository, tmp_path: Path, old: bool) -> None:
    repository.commit({"a": "a"})
    async with git_server(served(repository), old=old) as server:
        with pytest.raises(SourceError, match="f" * 40):
            await checkout(Source(url=f"{server.url}/project/.git", commit="f" * 40, ref="main"), tmp_path / "w")


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_all_tags_where_there_are_none(repository: Repository, tmp_path: Path, depth: int) -> None:
    commit = repository.commit({"a": "a"})
    async with git_server(served(repository)) as server:
        source = Source(url=f"{server.url}/project/.git", commit=commit)
        for ref in ("main", commit):
            wanted = Revision(ref=ref, depth=depth, tags=True)
            await GitFetch(timeout=60).checkout_revision(source, wanted, tmp_path / ref)
            assert git(tmp_path / ref, "rev-parse", "HEAD") == commit


async def test_a_failure_without_a_word_names_the_command(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "bin" / "git"
    silent.parent.mkdir()
    silent.write_text('#!/bin/sh\ntest "$1" != -C || exit 7\nmkdir -p "$4/.git"\n')
    silent.chmod(0o755)
    commit = repository.commit({"a": "a"})
    monkeypatch.setenv("PATH", f"{silent.parent}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match="git fetch ended with status 7, and did not say why"):
        await checkout(Source(url="https://example.com/a", commit=commit), tmp_path / "w")


async def test_a_local_repository_only_where_allowed(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit({"a": "local"})
    for url in (str(repository.path), f"file://{repository.path}"):
        with pytest.raises(SourceError, match="local repositories"):
            await checkout(Source(url=url, commit=commit), tmp_path / "refused")
    await checkout(Source(url=str(repository.path), commit=commit), tmp_path / "w", allow_local=True)
    assert (tmp_path / "w" / "a").read_text() == "local"


async def test_git_itself_refuses_other_transports(repository: Repository, tmp_path: Path) -> None:
    """A second lock behind `check_url`: a submodule or redirect cannot name a transport that we do not allow."""
    from buildsys.core.git import environment

    mark = tmp_path / "ran"
    for url in (f"ext::touch {mark}", str(repository.path)):
        process = await asyncio.create_subprocess_exec(
            "git", "ls-remote", url,
            env=environment(inherited={"PATH": "/usr/bin:/bin"}, home=tmp_path, url="https://example.com/"),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        assert b"not allowed" in said
    assert not mark.exists()


async def test_everything_may_be_written_by_any_user(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit({"deep/a": "a"})
    await checkout(Source(url=str(repository.path), commit=commit), tmp_path / "w", allow_local=True)
    modes = {path.stat().st_mode & 0o006 for path in (tmp_path / "w").rglob("*") if "objects" not in path.parts}
    assert modes == {0o006}


async def test_no_hook_runs(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repository.commit({"a": "a"})
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    (template / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    (template / "post-checkout").chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(template.parent))
    await checkout(Source(url=str(repository.path), commit=commit), tmp_path / "w", allow_local=True)
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c whoami", "ext::whoami", "--upload-pack=whoami", "-oProxyCommand=whoami", "file:///etc", "/etc",
        "ftp://example.com/a", "https://builder:secret@example.com/a", "https://-x/a", "ssh://-oProxyCommand=x/a",
        "https://", "example.com/a", "https://example.com/a b", "https://example.com/\n", "git@-host:a", "a@b:-c",
        "http::https://example.com/a", "https://example.com:port/a", "", "fd::7",
    ],
)  # fmt: skip
def test_urls_that_git_must_not_see(url: str) -> None:
    with pytest.raises(SourceError):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://builder:hush@example.com/a", "https://hush@example.com/a", "http://hush:@example.com/a",
        "git://hush@example.com/a", "ssh://git:hush@example.com/a", "HTTPS://hush@example.com/a",
    ],
)  # fmt: skip
def test_a_secret_in_a_url_is_refused_with_the_way_out_and_not_repeated(url: str) -> None:
    with pytest.raises(SourceError, match="--username NAME --password-stdin") as caught:
        check_url(url)
    assert "hush" not in str(caught.value)


def test_a_malformed_url_is_not_repeated_either() -> None:
    with pytest.raises(SourceError, match="malformed") as caught:
        check_url("https://builder:hush/x@example.com/a")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://example.com/a/b.git", "http://[::1]:8080/a", "ssh://git@example.com/a", "git@example.com:a/b.git"]
)
def test_urls_of_repositories(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("ref", ["-x", "a..b", "a b", "a^", "refs/", ".a", "a/.b", "a.lock", "a~1", "a:b", "/a", "a\n"])
def test_refs_that_git_must_not_see(ref: str) -> None:
    with pytest.raises(SourceError):
        check_ref(ref)


@pytest.mark.parametrize("ref", ["main", "feature/x", "refs/tags/v1.0", "$(whoami)", "ünïcode"])
def test_refs(ref: str) -> None:
    check_ref(ref)


@pytest.mark.parametrize("commit", ["", "HEAD", "a" * 39, "A" * 40, "a" * 40 + "\n", "--help", "a" * 50])
def test_names_that_are_no_commits(commit: str) -> None:
    with pytest.raises(SourceError):
        check_commit(commit)
