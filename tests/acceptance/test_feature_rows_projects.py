"""What a project is built with, where from, and with which of its secrets, through the whole system."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import docker_image
import pytest
from embedded import system_in_containers
from system import Repository

from buildsys.core.build import Outcome
from buildsys.errors import Invalid
from buildsys.postgres_binaries import FOLDER, PACKAGE
from buildsys.testing import BuildSystem

VALUE = "correct horse battery staple"
MEETING = """\
on: push
jobs:
  meet:
    runs-on: linux
    strategy: {matrix: {who: [Ann, Bob]}}
    env: {WHO: "${{ matrix.who }}"}
    steps:
      - shell: bash
        run: |
          exec 3<>/dev/tcp/127.0.0.1/PORT
          echo "$WHO" >&3
          read -r everybody <&3
          echo "I am $WHO, of $everybody"
"""


@pytest.fixture
async def system(postgres_dsn: str) -> AsyncIterator[BuildSystem]:
    async with BuildSystem(database_url=postgres_dsn) as system:
        yield system


async def test_a_job_without_a_repository(system: BuildSystem) -> None:
    """Everything is in the project: two calls of the API, and the command has run in an empty folder."""
    command = 'test -z "$(ls -A)" && echo "build $BUILDSYS_BUILD_NUMBER of nothing"'
    await system.api.post("/projects", {"name": "free", "image": "alpine:3", "build_command": command})
    (id,) = await system.start("free")
    build = await system.wait(id)
    assert (build.outcome, build.commit, build.branch) == (Outcome.SUCCESS, "", "")
    assert await system.log(id, job="build", step=1) == "build 1 of nothing\n"
    again = (await system.api.post(f"/builds/{id}/retry"))["id"]
    assert (await system.wait(again)).outcome == Outcome.SUCCESS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "a project has a repository, or else a build command"),
        ({"build_command": "x", "credential": {"username": "a", "password": "b"}}, "and no credential"),
    ],
)
async def test_what_a_project_without_a_repository_needs(
    system: BuildSystem, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        await system.api.post("/projects", {"name": "free", **settings})


async def test_what_has_no_repository_has_no_branches(system: BuildSystem) -> None:
    await system.api.post("/projects", {"name": "free", "build_command": "true"})
    for where in ({"branch": "main"}, {"commit": "1" * 40}):
        with pytest.raises(Invalid, match="has no repository"):
            await system.api.post("/projects/free/builds", where)


async def test_by_hand_or_by_hook_it_is_the_commits_own_definition(system: BuildSystem) -> None:
    """Each branch is built as its own commit says, which the other does not know of."""
    repository = Repository(system.folder / "shop")
    repository.workflow("steps: [{run: echo one}]")
    repository.workflow("steps: [{run: echo two}]", branch="other")
    await system.add_project("shop", repository=repository.path)
    for branch, said in (("main", "one\n"), ("other", "two\n")):
        pushed = (await system.push("shop", branch=branch)).builds
        for id in (*pushed, *await system.start("shop", branch=branch)):
            build = await system.wait(id)
            assert (build.branch, build.outcome) == (branch, Outcome.SUCCESS)
            assert await system.log(id, job="build", step=1) == said


async def test_a_build_that_wants_its_history(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    repository.commit({"a": "a"})
    subprocess.run(["git", "-C", repository.path, "tag", "v1.2"], check=True)
    history = "{uses: actions/checkout@v4, with: {fetch-depth: 0, fetch-tags: true}}"
    repository.workflow(f"steps: [{history}, {{run: git rev-list --count HEAD; git describe --tags --abbrev=0}}]")
    await system.add_project("shop", repository=repository.path)
    build = await system.wait((await system.push("shop")).builds[0])
    assert await system.log(build.id, job="build", step=1) == f"Checked out {build.commit}\n"
    assert await system.log(build.id, job="build", step=2) == "2\nv1.2\n"


@pytest.mark.docker
async def test_another_branch_beside_it_for_an_image_without_git_and_root(postgres_dsn: str) -> None:
    async with system_in_containers(postgres_dsn, docker_image.user_image) as system:
        repository = Repository(system.folder / "shop")
        repository.commit({"pages/index": "old\n"}, branch="pages")
        pages = "{uses: actions/checkout@v4, with: {ref: pages, path: site}}"
        repository.workflow(
            f"steps: [{pages}, {{run: cat site/pages/index; echo new > site/pages/index}}]", branch="main"
        )
        await system.add_project("shop", repository=repository.path)
        build = await system.wait((await system.push("shop", branch="main")).builds[0])
        assert (build.outcome, build.reason) == (Outcome.SUCCESS, None)
        assert await system.log(build.id, job="build", step=2) == "old\n"


async def test_a_missing_secret_ends_the_build_before_any_container(system: BuildSystem) -> None:
    repository = Repository(system.folder / "shop")
    repository.workflow("steps: [{run: 'echo ${{ secrets.ABSENT }}'}, {run: 'echo ${{ secrets.GONE_TOO }}'}]")
    await system.add_project("shop", repository=repository.path)
    build = await system.wait((await system.start("shop"))[0])
    assert build.outcome == Outcome.ERRORED
    assert build.reason is not None
    for name in ("ABSENT", "GONE_TOO"):
        assert f"secret {name} is missing: set it with 'buildsys secret set {name}'" in build.reason
    (job,) = build.jobs
    assert (job.container, job.runner, job.started_at) == (None, None, None)


async def test_a_dump_of_the_database_has_no_secret(system: BuildSystem, postgres_dsn: str) -> None:
    """Not as it is nor as base64, hexadecimal digits or a URL have it, though the builds used it."""
    repository = Repository(system.folder / "shop")
    repository.workflow("steps: [{run: 'echo it is ${{ secrets.KEY }}'}]")
    await system.add_project(
        "shop", repository=repository.path, credential={"username": "builder", "password": f"the {VALUE}"}
    )
    await system.api.put("/projects/shop/secrets/KEY", {"value": VALUE})
    hook = (await system.api.get("/projects/shop/webhook"))["secret"]
    build = await system.wait((await system.start("shop"))[0])
    assert await system.log(build.id, job="build", step=1) == "it is ***\n"
    dump = await asyncio.to_thread(dumped, postgres_dsn)
    assert b"CREATE TABLE" in dump
    for secret in (VALUE, hook):
        plain = secret.encode()
        for form in (plain, base64.b64encode(plain)[:-4], plain.hex().encode(), plain.replace(b" ", b"%20")):
            assert form not in dump


def dumped(dsn: str) -> bytes:
    package = importlib.util.find_spec(PACKAGE)
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / FOLDER / "pg_dump"
    return subprocess.run([program, dsn], check=True, capture_output=True).stdout


async def test_jobs_at_the_same_time_have_the_same_name_for_values_of_their_own(system: BuildSystem) -> None:
    """The two jobs wait for one another: neither goes on before both have said who they are."""
    met: list[str] = []
    both = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append((await reader.readline()).decode().strip())
        if len(met) == 2:
            both.set()
        await both.wait()
        writer.write(" and ".join(sorted(met)).encode() + b"\n")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        repository = Repository(system.folder / "shop")
        repository.workflow(MEETING.replace("PORT", str(port)))
        await system.add_project("shop", repository=repository.path)
        build = await system.wait((await system.start("shop"))[0])
    assert build.outcome == Outcome.SUCCESS
    said = [await system.log(build.id, job=f"meet.{number}", step=1) for number in (1, 2)]
    assert said == ["I am Ann, of Ann and Bob\n", "I am Bob, of Ann and Bob\n"]
