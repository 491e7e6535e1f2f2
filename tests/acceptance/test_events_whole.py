"""Whatever makes builds, through a server of its own that is killed: schedules, dispatches, called workflows."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from cli_command import Command
from system import Repository, System, until

FILE = ".github/workflows/deploy.yml"
OTHER = ".github/workflows/other.yml"
CALLED = ".github/workflows/called.yml"

DISPATCH = """\
name: Deploy
on:
  workflow_dispatch:
    inputs:
      level: {type: choice, options: [low, high], required: true}
      dry-run: {type: boolean, default: false}
      count: {type: number, default: 2}
      place: {type: environment}
      note: {default: none}
jobs:
  a:
    runs-on: linux
    steps:
      - run: echo "$NOTE ${{ toJSON(inputs.dry-run) }} ${{ toJSON(inputs.count) }} ${{ inputs.level }} $GITHUB_REF"
        env: {NOTE: '${{ inputs.note }}'}
"""
PUSH = "on: push\njobs: {a: {runs-on: linux, steps: [{run: echo pushed}]}}\n"


@pytest.fixture
def buildsys(system: System) -> Command:
    return Command(BUILDSYS_SERVER=system.url, BUILDSYS_TOKEN=system.token)


async def refusal(system: System, path: str, body: Any) -> tuple[int, str]:
    """Status and reason of a call that is not done."""
    async with aiohttp.ClientSession(system.url, headers=system.headers) as session:
        async with session.post(f"/api/v1{path}", json=body) as response:
            return response.status, str((await response.json())["detail"])


async def settled(system: System, event: str, count: int = 1) -> list[dict[str, Any]]:
    """The project's deliveries of the event, newest first, once there are so many and each is settled."""

    async def found() -> list[dict[str, Any]]:
        listed = (await system.call("GET", "/projects/demo/deliveries"))["deliveries"]
        kept = [each for each in listed if each["event"] == event]
        return kept if len(kept) >= count and all(each["outcome"] for each in kept) else []

    return list(await until(found, within=110, what=f"the deliveries of {event}"))


async def test_a_dispatch_with_inputs_by_hand_and_over_the_api(
    system: System, repository: Repository, buildsys: Command
) -> None:
    repository.commit({FILE: DISPATCH, OTHER: PUSH}, branch="topic")
    repository.commit({"README": "main"}, branch="main")
    await system.add_project("demo", str(repository.path))

    by_hand = ("build", "start", "demo", "--workflow", "deploy.yml", "--ref", "topic")
    given = ("-i", "level=high", "-i", "dry-run=true", "-i", "count=0x10", "-i", "note=$(touch pwned); `id`=1")
    ended = await buildsys(*by_hand, *given, "--follow")
    assert ended.code == 0, ended.errors
    (first,) = await system.builds("demo")
    assert await system.text(first["id"], job="a", step=1) == b"$(touch pwned); `id`=1 true 16 high refs/heads/topic\n"
    shown = (await buildsys("build", "show", "demo#1")).text
    assert "input     count: 16" in " ".join(shown.split("\n")).replace(".0", "")
    assert "dry-run: true" in shown
    assert "note: $(touch pwned); `id`=1" in shown

    made = await system.call(
        "POST", "/projects/demo/builds", {"workflow": "Deploy", "inputs": {"level": "low", "count": 3}}
    )
    (second,) = made["builds"]
    built = await system.stopped(second["id"])
    assert (built["outcome"], built["event"], built["branch"]) == ("success", "workflow_dispatch", "main")
    assert built["inputs"] == {"level": "low", "dry-run": False, "count": 3, "place": "", "note": "none"}
    assert await system.text(second["id"], job="a", step=1) == b"none false 3 low refs/heads/main\n"
    (pushed,) = (await system.call("POST", "/projects/demo/builds", {"workflow": OTHER}))["builds"]
    assert (await system.stopped(pushed["id"]))["inputs"] == {}


async def test_inputs_that_are_wrong_are_refused_and_build_nothing(
    system: System, repository: Repository, buildsys: Command
) -> None:
    repository.commit({FILE: DISPATCH, OTHER: PUSH})
    await system.add_project("demo", str(repository.path))
    for inputs, reason in (
        ({"levle": "low", "level": "low"}, f"{FILE}: unknown input 'levle'; did you mean 'level'?"),
        ({"note": "x"}, f"{FILE}: input 'level' is required"),
        ({"level": "middle"}, f"{FILE}: input 'level': expected one of low, high, found 'middle'"),
        ({"level": "low", "dry-run": "yes"}, f"{FILE}: input 'dry-run': expected true or false, found 'yes'"),
        ({"level": "low", "count": "many"}, f"{FILE}: input 'count': expected a number, found 'many'"),
    ):
        assert await refusal(system, "/projects/demo/builds", {"inputs": inputs}) == (422, reason)
        options = [option for name, value in inputs.items() for option in ("--input", f"{name}={value}")]
        refused = await buildsys("build", "start", "demo", *options)
        assert refused.code not in (0, 3, 4, 5)
        assert reason in " ".join(refused.errors.split())
    status, reason = await refusal(system, "/projects/demo/builds", {"workflow": "deplyo.yml"})
    assert (status, reason) == (
        422,
        "nothing to build: there is no workflow 'deplyo.yml' at this commit; did you mean 'deploy.yml'?",
    )
    assert (await refusal(system, "/projects/demo/builds", {"ref": "nowhere"})) == (
        422,
        "there is no branch or tag 'nowhere'",
    )
    assert (await refusal(system, "/projects/demo/builds", {"ref": "main", "branch": "main"}))[0] == 422
    assert await system.builds("demo") == []


async def test_a_repository_dispatch_over_the_api_and_by_webhook(system: System, repository: Repository) -> None:
    run = "echo ${{ github.event.action }} ${{ github.event.client_payload.city }} ${{ github.event_name }}"
    job = f"{{runs-on: linux, steps: [{{run: '{run}'}}]}}"
    repository.commit({FILE: f"on: {{repository_dispatch: {{types: [ship]}}}}\njobs: {{a: {job}}}"})
    secret = await system.add_project("demo", str(repository.path))
    dispatches = "/projects/demo/dispatches"
    kept = await system.call("POST", dispatches, {"event_type": "ship", "client_payload": {"city": "Ulm"}})
    (delivery,) = await settled(system, "repository_dispatch")
    assert (delivery["delivery"], delivery["outcome"]) == (kept["delivery"], "built")
    assert (await system.stopped(delivery["builds"][0]))["outcome"] == "success"
    assert await system.text(delivery["builds"][0], step=1) == b"ship Ulm repository_dispatch\n"

    payload = {"action": "ship", "branch": "main", "client_payload": {"city": "Bonn"}}
    assert await system.deliver("demo", secret, event="repository_dispatch", payload=payload) == 202
    newest, _ = await settled(system, "repository_dispatch", 2)
    assert (await system.stopped(newest["builds"][0]))["outcome"] == "success"
    assert await system.text(newest["builds"][0], step=1) == b"ship Bonn repository_dispatch\n"

    await system.call("POST", dispatches, {"event_type": "sail"})
    newest, *_ = await settled(system, "repository_dispatch", 3)
    assert (newest["outcome"], newest["builds"]) == ("skipped", [])
    assert newest["reason"] == f"{FILE}: it wants repository_dispatch of type ship, not 'sail'"
    for wrong in ({}, {"event_type": ""}, {"event_type": "x" * 101}, {"event_type": "x", "client_payload": []}):
        assert (await refusal(system, dispatches, wrong))[0] == 422
    many = {str(number): 1 for number in range(11)}
    assert (await refusal(system, dispatches, {"event_type": "x", "client_payload": many}))[0] == 422


async def test_a_wrong_file_is_a_build_that_says_so(system: System, repository: Repository, buildsys: Command) -> None:
    repository.commit({FILE: "on: push\njobs:\n  a:\n    runs-on: linux\n    stops: []\n", OTHER: PUSH})
    await system.add_project("demo", str(repository.path))
    ended = await buildsys("build", "start", "demo", "--follow")
    assert ended.code == 1
    assert f"{FILE}:5:5: jobs.a.stops: unknown key; did you mean 'steps'?" in ended.text
    outcomes = {build["workflow"]: build["outcome"] for build in await system.builds("demo")}
    assert outcomes == {FILE: "failed", OTHER: "success"}


async def test_a_schedule_comes_once_though_the_server_was_killed_before(
    system: System, repository: Repository
) -> None:
    job = "jobs: {a: {runs-on: linux, steps: [{run: 'echo ${{ github.event.schedule }}'}]}}"
    commit = repository.commit({FILE: f"on: {{schedule: [{{cron: '* * * * *'}}]}}\n{job}"})
    await system.add_project("demo", str(repository.path))
    system.kill()  # before it has read the repository: it knows of the schedule from the project's creation alone
    await system.start()
    (delivery,) = await settled(system, "schedule")
    assert (delivery["forge"], delivery["outcome"], delivery["reason"]) == ("buildsys", "built", None)
    build = await system.stopped(delivery["builds"][0])
    assert (build["event"], build["commit"], build["outcome"]) == ("schedule", commit, "success")
    assert await system.text(build["id"], step=1) == b"* * * * *\n"
    assert len(await system.builds("demo")) == 1


async def test_a_called_workflow_outlives_the_server_between_its_jobs(system: System, repository: Repository) -> None:
    jobs = "".join(_link(number) for number in range(5))
    called = (
        "on: {workflow_call: {inputs: {who: {type: string}}, outputs: {all: {value: '${{ jobs.j4.outputs.said }}'}}}}\n"
        f"jobs:\n{jobs}"
    )
    caller = (
        f"on: push\njobs:\n  call: {{uses: ./{CALLED}, with: {{who: me}}}}\n"
        "  end: {needs: call, runs-on: linux, steps: [{run: 'echo ${{ needs.call.outputs.all }}'}]}\n"
    )
    commit = repository.commit({FILE: caller, CALLED: called})
    secret = await system.add_project("demo", str(repository.path))
    assert await system.push("demo", secret, commit=commit) == 202
    build = await system.only_build("demo")
    for job in ("call.j0", "call.j2"):

        async def is_over(id: str = job) -> bool:
            jobs = {each["id"]: each["state"] for each in (await system.build(build))["jobs"]}
            return jobs.get(id) == "stopped"

        await until(is_over, what=f"{job} to end")
        system.kill()
        await system.start()
    stopped = await system.stopped(build)
    assert stopped["outcome"] == "success"
    assert [job["id"] for job in stopped["jobs"]] == [*(f"call.j{number}" for number in range(5)), "end"]
    assert await system.text(build, job="end", step=1) == b"01234\n"


def _link(number: int) -> str:
    """A job that needs the one before it, and says what that said and its own number."""
    before = f"j{number - 1}"
    said = f"${{{{ needs.{before}.outputs.said }}}}" if number else ""
    return (
        f"  j{number}:\n    needs: [{before if number else ''}]\n    runs-on: linux\n"
        "    outputs: {said: '${{ steps.say.outputs.said }}'}\n    steps:\n"
        f"      - {{id: say, run: 'sleep 0.5; echo \"said={said}{number}\" >> $GITHUB_OUTPUT'}}\n"
    )
