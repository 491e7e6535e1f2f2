"""What of a job is evaluated before it starts: names, labels, limits, containers, groups. Each case names its
sentence."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from planning_cases import PUSH, Build, only_job, plan_of, why

from buildsys.core.course import Course
from buildsys.core.decisions import Fail
from buildsys.core.definition import Defaults, ImageBuild, Script
from buildsys.core.planned import ConcurrencyGroup, PlannedContainer
from buildsys.core.planning import QUEUE_OR_CANCEL, PlanSettings, shown
from buildsys.errors import WorkflowError

MATRIX = "strategy: {matrix: {os: [linux, mac], v: [3.11]}}"

NAMES: dict[str, tuple[str, dict[str, str]]] = {
    "name: of a job without one, its id": ("build: {}", {"build": "build"}),
    "name: as it is written": ("build: {name: Build it}", {"build": "Build it"}),
    "name: may hold expressions": ("build: {name: 'On ${{ github.ref_name }}'}", {"build": "On main"}),
    "name: of a matrix, its values follow": (f"t: {{{MATRIX}}}", {"t.1": "t (linux, 3.11)", "t.2": "t (mac, 3.11)"}),
    "name: of a matrix, its values follow a name without expressions": (
        f"t: {{name: Test, {MATRIX}}}",
        {"t.1": "Test (linux, 3.11)", "t.2": "Test (mac, 3.11)"},
    ),
    "name: of a matrix, an expression says all": (
        f"t: {{name: 'Py ${{{{ matrix.v }}}} ${{{{ matrix.os }}}}', {MATRIX}}}",
        {"t.1": "Py 3.11 linux", "t.2": "Py 3.11 mac"},
    ),
    "name: that comes out empty is the id": ("build: {name: '${{ vars.NONE }}'}", {"build": "build"}),
    "name: of a skipped job is as it is written": ("b: {if: false, name: '${{ vars.X }}'}", {"b": "${{ vars.X }}"}),
}


@pytest.mark.parametrize(("jobs", "names"), NAMES.values(), ids=NAMES)
def test_names(jobs: str, names: dict[str, str]) -> None:
    assert Build.of(jobs).names == names


EVALUATED: dict[str, tuple[str, str, Any]] = {
    "runs-on: a label": ("runs-on: linux", "runs_on", ("linux",)),
    "runs-on: a list of labels, all of which a runner must have": (
        "runs-on: [self-hosted, linux, x64]",
        "runs_on",
        ("self-hosted", "linux", "x64"),
    ),
    "runs-on: expressions over inputs and matrix": (
        "runs-on: '${{ matrix.os }}', strategy: {matrix: {os: [mac]}}",
        "runs_on",
        ("mac",),
    ),
    "runs-on: texts and expressions mixed": (
        "runs-on: [self-hosted, '${{ github.ref_name }}']",
        "runs_on",
        ("self-hosted", "main"),
    ),
    "runs-on: an expression may be a list": (
        'runs-on: "${{ fromJSON(\'[\\"a\\", \\"b\\"]\') }}"',
        "runs_on",
        ("a", "b"),
    ),
    "timeout-minutes: in minutes": ("timeout-minutes: 30", "timeout", 1800.0),
    "timeout-minutes: may be an expression": ("timeout-minutes: '${{ fromJSON(vars.T) }}'", "timeout", 90.0),
    "timeout-minutes: none is the installation's": ("name: x", "timeout", None),
    "continue-on-error: false where there is none": ("name: x", "continue_on_error", False),
    "continue-on-error: may be an expression": (
        "continue-on-error: \"${{ github.ref_name == 'main' }}\"",
        "continue_on_error",
        True,
    ),
    "env: is left to the runner, which knows the secrets": (
        "env: {A: '${{ secrets.A }}'}",
        "environments",
        ({"A": "${{ secrets.A }}"},),
    ),
    "outputs: are left to the runner, which knows the steps": (
        "steps: [{id: s, run: 'true'}], outputs: {o: '${{ steps.s.outputs.o }}'}",
        "outputs",
        {"o": "${{ steps.s.outputs.o }}"},
    ),
    "defaults.run: are left to the runner": (
        "defaults: {run: {shell: bash, working-directory: '${{ github.ref_name }}'}}",
        "defaults",
        Defaults(shell="bash", working_directory="${{ github.ref_name }}"),
    ),
    "concurrency: a text or an expression": (
        "concurrency: 'deploy-${{ github.ref_name }}'",
        "concurrency",
        (ConcurrencyGroup(group="deploy-main", holder="j"),),
    ),
    "concurrency: cancel-in-progress may be an expression": (
        "concurrency: {group: g, cancel-in-progress: \"${{ github.ref_name != 'release' }}\"}",
        "concurrency",
        (ConcurrencyGroup(group="g", cancel_in_progress=True, holder="j"),),
    ),
    "concurrency: queue lets all of a group wait": (
        "concurrency: {group: g, queue: max}",
        "concurrency",
        (ConcurrencyGroup(group="g", queue="max", holder="j"),),
    ),
    "concurrency: group names have no case": (
        "concurrency: Prod",
        "concurrency",
        (ConcurrencyGroup(group="prod", holder="j"),),
    ),
    "container: the image by itself": ("container: 'node:18'", "container", PlannedContainer(image="node:18")),
    "container: the image from an expression": (
        "container: 'node:${{ matrix.n }}', strategy: {matrix: {n: [18]}}",
        "container",
        PlannedContainer(image="node:18"),
    ),
    "container: an empty image is none": (
        "container: {image: '${{ vars.NONE }}'}",
        "container",
        PlannedContainer(image="box"),
    ),
    "container: credentials and env are left to the runner": (
        "container: {image: i, env: {A: '${{ secrets.A }}'}, credentials: {username: u, password: '${{ secrets.P }}'}}",
        "container.env",
        {"A": "${{ secrets.A }}"},
    ),
    "container: ports are those that it exposes": (
        "container: {image: i, ports: [80, '8080:81/udp']}",
        "container.ports",
        ("80", "8080:81/udp"),
    ),
    "container: options are those of docker create": (
        "container: {image: i, options: '--cpus 1 --memory ${{ vars.M }}'}",
        "container.options",
        ("--cpus=1", "--memory=2g"),
    ),
    "container.build: the project's own Dockerfile": (
        "container: {build: {context: ./app, dockerfile: app/Dockerfile.dev, target: '${{ vars.M }}', args: {V: '1'}}}",
        "container.build",
        ImageBuild(context="app", dockerfile="app/Dockerfile.dev", target="2g", arguments={"V": "1"}),
    ),
    "services: each with image, ports and options": (
        "services: {db: {image: 'postgres:${{ vars.T }}', ports: ['5432:5432'], "
        "options: '--health-cmd pg_isready --health-interval 10s --health-timeout 5s --health-retries 5'}}",
        "services",
        {
            "db": PlannedContainer(
                image="postgres:1.5",
                ports=("5432:5432",),
                options=(
                    *("--health-cmd=pg_isready", "--health-interval=10s"),
                    *("--health-timeout=5s", "--health-retries=5"),
                ),
            )
        },
    ),
    "services: one whose image comes out empty does not start": (
        "services: {db: {image: '${{ vars.NONE }}'}, none: {image: ''}, cache: {image: redis}}",
        "services",
        {"cache": PlannedContainer(image="redis")},
    ),
}


@pytest.mark.parametrize(("job", "field", "value"), EVALUATED.values(), ids=EVALUATED)
def test_evaluated(job: str, field: str, value: Any) -> None:
    build = Build.of(f"j: {{{job}}}", variables={"T": "1.5", "M": "2g"})
    assert build.notes == {}
    (planned,) = build.jobs.values()
    found: Any = planned
    for part in field.split("."):
        found = getattr(found, part)
    if field == "concurrency":
        found = tuple(msgspec.structs.replace(group, holder="j") for group in found)
    assert found == value


REFUSED: dict[str, str] = {
    "runs-on: '${{ vars.NONE }}'": "runs-on: expected a label, found ''",
    "runs-on: \"${{ fromJSON('[]') }}\"": "runs-on: expected a label, found an empty list",
    "runs-on: \"${{ fromJSON('{}') }}\"": "runs-on: expected a text or a list of texts, found a mapping",
    "runs-on: '${{ github.event }}'": "runs-on: expected a text or a list of texts, found a mapping",
    "timeout-minutes: '${{ vars.NONE }}'": "timeout-minutes: expected a number above 0 and up to 7200, found nothing",
    "timeout-minutes: \"${{ fromJSON('0') }}\"": "timeout-minutes: expected a number above 0 and up to 7200, found '0'",
    "timeout-minutes: \"${{ fromJSON('1e9') }}\"": "timeout-minutes: expected a number above 0 and up to 7200",
    "timeout-minutes: \"${{ fromJSON('true') }}\"": "timeout-minutes: expected a number above 0 and up to 7200",
    "timeout-minutes: '${{ github.ref }}'": "timeout-minutes: expected a number above 0 and up to 7200, found 'refs/",
    "continue-on-error: '${{ github.ref }}'": "continue-on-error: expected true or false, found 'refs/heads/main'",
    "name: '${{ github.event }}'": "name: expected a text, found a mapping",
    "name: \"${{ fromJSON('{') }}\"": "name: the text is not JSON",
    "concurrency: {group: g, queue: max, cancel-in-progress: '${{ !vars.NONE }}'}": f"concurrency: {QUEUE_OR_CANCEL}",
    "concurrency: '${{ vars.NONE }}'": "concurrency.group: expected a name of up to 255 characters, found ''",
    "container: '${{ github.event }}'": "container.image: expected a text, found a mapping",
    "container: '${{ vars.DASH }}'": "container.image: not the name of an image: '--privileged'",
    "container: '${{ vars.SPACE }}'": "container.image: not the name of an image: 'a b'",
    "container: {image: i, ports: ['${{ github.ref }}']}": "container.ports: expected a port such as 5432, 8080:80",
    "container: {image: i, ports: ['${{ vars.NONE }}']}": "container.ports: expected a port such as 5432, 8080:80",
    "container: {image: i, ports: ['${{ vars.PORT }}']}": "container.ports: expected a port such as 5432, 8080:80",
    "container: {image: i, volumes: ['/:/host']}": "container.volumes: these are folders of the host; an administrator",
    "container: {build: {context: '${{ vars.UP }}'}}": "container.build.context: expected a path inside the workspace",
    "container: {build: {dockerfile: '${{ vars.UP }}'}}": "container.build.dockerfile: expected a path inside the",
    "services: {s: {image: i, volumes: ['x:/y']}}": "services.s.volumes: these are folders of the host",
    "services: {s: {image: i, options: --privileged}}": "services.s.options: --privileged reaches out of the container",
    "services: {s: {image: '${{ vars.DASH }}'}}": "services.s.image: not the name of an image: '--privileged'",
}
GIVEN = {"DASH": "--privileged", "SPACE": "a b", "PORT": "127.0.0.1:99999:80", "UP": "a/../../etc"}


@pytest.mark.parametrize(("job", "told"), REFUSED.items(), ids=list(REFUSED))
def test_refused(job: str, told: str) -> None:
    assert why(f"j: {{{job}}}", variables=GIVEN).startswith(told)


IMAGES = PlanSettings(images={"linux": "debian", "x64": "ubuntu"}, image="box")


@pytest.mark.parametrize(
    ("job", "image"),
    [
        ("runs-on: linux", "debian"),
        ("runs-on: [self-hosted, x64, linux]", "ubuntu"),
        ("runs-on: [self-hosted]", "box"),
        ("runs-on: linux, container: alpine", "alpine"),
    ],
)
def test_the_image_of_the_first_known_label_is_taken(job: str, image: str) -> None:
    assert only_job(f"j: {{{job}}}", settings=IMAGES).container == PlannedContainer(image=image)


def test_without_any_image_there_is_no_container() -> None:
    assert only_job("j: {}", settings=PlanSettings()).container is None


def test_a_trusted_project_has_volumes_and_all_options() -> None:
    trusted = PlanSettings(trusted=True)
    job = only_job("j: {container: {image: i, volumes: ['/v:/v'], options: --privileged -v /a:/a}}", settings=trusted)
    assert job.container == PlannedContainer(image="i", volumes=("/v:/v",), options=("--privileged", "--volume=/a:/a"))


def test_settings_of_the_workflow_and_of_the_job() -> None:
    """`env`, `defaults.run`: the most specific one counts; both are there for the runner, in their order."""
    text = """
    env: {A: w, B: w}
    defaults: {run: {shell: bash, working-directory: w}}
    jobs: {j: {env: {A: j}, defaults: {run: {working-directory: j}}}}
    """
    job = only_job(text)
    assert job.environments == ({"A": "w", "B": "w"}, {"A": "j"})
    assert job.defaults == Defaults(shell="bash", working_directory="j")


def test_the_workflow_s_own_name_and_group() -> None:
    """`run-name` and `concurrency` may use github, inputs and vars; the group is held by the build as a whole."""
    text = """
    run-name: "Deploy ${{ inputs.to }} by @${{ github.actor }}"
    concurrency: {group: "${{ github.workflow }}-${{ github.ref }}", cancel-in-progress: true}
    jobs: {a: {concurrency: one}, b: {strategy: {matrix: {n: [1]}}, concurrency: "n${{ matrix.n }}"}}
    """
    plan = plan_of(text, inputs={"to": "prod"})
    whole = ConcurrencyGroup(group="ci-refs/heads/main", cancel_in_progress=True)
    build = Build(plan)
    assert plan.run_name == "Deploy prod by @ada"
    assert plan.concurrency == whole
    assert build.jobs["a"].concurrency == (whole, ConcurrencyGroup(group="one", holder="a"))
    assert build.jobs["b.1"].concurrency == (whole, ConcurrencyGroup(group="n1", holder="b.1"))


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("concurrency: '${{ vars.NONE }}'", "ci.yml: concurrency.group: expected a name of up to 255 characters"),
        ("run-name: \"${{ fromJSON('') }}\"", "ci.yml: run-name: the text is not JSON: it is empty"),
    ],
)
def test_a_file_whose_own_expressions_fail_makes_no_build(key: str, told: str) -> None:
    with pytest.raises(WorkflowError) as refused:
        plan_of(f"{key}\njobs: {{j: {{}}}}")
    assert told in str(refused.value)


HOSTILE = "x'; $(rm -rf /) `id` ${{ secrets.TOKEN }} \x1b[2J\n::add-mask::"


def test_hostile_values_stay_data() -> None:
    """GitHub, "Security hardening": what an attacker writes is never evaluated; names are one line without escapes."""
    event = msgspec.structs.replace(PUSH, ref=f"refs/heads/{HOSTILE}", payload={"title": HOSTILE})
    jobs = """
    a:
      name: "${{ github.ref_name }}"
      runs-on: "${{ github.event.title }}"
      strategy: {matrix: {v: ["${{ github.event.title }}"]}}
      concurrency: "${{ matrix.v }}"
      steps: [{run: "echo ${{ github.ref_name }}"}]
    """
    job = only_job(jobs, event=event)
    assert job.name == "x'; $(rm -rf /) `id` ${{ secrets.TOKEN }} [2J ::add-mask::"
    assert job.runs_on == (HOSTILE,)
    assert job.contexts["matrix"] == {"v": HOSTILE}
    assert job.concurrency[0].group == HOSTILE.lower()
    assert job.secrets == ()
    assert job.steps[0].action == Script(run="echo ${{ github.ref_name }}")


def test_long_names_are_cut() -> None:
    assert shown("x" * 300) == f"{'x' * 252}..."
    assert shown("  a\t\n b\u202e c ") == "a b c"


def test_all_expressions_of_a_job_share_one_allowance() -> None:
    """What one combination may cost is not spent 256 times."""
    spent = " ".join(f"${{{{ contains(fromJSON(vars.BIG), {n}) }}}}" for n in range(4))
    jobs = f"a: {{name: '{spent}', strategy: {{matrix: {{n: {list(range(256))}}}}}}}"
    plan = plan_of(jobs, variables={"BIG": "[" + "1," * 5000 + "1]"})
    (decision,) = Course(plan).advance({}).decisions
    assert decision == Fail(
        id="a", name=shown(spent), message="name: the expression takes too much work on too much data"
    )


def test_long_expressions_cost_as_well() -> None:
    labels = [f"${{{{ '{'x' * 20_000}' && 'label{n}' }}}}" for n in range(10)]
    jobs = f"a: {{runs-on: {json.dumps(labels)}, strategy: {{matrix: {{n: {list(range(256))}}}}}}}"
    assert why(jobs) == "runs-on: the expression takes too much work on too much data"


def test_a_build_has_at_most_1000_jobs() -> None:
    matrix = f"{{strategy: {{matrix: {{n: {list(range(256))}}}}}}}"
    build = Build.of(f"{{a: {matrix}, b: {matrix}, c: {matrix}, d: {matrix}, e: {{needs: d, if: failure()}}}}")
    assert build.notes == {"d": "strategy.matrix: with it the build has 1025 jobs; there may be 1000"}
    assert len(build.jobs) == 3 * 256 + 1
