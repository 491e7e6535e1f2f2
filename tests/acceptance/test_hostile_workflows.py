"""What strangers name and write reaches a step as a value and nothing else, whichever way it comes."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import Command
from drivers import DRIVERS, system_on
from system import Repository, System, until

pytestmark = pytest.mark.timeout(400)

FILE = ".github/workflows/ci.yml"

VALUES = (
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "' && touch pwned && '",
    "--upload-pack=touch pwned",
    "-x",
    "one\ntouch pwned\n",
    "\r\n::add-mask::plain\r\n::stop-commands::x\n",
    "EOF\nPATH=/pwned\nEOF",
    "${{ secrets.TOKEN }} $PATH ${PATH} %PATH% \\n \x1b[2J\x1b]0;pwned\x07",
    "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "../../../../etc/passwd",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}\u2028日本\N{GRINNING FACE}",
    "x" * 5000,
)
BRANCHES = (
    "$(touch${IFS}pwned)",
    "`touch${IFS}pwned`",
    ";touch${IFS}pwned;#",
    "';touch${IFS}pwned;'",
    '"|touch${IFS}pwned&"',
    "-x",
    "--upload-pack=touch${IFS}pwned",
    "--",
    "%0Atouch",
    "<script>alert(1)<",
    "HEAD",
    "refs/heads/main",
    "日本/\N{GRINNING FACE}\N{RIGHT-TO-LEFT OVERRIDE}",
    "x" * 120 + "/" + "é" * 67,
)
"""All of them names that git takes; the last is 255 bytes long."""

REFUSED = ("a\nb", "a b", "a..b", "a~1", "x.lock", "a\0b", "\x7f", "/x", "x/", "@{-1}", ".x", "x\\y")

TELL = "printf '%s' \"$VALUE\" | base64 -w 0; echo; echo plain; find . -name pwned"
"""Prints a value as it is, and what it may have done."""


@pytest.fixture
def some(request: pytest.FixtureRequest) -> int:
    """Of the values each how often one is tried: in containers, which take longer, every fourth."""
    return 4 if "docker" in request.node.name else 1


@pytest.fixture(params=DRIVERS)
async def isolated(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    """A system with each driver."""
    async with system_on(tmp_path / "data", request.param) as system:
        yield system


def workflow(on: Any, jobs: dict[str, Any], **more: Any) -> str:
    return json.dumps({"on": on, **more, "jobs": jobs})


def teller(value: str, **more: Any) -> dict[str, Any]:
    """A job that has the value in every place that takes one, and tells it."""
    steps = [{"uses": "actions/checkout@v4"}, {"name": value, "id": "tell", "run": TELL}]
    return {
        "runs-on": "linux",
        "name": value,
        "env": {"VALUE": value},
        "steps": steps,
        **more,
    }


def told(value: str) -> str:
    """What `TELL` prints of a value that nothing was done with."""
    return f"{base64.b64encode(value.encode()).decode()}\nplain\n"


async def told_by(system: System, build: str, job: str = "a", step: int = 2) -> str:
    return (await system.text(build, job=job, step=step)).decode()


async def deliveries(system: System) -> list[dict[str, Any]]:
    return list((await system.call("GET", "/projects/demo/deliveries"))["deliveries"])


def settled(system: System, count: int) -> Callable[[], Awaitable[list[dict[str, Any]] | None]]:
    """Whether so many deliveries are settled; they are, then."""

    async def look() -> list[dict[str, Any]] | None:
        kept = await deliveries(system)
        return kept if len(kept) == count and all(one["outcome"] for one in kept) else None

    return look


async def expect_well(system: System) -> None:
    """The server lives on, and builds for others."""
    assert system.process is not None
    assert system.process.poll() is None
    made = {"name": "other", "repository": (await system.call("GET", "/projects/demo"))["repository"]}
    await system.call("POST", "/projects", made)
    (build,) = (await system.call("POST", "/projects/other/builds", {"branch": "well"}))["builds"]
    assert (await system.stopped(build["id"]))["outcome"] == "success"


def add_well(repository: Repository) -> None:
    """A branch whose build always succeeds."""
    repository.commit({FILE: workflow("push", {"a": {"runs-on": "linux", "steps": [{"run": "true"}]}})}, branch="well")


class TestValues:
    async def test_names_of_branches_and_messages_of_commits(
        self, isolated: System, repository: Repository, some: int
    ) -> None:
        name = "${{ github.ref_name }}"
        message = {"VALUE": "${{ github.event.head_commit.message }}"}
        jobs = {
            "a": teller(name, concurrency=name),
            "b": {"runs-on": "linux", "env": message, "steps": [{"run": TELL}]},
            "c": {
                "runs-on": "linux",
                "steps": [{"run": f'VALUE="$GITHUB_REF/$GITHUB_REF_NAME/$BRANCH_TO_BUILD"\n{TELL}'}],
            },
        }
        commit = repository.commit({FILE: workflow({"push": {"branches": ["**"]}}, jobs, **{"run-name": name})})
        secret = await isolated.add_project("demo", str(repository.path))
        for branch in BRANCHES:
            ref = f"refs/heads/{branch}"
            subprocess.run(["git", "-C", str(repository.path), "update-ref", ref, commit], check=True)
        given = dict(list(zip(BRANCHES, VALUES, strict=False))[::some])
        for branch, title in given.items():
            assert await isolated.push("demo", secret, commit=commit, branch=branch, title=title) == 202
        await until(settled(isolated, len(given)), what="the deliveries to be settled")
        builds = await isolated.builds("demo")
        assert {build["branch"] for build in builds} == set(given)
        for build in builds:
            branch, title = build["branch"], given[build["branch"]]
            assert (await isolated.stopped(build["id"]))["outcome"] == "success", branch
            assert await told_by(isolated, build["id"]) == told(branch)
            assert await told_by(isolated, build["id"], "b", 1) == told(title)
            assert await told_by(isolated, build["id"], "c", 1) == told(f"refs/heads/{branch}/{branch}/{branch}")

    async def test_names_that_git_does_not_take_start_nothing(self, system: System, repository: Repository) -> None:
        commit = repository.commit({FILE: workflow("push", {"a": teller("${{ github.ref }}")})})
        secret = await system.add_project("demo", str(repository.path))
        for branch in REFUSED:
            assert await system.push("demo", secret, commit=commit, branch=branch) in (202, 422), branch
        await until(settled(system, len(await deliveries(system))), what="the deliveries to be settled")
        assert await system.builds("demo") == []
        add_well(repository)
        await expect_well(system)

    async def test_titles_of_pull_requests(self, system: System, repository: Repository) -> None:
        jobs = {
            "a": teller("${{ github.event.pull_request.title }}"),
            "b": {**teller("${{ github.event.pull_request.body }}"), "container": "${{ github.head_ref }}"},
            "c": teller("${{ github.head_ref }}"),
        }
        text = workflow("pull_request", jobs, **{"run-name": "${{ github.event.pull_request.title }}"})
        commit = repository.commit({FILE: text}, branch="topic")
        secret = await system.add_project("demo", str(repository.path))
        cases = list(zip(VALUES, BRANCHES, strict=False))
        for number, (title, branch) in enumerate(cases):
            payload = pull_request(number + 1, title=title, body=title[::-1], head=branch, commit=commit)
            assert await system.deliver("demo", secret, event="pull_request", payload=payload) == 202
        await until(settled(system, len(cases)), what="the deliveries to be settled")
        builds = {build["branch"]: build for build in await system.builds("demo")}
        for title, branch in cases:
            stopped = await system.stopped(builds[branch]["id"])
            results = {job["id"]: job["outcome"] for job in stopped["jobs"]}
            assert (results["a"], results["c"]) == ("success", "success"), stopped
            assert "\n" not in stopped["title"]
            assert await told_by(system, stopped["id"]) == told(title)
            assert await told_by(system, stopped["id"], "c") == told(branch)

    async def test_a_nul_is_no_part_of_any_value(self, system: System, repository: Repository) -> None:
        commit = repository.commit({FILE: workflow("push", {"a": teller("${{ github.event.head_commit.message }}")})})
        secret = await system.add_project("demo", str(repository.path))
        assert await system.push("demo", secret, commit=commit, title="a\0b") == 202
        await until(settled(system, 1), what="the delivery to be settled")
        stopped = await system.stopped(await system.only_build("demo"))
        assert stopped["outcome"] == "failed"
        assert b"VALUE contains a NUL" in await system.text(stopped["id"])
        add_well(repository)
        await expect_well(system)

    async def test_inputs_of_a_dispatch(self, system: System, repository: Repository) -> None:
        """By REST, by command line, and through the death of the server."""
        inputs = {f"v{number}": value for number, value in enumerate(VALUES)}
        go = asyncio.Event()

        async def let_go(_: asyncio.StreamReader, waiting: asyncio.StreamWriter) -> None:
            await go.wait()
            waiting.close()

        async with await asyncio.start_server(let_go, "127.0.0.1", 0) as gate:
            address = gate.sockets[0].getsockname()
            wait = {"shell": "python", "run": f"import socket; socket.create_connection({address}).recv(1)"}
            jobs: dict[str, Any] = {"wait": {"runs-on": "linux", "timeout-minutes": 3, "steps": [wait]}}
            jobs |= {name: teller(f"${{{{ inputs.{name} }}}}", needs="wait") for name in inputs}
            on = {"workflow_dispatch": {"inputs": {name: {"type": "string"} for name in inputs}}}
            repository.commit({FILE: workflow(on, jobs)})
            await system.add_project("demo", str(repository.path))
            made = await system.call("POST", "/projects/demo/builds", {"inputs": inputs})
            command = Command(BUILDSYS_SERVER=system.url, BUILDSYS_TOKEN=system.token)
            given = [word for name, value in inputs.items() for word in ("--input", f"{name}={value}")]
            ended = await command("build", "start", "demo", *given, "--json")
            assert ended.code == 0, ended
            system.kill()
            await system.start()
            go.set()
            for build in (made["builds"][0]["id"], ended.json[0]["id"]):
                stopped = await system.stopped(build, within=180)
                assert stopped["outcome"] == "success", stopped
                for name, value in inputs.items():
                    assert await told_by(system, build, name) == told(value), name

    async def test_values_of_a_matrix_and_outputs(self, isolated: System, repository: Repository, some: int) -> None:
        """From an output to a matrix, and from there to names, folders, shells and variables' names."""
        values = VALUES[::some]
        value = "${{ matrix.value }}"
        harmful = "${{ contains(matrix.value, 'touch') }}"
        never = {"if": harmful, "run": "touch ran", "continue-on-error": True}
        inner = teller(
            value,
            strategy={"fail-fast": False, "matrix": {"value": "${{ fromJSON(needs.list.outputs.values) }}"}},
            needs="list",
        )
        inner["steps"] += [
            {"working-directory": value, **never},
            {"if": harmful, "run": "test ! -e ran && test -z \"$(find . -name '*pwned*')\""},
            {"env": "${{ fromJSON(format('{{{0}: \"x\"}}', toJSON(matrix.value))) }}", "run": "env | grep -c '^PATH='"},
            {
                "id": "say",
                "run": 'd=$GITHUB_RUN_ID\nprintf "o<<$d\\n%s\\n$d\\n" "$VALUE" >> "$GITHUB_OUTPUT"',
            },
            {"env": {"OUT": "${{ steps.say.outputs.o }}"}, "run": 'test "$OUT" = "$VALUE"'},
        ]
        shells = {
            "runs-on": "linux",
            "needs": "list",
            "strategy": {"fail-fast": False, "matrix": {"value": "${{ fromJSON(needs.list.outputs.values) }}"}},
            "defaults": {"run": {"shell": f"sh {value} {{0}}"}},
            "steps": [{**never, "continue-on-error": False}],
        }
        listing = {"id": "l", "run": 'printf "values=%s\\n" "$(cat values.json)" >> "$GITHUB_OUTPUT"'}
        jobs = {
            "list": {
                "runs-on": "linux",
                "outputs": {"values": "${{ steps.l.outputs.values }}"},
                "steps": [{"uses": "actions/checkout@v4"}, listing],
            },
            "a": inner,
            "shells": shells,
        }
        commit = repository.commit({FILE: workflow("push", jobs), "values.json": json.dumps(values)})
        secret = await isolated.add_project("demo", str(repository.path))
        assert await isolated.push("demo", secret, commit=commit) == 202
        stopped = await isolated.stopped(await isolated.only_build("demo"), within=300)
        outcomes = {job["id"]: job["outcome"] for job in stopped["jobs"]}
        assert len(outcomes) == 1 + 2 * len(values), stopped
        for number, given in enumerate(values, start=1):
            assert outcomes[f"a.{number}"] == "success", (given, await isolated.text(stopped["id"], job=f"a.{number}"))
            assert await told_by(isolated, stopped["id"], f"a.{number}") == told(given)
            assert outcomes[f"shells.{number}"] == ("failed" if "touch" in given else "success"), given
        assert all("\n" not in job["name"] and "\x1b" not in job["name"] for job in stopped["jobs"])

    async def test_names_of_files(self, isolated: System, repository: Repository) -> None:
        """A workflow's file has its name for a name, and an action's folder is a variable of its steps."""
        file = ".github/workflows/$(touch pwned)\n'; touch pwned;\".yml"
        action = "actions/`touch${IFS}pwned`';\"touch${IFS}pwned"
        told_path = {"run": TELL, "shell": "sh", "env": {"VALUE": "${{ github.action_path }}"}}
        composite = {"runs": {"using": "composite", "steps": [told_path]}}
        job = teller("${{ github.workflow }}")
        job["steps"].append({"uses": f"./{action}"})
        commit = repository.commit({file: workflow("push", {"a": job}), f"{action}/action.yml": json.dumps(composite)})
        secret = await isolated.add_project("demo", str(repository.path))
        assert await isolated.push("demo", secret, commit=commit) == 202
        stopped = await isolated.stopped(await isolated.only_build("demo"))
        assert stopped["outcome"] == "success", (stopped, await isolated.text(stopped["id"]))
        assert await told_by(isolated, stopped["id"]) == told(file)
        (within,) = (line for line in lines_of(await isolated.text(stopped["id"])) if line.endswith(action))
        assert within.startswith("/")


def lines_of(log: bytes) -> list[str]:
    """Those lines of a log that `TELL` printed of values."""
    printed = [line for line, after in itertools.pairwise(log.splitlines()) if after == b"plain"]
    return [base64.b64decode(line).decode() for line in printed]


def pull_request(number: int, *, title: str, body: str, head: str, commit: str) -> dict[str, Any]:
    """A payload of GitHub's, as far as it counts."""
    repository = {"full_name": "example/demo"}
    return {
        "action": "opened",
        "number": number,
        "pull_request": {
            "title": title,
            "body": body,
            "base": {"ref": "main", "sha": commit, "repo": repository},
            "head": {"ref": head, "sha": commit, "repo": repository},
        },
        "repository": repository,
    }


FLOODS = {
    "GITHUB_OUTPUT: it is larger than 1 MiB": 'yes "x=y" | head -c 3000000 >> "$GITHUB_OUTPUT"',
    "GITHUB_ENV: it is larger than 1 MiB": 'truncate -s 10G "$GITHUB_ENV"',
    "GITHUB_OUTPUT: it cannot be read": 'rm "$GITHUB_OUTPUT" && mkfifo "$GITHUB_OUTPUT"',
    "GITHUB_ENV: it cannot be read": 'ln -sf /etc/passwd "$GITHUB_ENV"',
    "GITHUB_PATH: it cannot be read": 'rm "$GITHUB_PATH" && mkdir "$GITHUB_PATH"',
    "GITHUB_STATE: it cannot be read": 'ln -sf /dev/zero "$GITHUB_STATE"',
    "there are more than 10,000 names in it": "for n in 1 $(seq 2 10001); do echo $n=; done >$GITHUB_OUTPUT",
    "GITHUB_ENV: NODE_OPTIONS cannot be set": 'echo NODE_OPTIONS=x >> "$GITHUB_ENV"',
    "GITHUB_ENV: the value of 'a' does not end": 'echo "a<<b" >> "$GITHUB_ENV"',
    "GITHUB_ENV: it holds a NUL": "printf 'a=b\\0' >> \"$GITHUB_ENV\"",
}
KEPT = {
    "GITHUB_STEP_SUMMARY was not kept: it is larger than 1 MiB": 'truncate -s 10G "$GITHUB_STEP_SUMMARY"',
    "GITHUB_STEP_SUMMARY was not kept: it cannot be read": 'ln -sf /etc/passwd "$GITHUB_STEP_SUMMARY"',
    "default variables cannot be changed: GITHUB_SHA": 'echo GITHUB_SHA=x >> "$GITHUB_ENV"',
}


async def test_what_floods_or_replaces_its_files_fails_its_step(isolated: System, repository: Repository) -> None:
    """A file that is too large, or none, is told in the step's log; what stood elsewhere reaches no other step."""
    after = {"if": "always()", "run": "env", "env": {"STEPS": "${{ toJSON(steps) }}"}}
    jobs: dict[str, Any] = {}
    for number, script in enumerate((*FLOODS.values(), *KEPT.values())):
        jobs[f"j{number}"] = {"runs-on": "linux", "steps": [{"id": "flood", "run": script}, after]}
    commit = repository.commit({FILE: workflow("push", jobs)})
    secret = await isolated.add_project("demo", str(repository.path))
    assert await isolated.push("demo", secret, commit=commit) == 202
    stopped = await isolated.stopped(await isolated.only_build("demo"), within=300)
    outcomes = {job["id"]: job["outcome"] for job in stopped["jobs"]}
    for number, message in enumerate((*FLOODS, *KEPT)):
        job = f"j{number}"
        log = (await isolated.text(stopped["id"], job=job)).decode()
        assert message in log
        assert "root:" not in log
        assert outcomes[job] == ("failed" if message in FLOODS else "success"), log
    add_well(repository)
    await expect_well(isolated)
