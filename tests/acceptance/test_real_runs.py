"""Public workflow files, unmodified, through the whole system to the end that is expected of them."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker_image
import pytest
from real_workflows import HOSTED, Expectation, expectations, job_of
from system import Repository, System, until

EXPECTED = expectations()

pytestmark = pytest.mark.timeout(300)

RUN = ("redis", "pyenv-tests", "pyenv-ubuntu-build")
"""Their jobs run in containers, on projects that stand in for theirs."""

REFUSED = (
    *("argcomplete", "attrs", "anyio-test", "cachetools", "django-debug-toolbar", "django-silk", "httplib2-test"),
    *("idna-deploy", "idna-python-package", "jupyter-check-release", "jupyter-test", "pip-tools-ci", "pyasn1-main"),
    *("pyparsing", "reusify", "urllib3-ci"),
)
"""Each of their jobs needs an action of another repository, or a job that does: they end without any container."""

NOT_RUN = {
    "anyio-publish": "is for tags, and begins with actions of other repositories",
    "anyio-release": "is started by hand, and needs a GitHub App",
    "httplib2-publish": "is for tags, and begins with actions of other repositories",
    "jupyter-changelog": "is started by hand, and needs an action of another repository",
    "pip-tools-cron": "is started by the clock; what it calls is run as pip-tools-ci",
    "pyasn1-pypi": "is started by hand; what it calls is run as pyasn1-main",
    "pyenv-add-version": "is started by the clock, and needs actions of other repositories",
    "pyenv-modified-scripts": "is for pull requests, and fetches their base from the forge",
    "pyenv-virtualenv": "clones a public repository in its second step",
    "pytest-deploy": "is started by hand, and needs actions of other repositories",
    "pytest-links": "is started by the clock, and looks at links on the internet",
    "urllib3-publish": "is for tags, and needs a workflow of another repository",
}

REDIS = {
    "Makefile": "all 32bit:\n\t@echo made $@ with $(REDIS_CFLAGS) $(BUILD_TLS) $(MALLOC) $(IMAGE)\n",
    "runtest": 'echo "tested $*"\n',
    "runtest-moduleapi": 'echo "module tested $*"\n',
}
PYENV = {
    "Makefile": 'test:\n\t@echo "tested with $${PATH%%:*}"\ntest-docker:\n\t@echo tested with docker\n',
    "src/configure": 'echo "configured $PYENV_NATIVE_EXT"\n',
    "src/Makefile": "all:\n\t@echo made\n",
    "bats/bin/bats": 'echo "bats $*"\n',
    "bin/pyenv": (
        'echo "pyenv $*"\nmkdir -p "$PYENV_ROOT/shims"\nshim=$PYENV_ROOT/shims/python\ncat >"$shim" <<"end"\n'
        '#!/bin/sh\nif [ "$*" = "-m pip --version" ]; then echo pip; else exec python3 "$@"; fi\nend\n'
        'chmod +x "$shim"\n'
    ),
}


@pytest.fixture
def hosted() -> str:
    docker_image.require_engine()
    return docker_image.hosted_image()


@pytest.fixture
def images(hosted: str) -> Iterator[None]:
    """What the jobs of redis name as their containers, made of ours."""
    names = ("debian:oldoldstable", "centos:7")
    for name in names:
        file = f"FROM {hosted}\nENV IMAGE={name}\n".encode()
        subprocess.run(["docker", "build", "--quiet", "--tag", name, "-"], input=file, check=True, capture_output=True)
    yield
    subprocess.run(["docker", "image", "rm", "--force", *names], check=True, capture_output=True)


def repository_of(place: Path, expected: Expectation, more: dict[str, str]) -> Repository:
    """A project with all files of the expected one's repository, and what stands in for the rest of it."""
    folder = expected.repository_folder
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    repository = Repository(place)
    repository.commit(
        files | {name: text if "akefile" in name else f"#!/bin/sh\n{text}" for name, text in more.items()}
    )
    for name in more:
        (place / name).chmod(0o755)
    return repository


async def builds_of(system: System, project: str, repository: Repository, *, branch: str = "main") -> dict[str, Any]:
    """The stopped builds of a push, by the paths of their workflows."""
    secret = await system.add_project(project, str(repository.path))
    on_push = [one for one in EXPECTED.values() if one.event == "push" and "refs/tags/" not in one.ref]
    wanted = [one for one in on_push if one.repository_folder.name == project]
    for name in {name for one in wanted for name in one.secrets}:
        await system.call("PUT", f"/projects/{project}/secrets/{name}", {"value": "it is secret"})
    assert await system.push(project, secret, commit=repository.commit({}, branch=branch), branch=branch) == 202

    async def all_there() -> bool:
        return len(await system.builds(project)) == len(wanted)

    await until(all_there, what="the builds to appear")
    found = [await system.stopped(build["id"], within=110) for build in await system.builds(project)]
    return {build["workflow"]: build for build in found}


def outcomes(build: dict[str, Any]) -> dict[str, str]:
    return {job["id"]: job["outcome"] for job in build["jobs"]}


async def printed(system: System, build: dict[str, Any], job: str, *, first: int = 2) -> list[str]:
    """What a job's own steps printed, from one on: the first is the checkout."""
    (count,) = [len(one["steps"]) for one in build["jobs"] if one["id"] == job]
    texts = [await system.text(build["id"], job=job, step=step) for step in range(first, count)]
    return b"".join(texts).decode().splitlines()


def test_of_each_file_it_is_said_whether_it_runs() -> None:
    assert sorted([*RUN, *REFUSED, *NOT_RUN]) == sorted(EXPECTED)


@pytest.mark.docker
async def test_redis_with_two_containers_of_its_own(tmp_path: Path, hosted: str, images: None) -> None:
    settings = {"BUILDSYS_DEFAULT_IMAGE": hosted, "BUILDSYS_STARTUP_LIMIT": "10"}
    repository = repository_of(tmp_path / "redis", EXPECTED["redis"], REDIS)
    async with System(tmp_path / "data", driver="docker", **settings) as system:
        (build,) = (await builds_of(system, "redis-redis", repository)).values()
        assert outcomes(build) == dict.fromkeys(EXPECTED["redis"].jobs, "success") | {"build-macos-latest": "errored"}
        assert "none with the labels macos-latest" in build["reason"]
        assert await printed(system, build, "test-ubuntu-latest") == [
            "made all with -Werror yes",
            "apt-get install tcl8.6 tclx",
            "tested --verbose --tags -slow --dump-logs",
            "module tested --verbose --dump-logs",
        ]
        assert await printed(system, build, "build-debian-old") == [
            "apt-get update",
            "apt-get install -y build-essential",
            "made all with -Werror debian:oldoldstable",
        ]
        assert await printed(system, build, "build-32bit") == [
            "apt-get update",
            "apt-get install libc6-dev-i386",
            "made 32bit with -Werror",
        ]
        assert await printed(system, build, "build-libc-malloc") == ["made all with -Werror libc"]
        assert await printed(system, build, "build-centos7-jemalloc") == [
            "yum -y install gcc make",
            "made all with -Werror centos:7",
        ]


@pytest.mark.docker
async def test_pyenv_on_two_of_six_systems(tmp_path: Path, hosted: str) -> None:
    settings = {
        "BUILDSYS_IMAGES": f"ubuntu-22.04={hosted},ubuntu-24.04={hosted}",
        "BUILDSYS_DEFAULT_IMAGE": hosted,
        "BUILDSYS_STARTUP_LIMIT": "10",
    }
    repository = repository_of(tmp_path / "pyenv", EXPECTED["pyenv-tests"], PYENV)
    async with System(tmp_path / "data", driver="docker", **settings) as system:
        builds = await builds_of(system, "pyenv-pyenv", repository)
        tests, made = builds[".github/workflows/pyenv_tests.yml"], builds[".github/workflows/ubuntu_build.yml"]
        assert list(outcomes(tests).values()) == ["success"] * 2 + ["errored"] * 4
        assert await printed(system, tests, "pyenv_tests.1", first=4) == [
            f"{HOSTED}/pyenv/pyenv",
            f"tested with {HOSTED}/pyenv/pyenv/shims",
            "tested with docker",
            "configured 1",
            "made",
            "bats test/pyenv.bats test/hooks.bats test/versions.bats",
        ]
        versions = ["3.10", "3.11", "3.12", "3.13", "3.14"]
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert list(outcomes(made).values()) == ["success" if one == ours else "failed" for one in versions]
        assert await printed(system, made, f"ubuntu_build.{versions.index(ours) + 1}", first=4) == [
            f"{HOSTED}/pyenv/pyenv",
            f"pyenv --debug install {ours}",
            f"pyenv global {ours}",
            "pyenv rehash",
            f"Python {platform.python_version()}",
            "pip",
        ]


@pytest.mark.docker
async def test_files_that_need_actions_of_others_end_by_themselves(tmp_path: Path, hosted: str) -> None:
    async with System(tmp_path / "data", driver="docker", BUILDSYS_DEFAULT_IMAGE=hosted) as system:
        for folder in sorted({EXPECTED[name].repository_folder.name for name in REFUSED}):
            wanted = [EXPECTED[name] for name in REFUSED if EXPECTED[name].repository_folder.name == folder]
            repository = repository_of(tmp_path / folder, wanted[0], {})
            branch = wanted[0].ref.removeprefix("refs/heads/") or "main"
            builds = await builds_of(system, folder, repository, branch=branch)
            assert builds.keys() == {one.path for one in wanted}
            for one in wanted:
                here = {"failure": "failed", "skipped": "skipped"}
                ended = {job_of(id): outcome for id, outcome in outcomes(builds[one.path]).items()}
                assert ended == {job: here[result] for job, result in one.here.items()}, one.file
                assert builds[one.path]["outcome"] == "failed"
                assert "is not built in" in builds[one.path]["reason"]
