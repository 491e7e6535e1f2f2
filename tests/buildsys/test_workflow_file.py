"""What a right workflow file is decoded to."""

from __future__ import annotations

import msgspec
import pytest
from workflow_text import job, workflow

from buildsys.core.definition import (
    Action,
    Call,
    Concurrency,
    Container,
    Credentials,
    Defaults,
    Environment,
    Events,
    Filter,
    ImageBuild,
    Input,
    Job,
    Script,
    Step,
    Strategy,
    Tree,
    Uses,
    Workflow,
)
from buildsys.core.workflow_file import decode_action, decode_workflow, examine_workflow

EVERYTHING = """
name: CI
description: all keys
run-name: Build ${{ github.ref_name }}
on: {push: {branches: [main]}, workflow_call: {inputs: {level: {type: string}}}}
permissions: {contents: read, id-token: write}
env: {A: workflow, N: 1.10, T: true, E: , cache-name: x}
defaults: {run: {shell: bash, working-directory: src}}
concurrency: {group: "ci-${{ github.ref }}", cancel-in-progress: "${{ github.ref != 'refs/heads/main' }}"}
jobs:
  test:
    name: Test ${{ matrix.os }}
    if: github.event_name == 'push'
    runs-on: ["${{ matrix.os }}", self-hosted]
    strategy:
      fail-fast: false
      max-parallel: 2
      matrix:
        os: [linux, "${{ vars.OS }}"]
        node: [16, 1.5, true, null, {a: [b]}]
        include: [{os: linux, extra: x}]
        exclude: "${{ fromJSON(vars.EXCLUDED) }}"
    environment: {name: staging, url: "https://${{ steps.one.outputs.host }}", deployment: false}
    concurrency: job
    permissions: write-all
    outputs: {host: "${{ steps.one.outputs.host }}"}
    env: ${{ fromJSON(vars.ENV) }}
    defaults: {run: {shell: "${{ matrix.os }} {0}", working-directory: "${{ env.A }}"}}
    timeout-minutes: 1.5
    continue-on-error: ${{ matrix.extra == 'x' }}
    container:
      image: node:${{ matrix.node }}
      credentials: {username: me, password: "${{ secrets.REGISTRY }}"}
      env: {B: container}
      ports: [80, "8080:80", 53:53/udp]
      volumes: [data:/data]
      options: --cpus 1
    services:
      redis: redis:7
      db: {image: "postgres:16", env: {POSTGRES_PASSWORD: x}, ports: [5432], options: --health-cmd pg_isready}
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0, ref: "${{ github.sha }}"}
      - id: one
        name: One ${{ matrix.os }}
        if: ${{ !cancelled() }}
        run: |

          echo ${{ env.A }}
        shell: sh
        working-directory: ${{ runner.temp }}
        env: {C: "${{ steps.one.outputs.x }}"}
        continue-on-error: true
        timeout-minutes: ${{ fromJSON(env.MINUTES) }}
      - uses: ./.github/actions/greet
      - uses: $/actions/greet
      - script: print('x')
        shell: python
  call:
    needs: [TEST]
    uses: ./.github/workflows/deploy.yml
    with: {level: "${{ needs.test.outputs.host }}", count: 2, dry: false}
    secrets: {token: "${{ secrets.TOKEN }}"}
  inherit: {needs: test, uses: ./.github/workflows/deploy.yml, secrets: inherit}
  built:
    runs-on: {labels: [a, b]}
    container: {build: {context: ., dockerfile: D, target: t, args: {V: 1}}}
    steps: [run: x]
"""


def decode(text: str) -> Workflow:
    return decode_workflow(text, file="ci.yml")


def of_job(fields: str) -> Job:
    return decode(job(fields)).jobs["a"]


def test_every_key_of_a_workflow() -> None:
    found = decode(EVERYTHING)
    assert (found.path, found.name, found.run_name) == ("ci.yml", "CI", "Build ${{ github.ref_name }}")
    assert found.on.filters["push"] == Filter(branches=("main",))
    assert found.permissions == {"contents": "read", "id-token": "write"}
    assert found.env == {"A": "workflow", "N": "1.1", "T": "true", "E": "", "cache-name": "x"}
    assert found.defaults == Defaults(shell="bash", working_directory="src")
    assert found.concurrency == Concurrency(
        group="ci-${{ github.ref }}", cancel_in_progress="${{ github.ref != 'refs/heads/main' }}"
    )
    assert list(found.jobs) == ["test", "call", "inherit", "built"]


def test_every_key_of_a_job() -> None:
    found = decode(EVERYTHING).jobs["test"]
    assert found.permissions is not None
    assert (found.permissions["contents"], found.permissions["models"]) == ("write", "read")
    assert msgspec.structs.replace(found, steps=(), permissions=None) == Job(
        id="test",
        name="Test ${{ matrix.os }}",
        condition="github.event_name == 'push'",
        runs_on=("${{ matrix.os }}", "self-hosted"),
        env="${{ fromJSON(vars.ENV) }}",
        defaults=Defaults(shell="${{ matrix.os }} {0}", working_directory="${{ env.A }}"),
        timeout_minutes=1.5,
        continue_on_error="${{ matrix.extra == 'x' }}",
        concurrency=Concurrency(group="job"),
        outputs={"host": "${{ steps.one.outputs.host }}"},
        environment="staging",
        container=Container(
            image="node:${{ matrix.node }}",
            credentials=Credentials(username="me", password="${{ secrets.REGISTRY }}"),
            env={"B": "container"},
            ports=("80", "8080:80", "53:53/udp"),
            volumes=("data:/data",),
            options="--cpus 1",
        ),
        services={
            "redis": Container(image="redis:7"),
            "db": Container(
                image="postgres:16",
                env={"POSTGRES_PASSWORD": "x"},
                ports=("5432",),
                options="--health-cmd pg_isready",
            ),
        },
        strategy=Strategy(
            matrix={
                "os": ["linux", "${{ vars.OS }}"],
                "node": [16, 1.5, True, None, {"a": ["b"]}],
                "include": [{"os": "linux", "extra": "x"}],
                "exclude": "${{ fromJSON(vars.EXCLUDED) }}",
            },
            fail_fast=False,
            max_parallel=2.0,
        ),
    )


def test_every_key_of_a_step() -> None:
    assert decode(EVERYTHING).jobs["test"].steps == (
        Step(action=Uses(uses="actions/checkout@v4", inputs={"fetch-depth": "0", "ref": "${{ github.sha }}"})),
        Step(
            id="one",
            name="One ${{ matrix.os }}",
            condition="${{ !cancelled() }}",
            action=Script(run="\necho ${{ env.A }}\n", shell="sh", working_directory="${{ runner.temp }}"),
            env={"C": "${{ steps.one.outputs.x }}"},
            continue_on_error=True,
            timeout_minutes="${{ fromJSON(env.MINUTES) }}",
        ),
        Step(action=Uses(uses="./.github/actions/greet")),
        Step(action=Uses(uses="./actions/greet")),
        Step(action=Script(run="print('x')", shell="python")),
    )


def test_jobs_that_call_a_workflow() -> None:
    jobs = decode(EVERYTHING).jobs
    assert jobs["call"] == Job(
        id="call",
        needs=("test",),
        call=Call(
            uses="./.github/workflows/deploy.yml",
            inputs={"level": "${{ needs.test.outputs.host }}", "count": 2, "dry": False},
            secrets={"token": "${{ secrets.TOKEN }}"},
        ),
    )
    assert jobs["inherit"].call == Call(uses="./.github/workflows/deploy.yml", secrets=None)


def test_a_container_of_the_projects_own() -> None:
    found = decode(EVERYTHING).jobs["built"]
    assert found.runs_on == ("a", "b")
    build = ImageBuild(context=".", dockerfile="D", target="t", arguments={"V": "1"})
    assert found.container == Container(build=build)
    assert of_job("container: {build: {}}").container == Container(build=ImageBuild())


def test_what_a_file_that_says_little_is() -> None:
    found = decode("on: push\njobs: {a: {runs-on: x, steps: [run: make]}}")
    steps = (Step(action=Script(run="make")),)
    assert found == Workflow(
        path="ci.yml",
        name="ci.yml",
        on=Events(filters={"push": Filter()}),
        jobs={"a": Job(id="a", runs_on=("x",), steps=steps)},
    )


def test_a_file_of_just_steps() -> None:
    found = decode("name: Short\nenv: {A: b}\nsteps:\n  - run: echo Hello world\n  - script: make\n    id: x\n")
    steps = (Step(action=Script(run="echo Hello world")), Step(action=Script(run="make", shell="zx"), id="x"))
    assert found == Workflow(
        path="ci.yml",
        name="Short",
        on=Events(filters={"push": Filter()}),
        env={"A": "b"},
        jobs={"build": Job(id="build", steps=steps)},
    )
    assert decode("on: workflow_dispatch\nsteps: [run: x]").on.filters.keys() == {"workflow_dispatch"}


def test_no_case_matters_in_an_actions_repository() -> None:
    found = decode(workflow("a: {runs-on: x, steps: [{uses: Actions/Checkout@V4, with: {Fetch-Depth: 1}}]}"))
    assert found.jobs["a"].steps[0].action == Uses(uses="actions/checkout@V4", inputs={"Fetch-Depth": "1"})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "{A: 1.10, B: 010, C: 0x10, D: 0o17, E: +1, F: 1.0}",
            dict(zip("ABCDEF", ("1.1", "10", "16", "15", "1", "1"), strict=True)),
        ),
        (
            "{A: '1.10', B: \"010\", C: !!str 0x10, D: 1_0, E: 1.1.0}",
            {"A": "1.10", "B": "010", "C": "0x10", "D": "1_0", "E": "1.1.0"},
        ),
        ("{A: True, B: FALSE, C: 'True'}", {"A": "true", "B": "false", "C": "True"}),
        ("{A: 1234567890123456789}", {"A": "1.23456789012346E+18"}),
        ("{A: 0xfffffffff, B: .inf}", {"A": "0xfffffffff", "B": ".inf"}),
        ("{A: yes}", {"A": "yes"}),
        ("{A: 1e3}", {"A": "1000"}),
        ("{A: '  x '}", {"A": "  x "}),
        ("{A: ~}", {"A": ""}),
        ('{A: "a\\tb"}', {"A": "a\tb"}),
        ("{}", {}),
        ("'${{ fromJSON(vars.X) }}'", "${{ fromJSON(vars.X) }}"),
    ],
)
def test_variables_are_texts_of_what_yaml_means(written: str, expected: Environment) -> None:
    assert of_job(f"env: {written}").env == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", "true"),
        ("''", ""),
        ("", ""),
        ("'!failure()'", "!failure()"),
        ("'${{ always() }}'", "${{ always() }}"),
    ],
)
def test_conditions_are_kept_as_they_are_written(written: str, expected: str) -> None:
    assert of_job(f"if: {written}").condition == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("'${{ fromJSON(needs.a.outputs.m) }}'", "${{ fromJSON(needs.a.outputs.m) }}"),
        ("{v: '${{ fromJSON(vars.V) }}'}", {"v": "${{ fromJSON(vars.V) }}"}),
        ("{include: [{a: 1}, {a: 1.0}]}", {"include": [{"a": 1}, {"a": 1.0}]}),
        (f"{{a: {list(range(16))}, b: {list(range(16))}}}", {"a": list(range(16)), "b": list(range(16))}),
        (
            f"{{a: {list(range(257))}, exclude: [{{a: 1}}]}}",
            {"a": list(range(257)), "exclude": [{"a": 1}]},
        ),
    ],
)
def test_matrices(written: str, expected: Tree) -> None:
    text = job(f"strategy: {{matrix: {written}}}")
    found = examine_workflow(text, file="ci.yml").value
    assert isinstance(found, Workflow)
    assert found.jobs["a"].strategy.matrix == expected
    assert [finding for finding in examine_workflow(text, file="").findings if finding.severity == "error"] == []


def test_what_is_decoded_is_the_same_again_from_json() -> None:
    found = decode(EVERYTHING)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Workflow) == found


def test_a_name_that_is_empty_is_none() -> None:
    found = decode(
        "on: push\nname:\ndescription: ''\nrun-name: ' '\n" + workflow("a: {runs-on: x, steps: [run: x], name: ''}")[9:]
    )
    assert (found.name, found.run_name, found.jobs["a"].name) == ("ci.yml", " ", None)


def test_a_composite_action() -> None:
    text = """
name: Greet
author: me
description: greets
branding: {icon: heart, color: red}
inputs:
  who: {description: whom, required: true}
  how: {default: "${{ github.actor }}", deprecationMessage: no more}
  bare:
outputs:
  said: {description: what, value: "${{ steps.say.outputs.said }}"}
runs:
  using: composite
  steps:
    - id: say
      if: inputs.who != ''
      run: echo "${{ inputs.who }}" >> $GITHUB_OUTPUT
      shell: ${{ inputs.how }}
    - uses: ./other
      with: {x: "${{ steps.say.outputs.said }}"}
"""
    assert decode_action(text, file="actions/greet/action.yml") == Action(
        name="Greet",
        inputs={
            "who": Input(description="whom", required=True),
            "how": Input(default="${{ github.actor }}"),
            "bare": Input(),
        },
        outputs={"said": "${{ steps.say.outputs.said }}"},
        steps=(
            Step(
                id="say",
                condition="inputs.who != ''",
                action=Script(run='echo "${{ inputs.who }}" >> $GITHUB_OUTPUT', shell="${{ inputs.how }}"),
            ),
            Step(action=Uses(uses="./other", inputs={"x": "${{ steps.say.outputs.said }}"})),
        ),
    )


def test_a_file_with_only_warnings_is_decoded() -> None:
    found = decode(workflow("a: {runs-on: x, if: false, steps: [run: 'echo ${{ github.nothing }}']}"))
    assert found.jobs["a"].condition == "false"
