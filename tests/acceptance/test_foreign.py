"""A repository as teams have one: served by git over HTTP, pushed to with git, built with its own workflow.

The example of ours is always built. BUILDSYS_TEST_SDIST names a source distribution of somebody else's, pure Python and
without dependencies, whose own tests are run by its workflow: `pip download --no-deps --no-binary :all: simplejson`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import docker_image
import pytest
from cli_command import Command
from git_server import CLEAN, Repository, git, git_server
from system import System, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"

OWN_TESTS = """\
on: [push]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - name: Its own tests
        run: python3 -m unittest discover --start-directory {package} --top-level-directory .
"""

HOOK = """\
#!{python}
import hashlib, hmac, json, sys, urllib.request, uuid
before, after, ref = sys.stdin.read().split()
push = {{"ref": ref, "before": before, "after": after, "repository": {{"full_name": "foreign/{name}"}}}}
body = json.dumps(push | {{"head_commit": {{"id": after, "message": "Pushed with git"}}}}).encode()
headers = {{
    "Content-Type": "application/json",
    "X-GitHub-Event": "push",
    "X-GitHub-Delivery": str(uuid.uuid4()),
    "X-Hub-Signature-256": "sha256=" + hmac.new(b"{secret}", body, hashlib.sha256).hexdigest(),
}}
urllib.request.urlopen(urllib.request.Request("{url}", body, headers)).read()
"""


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    environment = {"BUILDSYS_ALLOW_LOCAL_REPOSITORIES": "false"}
    if request.param == "docker":
        docker_image.require_engine()
        image = docker_image.python_image if "BUILDSYS_TEST_SDIST" in os.environ else docker_image.base_image
        environment["BUILDSYS_DEFAULT_IMAGE"] = image()
    async with System(tmp_path / "data", driver=request.param, **environment) as system:
        yield system


async def test_the_example_is_built(system: System, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(EXAMPLE, work)
    text = await built(system, tmp_path, work, name="hello")
    assert "line 100 of 100\n" in text


async def test_a_project_of_others_passes_its_own_tests(system: System, tmp_path: Path) -> None:
    sdist = os.environ.get("BUILDSYS_TEST_SDIST")
    if not sdist:
        pytest.skip("BUILDSYS_TEST_SDIST names no source distribution")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (work,) = (folder for folder in tmp_path.iterdir() if (folder / "PKG-INFO").exists())
    name = work.name.rpartition("-")[0]
    (work / ".github" / "workflows").mkdir(parents=True)
    (work / ".github" / "workflows" / "tests.yml").write_text(OWN_TESTS.format(package=name))
    text = await built(system, tmp_path, work, name=name)
    assert re.search(r"^Ran [1-9]\d+ tests in ", text, re.MULTILINE)


async def built(system: System, place: Path, work: Path, *, name: str) -> str:
    """What the build prints that follows a push of everything in the folder `work`; it must be a success."""
    repository = Repository(place / "served" / name)
    git(repository.path, "config", "http.receivepack", "true")
    git(repository.path, "config", "receive.denyCurrentBranch", "ignore")
    buildsys = Command(BUILDSYS_SERVER=system.url, BUILDSYS_TOKEN=system.token)
    async with git_server(place / "served") as server:
        url = f"{server.url}/{name}/.git"
        added = await buildsys("project", "add", name, "--repo", url, "--json")
        assert added.code == 0, added.errors
        webhook = (await system.call("GET", f"/projects/{name}/webhook")) | {"name": name, "python": sys.executable}
        hook = repository.path / ".git" / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOOK.format(**webhook))
        hook.chmod(0o755)

        git(work, "init", "--quiet", "--initial-branch=main")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--message=Everything")
        push = await asyncio.create_subprocess_exec("git", "push", "--quiet", url, "main", cwd=work, env=CLEAN)
        assert await push.wait() == 0

        build = await system.only_build(name)
        followed = await buildsys("logs", build, "--follow")
        stopped = await system.stopped(build)
        await until(lambda: _settled(system, name), what="the delivery to be settled")
    text = (await system.text(build)).decode()
    assert stopped["outcome"] == "success", text
    assert stopped["commit"] == git(work, "rev-parse", "HEAD")
    assert followed.code == 0, followed.errors
    return text


async def _settled(system: System, name: str) -> bool:
    (kept,) = (await system.call("GET", f"/projects/{name}/deliveries"))["deliveries"]
    return kept["outcome"] == "built"
