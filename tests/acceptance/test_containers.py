"""Containers and services of jobs through the whole system, on a real engine."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import docker_image
import outside
import pytest
from embedded import system_in_containers
from greeter import HEALTHY, NEVER, greeter_image
from system import Repository

from buildsys.core.build import Build, Outcome
from buildsys.testing import BuildSystem

pytestmark = pytest.mark.docker

FILE = ".github/workflows/ci.yml"


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
async def system(postgres_dsn: str) -> AsyncIterator[BuildSystem]:
    async with system_in_containers(postgres_dsn, docker_image.base_image) as system:
        yield system


async def built(system: BuildSystem, files: dict[str, str], **settings: object) -> Build:
    """The build of a push of the files, once it is over."""
    repository = Repository(system.folder / "shop")
    repository.commit(files)
    await system.add_project("shop", repository=repository.path, **settings)
    return await system.wait((await system.push("shop")).builds[0], seconds=100)


async def test_a_container_that_is_built_and_services_by_name_and_by_port(system: BuildSystem) -> None:
    base, greeter = docker_image.base_image(), greeter_image()
    services = f"""
      db:
        image: {greeter}
        env: {{GREETING: '${{{{ needs.make.outputs.who }}}} ${{{{ env.FLAVOUR }}}} ${{{{ secrets.PASSWORD }}}}'}}
        ports: ['15432:5432']
        options: {HEALTHY} --network-alias primary
      other:
        image: {greeter}
        env: {{GREETING: other}}
        ports: [5432]
        options: {HEALTHY}
"""
    steps = """
      - run: nc -w 5 db 5432 </dev/null; nc -w 5 primary 5432 </dev/null; nc -w 5 other 5432 </dev/null
      - env: {DB: "${{ job.services.db.ports['5432'] }}", OTHER: '${{ job.services.other.ports[5432] }}'}
        run: echo "$DB $OTHER"; nc -w 5 localhost $DB </dev/null; nc -w 5 127.0.0.1 $OTHER </dev/null
      - run: echo '${{ job.services.db.network == job.container.network }} ${{ toJSON(job.services.db.id) }}'
"""
    workflow = f"""
on: push
env: {{FLAVOUR: blue}}
jobs:
  make:
    runs-on: ubuntu-latest
    container:
      build: {{context: image, dockerfile: image/Dockerfile, args: {{WHO: 'the ${{{{ github.ref_name }}}}'}}}}
      env: {{GREET: 'hello ${{{{ env.FLAVOUR }}}}'}}
      options: --hostname built --env COLOUR=red
    outputs: {{who: '${{{{ steps.look.outputs.who }}}}'}}
    steps:
      - id: look
        run: echo "who=$(cat /etc/who)" >> "$GITHUB_OUTPUT"; echo "$GREET $COLOUR $(hostname)"; cat image/motd /etc/motd
  plain:
    needs: make
    runs-on: ubuntu-latest
    services: {services}
    steps: {steps}
  contained:
    needs: make
    runs-on: ubuntu-latest
    container: {base}
    services: {services}
    steps: {steps}
"""
    mark = f"buildsys.test.built={uuid4()}"
    dockerfile = f"FROM {base}\nLABEL {mark}\nARG WHO\nCOPY motd /etc/motd\nRUN echo $WHO >/etc/who\n"
    repository = Repository(system.folder / "shop")
    repository.commit({FILE: workflow, "image/Dockerfile": dockerfile, "image/motd": "of the project\n"})
    await system.add_project("shop", repository=repository.path)
    await system.api.put("/projects/shop/secrets/PASSWORD", {"value": "s3cret-of-the-db"})
    build = await system.wait((await system.push("shop")).builds[0], seconds=100)
    docker("image", "rm", *docker("image", "ls", "--quiet", "--filter", f"label={mark}").split())
    log = await system.log(build.id)
    assert build.outcome == Outcome.SUCCESS, log
    assert await system.log(build.id, job="make", step=1) == "hello blue red built\nof the project\nof the project\n"
    for job in ("plain", "contained"):
        greeting = "the main blue ***\n"
        assert await system.log(build.id, job=job, step=1) == f"{greeting}{greeting}other\n"
        assert await system.log(build.id, job=job, step=2) == f"15432 5432\n{greeting}other\n"
        same, id = (await system.log(build.id, job=job, step=3)).split()
        assert (same, len(json.loads(id))) == ("true", 64)
    assert "s3cret" not in log
    assert outside.containers(str(build.id)) == []


async def test_a_service_that_is_never_healthy_fails_its_job_alone(system: BuildSystem) -> None:
    workflow = f"""
on: push
jobs:
  sick:
    runs-on: linux
    services:
      db: {{image: {greeter_image()}, env: {{GREETING: '${{{{ secrets.PASSWORD }}}}'}}, options: {json.dumps(NEVER)}}}
      fine: {{image: {greeter_image()}, options: {json.dumps(HEALTHY)}}}
    steps: [{{run: exit 0}}]
  well: {{runs-on: linux, steps: [{{run: exit 0}}]}}
  behind: {{runs-on: linux, needs: sick, if: always(), steps: [{{run: 'echo ${{{{ needs.sick.result }}}}'}}]}}
"""
    repository = Repository(system.folder / "shop")
    repository.commit({FILE: workflow})
    await system.add_project("shop", repository=repository.path)
    await system.api.put("/projects/shop/secrets/PASSWORD", {"value": "s3cret-of-the-db"})
    build = await system.wait((await system.push("shop")).builds[0], seconds=100)
    outcomes = {job.id: (job.outcome, job.reason) for job in build.jobs}
    assert outcomes == {
        "sick": (Outcome.FAILED, "the service db is unhealthy"),
        "well": (Outcome.SUCCESS, None),
        "behind": (Outcome.SUCCESS, None),
    }
    lines = (await system.log(build.id, job="sick", step=0)).splitlines()
    told = [
        "The last health check of db ended with 3:",
        "  no database",
        "The last lines of db:",
        "  greeting with ***",
    ]
    assert [line for line in lines if line in told] == told
    assert lines[-1] == "buildsys: error: the service db is unhealthy"
    assert await system.log(build.id, job="behind", step=1) == "failure\n"
    assert outside.containers(str(build.id)) == []


@pytest.mark.parametrize(
    ("link", "build", "told"),
    [
        ("Dockerfile", "{}", "'Dockerfile' leads out of the workspace"),
        ("ctx", "{context: ctx}", "'ctx' leads out of the workspace"),
        ("ctx", "{dockerfile: ctx/passwd}", "'ctx/passwd' leads out of the workspace"),
        ("elsewhere", "{}", "the image of Dockerfile cannot be built"),
    ],
)
async def test_files_of_the_host_are_not_in_an_image(system: BuildSystem, link: str, build: str, told: str) -> None:
    repository = Repository(system.folder / "shop")
    (repository.path / link).symlink_to("/etc/passwd" if link == "Dockerfile" else "/etc")
    job = f"{{runs-on: linux, container: {{build: {build}}}, steps: [{{run: cat /copied/passwd}}]}}"
    files = {FILE: f"on: push\njobs:\n  a: {job}\n"}
    if link == "elsewhere":
        files["Dockerfile"] = f"FROM {docker_image.base_image()}\nCOPY elsewhere/passwd /copied/passwd\n"
    repository.commit(files)
    await system.add_project("shop", repository=repository.path)
    ended = await system.wait((await system.push("shop")).builds[0])
    assert ended.outcome == Outcome.FAILED
    assert told in (ended.reason or "")
    assert "root:" not in await system.log(ended.id)


class TestTrust:
    async def test_it_is_given_and_taken_back(self, system: BuildSystem, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("of the host\n")
        job = f"{{runs-on: linux, container: {{image: {docker_image.base_image()}, volumes: ['{tmp_path}:/host:ro']}}"
        files = {FILE: f"on: push\njobs:\n  a: {job}, steps: [{{run: cat /host/file}}]}}\n"}
        refused = await built(system, files)
        assert (refused.outcome, refused.reason) == (
            Outcome.FAILED,
            "container.volumes: these are folders of the host; an administrator must trust the project first: "
            "'buildsys project set PROJECT --trusted'; for a run without a server: 'buildsys run --trusted'",
        )
        await system.api.patch("/projects/shop", {"trusted": True})
        trusted = await system.wait((await system.push("shop")).builds[0])
        assert trusted.outcome == Outcome.SUCCESS
        assert await system.log(trusted.id, job="a", step=1) == "of the host\n"
        await system.api.patch("/projects/shop", {"trusted": False})
        again = await system.api.post(f"/builds/{trusted.id}/retry")
        ended = await system.wait(again["id"])
        assert (ended.outcome, ended.reason) == (
            Outcome.FAILED,
            "volumes reach out of the container: an administrator must trust the project first",
        )

    async def test_a_stranger_has_none_of_it(self, system: BuildSystem) -> None:
        """Every way to ask for the host, of jobs and of services, with and without tricks of spelling."""
        asked = [
            "--privileged",
            "--privileged=true",
            '--privil""eged',
            "--network host",
            "--net=host",
            "--pid host",
            "--ipc=host",
            "--userns=host",
            "-v /:/host",
            "-v/:/host",
            "--volume=/var/run/docker.sock:/s",
            "--volumes-from x",
            "--mount type=bind,src=/,dst=/host",
            "--device /dev/sda",
            "--cap-add SYS_ADMIN",
            "--cap-add=ALL",
            "--security-opt seccomp=unconfined",
            "--cgroup-parent=/",
            "--init --init --priv\\ileged",
            "--health-cmd true '--privileged'",
        ]
        image = docker_image.base_image()
        expected, jobs = {}, []
        for number, options in enumerate(asked):
            doubled = options.replace("'", "''")  # in an expression, so that the file can be read
            written = json.dumps({"image": image, "options": f"${{{{ '{doubled}' }}}}"})
            jobs.append(f"  c{number}: {{runs-on: linux, container: {written}, steps: [{{run: touch /host/pwned}}]}}")
            jobs.append(f"  s{number}: {{runs-on: linux, services: {{db: {written}}}, steps: [{{run: exit 0}}]}}")
            expected |= {f"c{number}": "container.options: -", f"s{number}": "services.db.options: -"}
        build = await built(system, {FILE: "on: push\njobs:\n" + "\n".join(jobs) + "\n"})
        assert build.outcome == Outcome.FAILED
        for job in build.jobs:
            assert (job.outcome, job.reason and job.reason[: len(expected[job.id])]) == (
                Outcome.FAILED,
                expected[job.id],
            )
            assert re.search("an administrator must trust the project for it|not built in", job.reason or "")
            assert job.container is None
        assert outside.containers(str(build.id)) == []

    async def test_hostile_values_are_values(self, system: BuildSystem, tmp_path: Path) -> None:
        """Names, aliases and variables of a service are no text for any shell, and none of them is another's."""
        trap = f"$(touch {tmp_path}/pwned)`touch {tmp_path}/pwned`; touch {tmp_path}/pwned\n--privileged"
        service = {
            "image": greeter_image(),
            "env": {"GREETING": trap, "LD_PRELOAD": "/none", "BASH_ENV": trap, "buildsys.container": "y"},
            "options": f"{HEALTHY} --network-alias localhost --network-alias '{trap.splitlines()[0]}' --env 'X={trap}'",
        }
        named = {**service, "env": '${{ fromJSON(\'{"A=B": "x"}\') }}'}
        jobs = {
            "a": {"runs-on": "linux", "services": {"db": service}, "steps": [{"run": "nc -w 5 db 5432 </dev/null"}]},
            "b": {"runs-on": "linux", "services": {"db": named}, "steps": [{"run": "exit 0"}]},
        }
        build = await built(system, {FILE: json.dumps({"on": "push", "jobs": jobs})})
        outcomes = {job.id: (job.outcome, job.reason) for job in build.jobs}
        assert outcomes["a"] == (Outcome.SUCCESS, None)
        assert await system.log(build.id, job="a", step=1) == f"{trap}\n"
        assert "services.db.env: 'A=B' is no variable" in (outcomes["b"][1] or "")
        assert [path.name for path in tmp_path.iterdir()] == []
        assert outside.containers(str(build.id)) == []


async def test_the_process_driver_says_the_way_out_before_anything_starts(postgres_dsn: str) -> None:
    async with BuildSystem(database_url=postgres_dsn) as system:
        workflow = "on: push\njobs:\n  a: {runs-on: linux, services: {db: {image: postgres}}, steps: [{run: exit 0}]}\n"
        build = await built(system, {FILE: workflow})
        assert build.outcome == Outcome.FAILED
        assert "add 'docker' to the job's runs-on" in (build.reason or "")
        assert build.jobs[0].container is None
