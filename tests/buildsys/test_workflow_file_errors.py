"""What a workflow file is refused for, and where."""

from __future__ import annotations

import time

import pytest
from workflow_text import Table, cases, check_one, examine, job, step, workflow

from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import WorkflowError

JOB = "jobs: {a: {runs-on: x, steps: [run: x]}}"

FILE: Table = {
    "a workflow is one YAML document": [
        ("‸", "the file is empty"),
        ("on: push\n‸--- x", "more than one document"),
        ("a: b‸: c", "not YAML: mapping values are not allowed"),
        ("on: ‸*x", "no anchor &x"),
        ("on: &x [‸*x]", "*x contains itself"),
        ("? ‸[a]\n: b", "a key must be a plain word"),
        ("on: ‸!!python/object:os.system x", "tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("on: " + "[" * 31 + "‸" + "[" * 1000, "nested deeper than 32 levels"),
    ],
    "on and jobs are required": [
        (f"‸{JOB}", "1:1: missing 'on'"),
        ("‸on: push", "missing 'jobs'"),
        ("on: push\njobs: ‸{}", "jobs: expected at least one job"),
        ("on: push\njobs: ‸[a]", "jobs: expected a mapping of jobs, found a list"),
        ("‸[on, jobs]", "expected a mapping, found a list"),
    ],
    "a workflow has these keys": [
        (f"on: push\n‸nam: x\n{JOB}", "nam: unknown key; did you mean 'name'?"),
        (f"on: push\n‸true: x\n{JOB}", "true: unknown key"),
        (f"on: push\n‸on: push\n{JOB}", "on: stands here again; the first is on line 1"),
        (f"on: push\nname: ‸[x]\n{JOB}", "name: expected a text, found a list"),
        (f"on: push\nname: ‸${{{{ github.ref }}}}\n{JOB}", "name: expressions are not supported here"),
    ],
    "permissions are read, write or none for a scope, or read-all, or write-all": [
        (f"on: push\npermissions: ‸read\n{JOB}", "expected read-all, write-all or a mapping of permissions"),
        (f"on: push\npermissions: {{‸content: read}}\n{JOB}", "unknown key; did you mean 'contents'?"),
        (f"on: push\npermissions: {{contents: ‸full}}\n{JOB}", "expected read, write or none, found 'full'"),
        (f"on: push\npermissions: {{id-token: ‸read}}\n{JOB}", "expected write or none, found 'read'"),
    ],
    "a concurrency group is a text, or a mapping with a group": [
        (f"on: push\n‸concurrency: {{cancel-in-progress: true}}\n{JOB}", "concurrency: missing 'group'"),
        (
            f"on: push\nconcurrency: {{group: g, ‸cancel: true}}\n{JOB}",
            "concurrency.cancel: unknown key; did you mean 'cancel-in-progress'?",
        ),
        (
            f"on: push\nconcurrency: {{group: g, ‸cancel-in-progres: true}}\n{JOB}",
            "unknown key; did you mean 'cancel-in-progress'?",
        ),
        (
            f"on: push\nconcurrency: {{group: g, cancel-in-progress: ‸yes}}\n{JOB}",
            "expected true or false, found 'yes'",
        ),
        (f"on: push\nconcurrency: {{group: g, queue: ‸all}}\n{JOB}", "expected 'single' or 'max', found 'all'"),
        (
            f"on: push\nconcurrency: {{group: g, cancel-in-progress: true, ‸queue: max}}\n{JOB}",
            "what cancels those in progress does not wait for them",
        ),
        (f"on: push\nconcurrency: ‸[a]\n{JOB}", "expected a group or a mapping with it, found a list"),
        (f"on: push\nconcurrency: ${{{{ ‸matrix.a }}}}\n{JOB}", "'matrix' cannot be used in concurrency"),
    ],
    "defaults of all run steps are a shell and a working directory": [
        (f"on: push\ndefaults: {{‸rn: x}}\n{JOB}", "defaults.rn: unknown key; did you mean 'run'?"),
        (f"on: push\ndefaults: {{run: {{shell: ‸bsh}}}}\n{JOB}", "defaults.run.shell: unknown shell 'bsh'"),
        (f"on: push\ndefaults: {{run: {{shell: ‸'${{{{ env.x }}}}'}}}}\n{JOB}", "expressions are not supported here"),
    ],
    "env of a workflow has no env": [
        (f"on: push\nenv: {{A: '${{{{ ‸env.B }}}}'}}\n{JOB}", "'env' cannot be used in env"),
        (f"on: push\nenv: {{‸1A: x}}\n{JOB}", "a variable's name is letters"),
        (f"on: push\nenv: {{‸<<: {{A: x}}}}\n{JOB}", "env.<<: YAML's merge keys are not in the language"),
        (job("‸<<: {name: x}"), "jobs.a.<<: YAML's merge keys are not in the language"),
        (f"on: push\nenv: ‸[A]\n{JOB}", "env: expected a mapping of variables, found a list"),
        (f"on: push\nenv: {{A: ‸[x]}}\n{JOB}", "env.A: expected a text, a number, true or false, found a list"),
        (f'on: push\nenv: {{A: ‸"\\0"}}\n{JOB}', "found one with a NUL character"),
    ],
    "on takes events": [
        (f"on: ‸pushed\n{JOB}", "unknown event 'pushed'"),
        (f"on: {{push: {{branches: ‸'+a'}}}}\n{JOB}", "must follow a character"),
        (f"on: {{schedule: [{{cron: ‸x}}]}}\n{JOB}", "cron"),
    ],
    "a file of ours may be just steps": [
        ("‸steps: [run: x]\n" + f"on: push\n{JOB}", "steps: cannot stand beside 'jobs'"),
        ("steps: [{‸rn: x, run: y}]", "steps[0].rn: unknown key"),
        ("steps: [{run: 'x ${{ ‸need.x }}'}]", "unknown context 'need'; did you mean 'needs'?"),
    ],
}

JOBS: Table = {
    "a job's id is letters, digits, - and _, and begins with a letter or _": [
        (workflow("‸1a: {runs-on: x, steps: [run: x]}"), "jobs.1a: a job's id is at most 100 letters"),
        (workflow("‸a.b: {runs-on: x, steps: [run: x]}"), "a job's id"),
        (workflow("‸__a: {runs-on: x, steps: [run: x]}"), "not with __, which is reserved"),
        (workflow("a: {runs-on: x, steps: [run: x]}\n  ‸A: {runs-on: x, steps: [run: x]}"), "again but for its case"),
    ],
    "a job has a runner and steps": [
        (workflow("‸a: {steps: [run: x]}"), "jobs.a: missing 'runs-on'"),
        (workflow("‸a: {runs-on: x}"), "jobs.a: missing 'steps'"),
        (workflow("a: ‸x"), "jobs.a: expected a mapping, found 'x'"),
        (workflow("a: {runs-on: x, steps: ‸x}"), "jobs.a.steps: expected a list of steps, found 'x'"),
        (workflow("a: {runs-on: x, steps: ‸[]}"), "jobs.a.steps: expected at least one step"),
        (job("‸need: b"), "jobs.a.need: unknown key; did you mean 'needs'?"),
        (job("‸snapshot: x"), "jobs.a.snapshot: not supported yet"),
        (job("‸with: {a: b}"), "'with' belongs to a job with 'uses'"),
    ],
    "runs-on is a label, or a list of them": [
        (workflow("a: {runs-on: ‸'', steps: [run: x]}"), "expected a label or a list of labels, found nothing"),
        (workflow("a: {runs-on: ‸[], steps: [run: x]}"), "expected at least one label"),
        (workflow("a: {runs-on: [x, ‸[y]], steps: [run: x]}"), "runs-on[1]: expected a label"),
        (workflow("a: {runs-on: ‸{}, steps: [run: x]}"), "runs-on: expected 'labels'"),
        (workflow("a: {runs-on: {labels: ‸[]}, steps: [run: x]}"), "expected at least one label"),
        (workflow("a: {runs-on: '${{ ‸env.x }}', steps: [run: x]}"), "'env' cannot be used in jobs.<job_id>.runs-on"),
    ],
    "needs names jobs of the file": [
        (workflow("a: {runs-on: x, needs: ‸bb, steps: [run: x]}"), "jobs.a.needs: there is no job 'bb'"),
        (
            workflow("a: {runs-on: x, needs: [bild, ‸bidl], steps: [run: x]}\n  bild: {runs-on: x, steps: [run: x]}"),
            "jobs.a.needs[1]: there is no job 'bidl'; did you mean 'bild'?",
        ),
        (job("needs: ‸a"), "jobs need each other: a needs a"),
        (job("needs: ‸{b: c}"), "jobs.a.needs: expected a job or a list of jobs, found a mapping"),
    ],
    "timeout-minutes is a number": [
        (job("timeout-minutes: ‸0"), "expected a number above 0 and up to 7200, found '0'"),
        (job("timeout-minutes: ‸true"), "expected a number"),
        (job("timeout-minutes: ‸'5'"), "expected a number"),
        (job("timeout-minutes: ‸'x${{ 1 }}'"), "expected a number or one ${{ }}, found 'x${{ 1 }}'"),
        (job("continue-on-error: ‸'true'"), "expected true or false, found 'true'"),
    ],
    "an if has no secrets": [
        (job("if: ‸secrets.A"), "'secrets' cannot be used in jobs.<job_id>.if"),
        (job("if: success() && ‸matrix.a"), "'matrix' cannot be used in jobs.<job_id>.if"),
        (job("if: ‸hashFiles('x')"), "hashFiles() cannot be used in jobs.<job_id>.if"),
    ],
    "outputs are a mapping of texts": [
        (job("outputs: {‸a.b: x}"), "an output's name is letters"),
        (job("outputs: {a: ‸{value: x}}"), "jobs.a.outputs.a: expected a text, found a mapping"),
        (job("outputs: ‸[a]"), "expected a mapping of outputs, found a list"),
    ],
    "an environment has a name": [
        (job("‸environment: {url: x}"), "jobs.a.environment: missing 'name'"),
        (job("environment: {name: x, ‸uri: y}"), "unknown key; did you mean 'url'?"),
        (job("environment: {name: x, url: '${{ ‸secrets.A }}'}"), "'secrets' cannot be used"),
    ],
    "a matrix is a mapping of lists": [
        (job("strategy: {‸matrx: {}}"), "unknown key; did you mean 'matrix'?"),
        (job("strategy: {matrix: ‸{}}"), "expected at least one axis"),
        (job("strategy: {matrix: ‸[a]}"), "expected a mapping of axes or one ${{ }}, found a list"),
        (job("strategy: {matrix: ‸'x ${{ vars.M }}'}"), "expected a mapping of axes or one ${{ }}, found 'x"),
        (job("strategy: {matrix: {os: ‸'${{ vars.M }}x'}}"), "expected a list of values or one ${{ }}"),
        (job("strategy: {matrix: {os: ‸linux}}"), "expected a list of values or one ${{ }}, found 'linux'"),
        (job("strategy: {matrix: {os: ‸[]}}"), "expected at least one value"),
        (job("strategy: {matrix: {os: [a], include: ‸x}}"), "expected a list of combinations"),
        (job("strategy: {matrix: {os: [a], include: [‸x]}}"), "expected a mapping of axes to values or one ${{ }}"),
        (job("strategy: {matrix: {os: [a], exclude: [{‸oss: a}]}}"), "the matrix has no such axis; did you mean 'os'?"),
        (job("strategy: {matrix: {os: [a, '${{ ‸env.x }}']}}"), "'env' cannot be used in jobs.<job_id>.strategy"),
        (job("strategy: {fail-fast: ‸1}"), "expected true or false, found '1'"),
        (job("strategy: {max-parallel: ‸0}"), "expected a number above 0"),
    ],
    "a matrix makes at most 256 jobs": [
        (job(f"strategy: {{matrix: ‸{{a: {list(range(257))}}}}}"), "at most 256 combinations, this one 257"),
        (job(f"strategy: {{matrix: ‸{{a: {list(range(17))}, b: {list(range(16))}}}}}"), "this one 272"),
        (job(f"strategy: {{matrix: ‸{{include: {[{'a': n} for n in range(257)]}}}}}"), "this one 257"),
        (
            job(f"strategy: {{matrix: ‸{{a: {list(range(17))}, b: {list(range(17))}, exclude: [{{a: 0}}]}}}}"),
            "this one 272",
        ),
    ],
    "a container has an image": [
        (job("‸container: {env: {A: b}}"), "jobs.a.container: missing 'image'"),
        (job("container: {image: i, ‸build: {}}"), "a container has either 'image' or 'build'"),
        (job("container: ‸--privileged"), "not the name of an image: '--privileged'"),
        (job("container: ‸''"), "expected an image, found nothing"),
        (job("container: {image: i, ‸volume: []}"), "unknown key; did you mean 'volumes'?"),
        (job("container: {image: i, ports: ‸80}"), "expected a list of ports, found '80'"),
        (job("container: {image: i, ports: [80, ‸http]}"), "ports[1]: expected a port such as 5432"),
        *(
            (job(f"services: {{a: {{image: i, ports: [‸'{port}']}}}}"), f"or 53:53/udp, found '{port}'")
            for port in ("127.0.0.1:9000:8000", "8000-8001:8000-8001", "99999", "1:2:3", "0")
        ),
        (job("container: {image: '${{ ‸env.x }}'}"), "'env' cannot be used in jobs.<job_id>.container.image"),
        (job("container: {image: i, options: '${{ ‸secrets.x }}'}"), "'secrets' cannot be used"),
        (job("container: {build: {‸contxt: .}}"), "unknown key; did you mean 'context'?"),
    ],
    "options are those of docker create, without --network": [
        (job("container: {image: i, options: ‸--cpu 1}"), "--cpu cannot be used; did you mean --cpus?"),
        (job("container: {image: i, options: ‸-p 80:80}"), "options: --publish cannot be used; write 'ports'"),
        (job("services: {db: {image: i, options: ‸'--health-cmd \"x'}}"), "a quote is not closed"),
    ],
    "credentials are a user name and a password": [
        (job("container: {image: i, ‸credentials: {username: u}}"), "credentials: missing 'password'"),
        (job("container: {image: i, credentials: ‸x}"), "credentials: expected a mapping"),
        (job("container: {image: i, credentials: {username: u, password: '${{ ‸steps.x }}'}}"), "'steps' cannot"),
    ],
    "services are a mapping of containers": [
        (job("services: ‸[redis]"), "expected a mapping of services, found a list"),
        (job("services: {‸a b: redis}"), "a service's name is at most"),
        (job("services: {‸db: {env: {A: b}}}"), "jobs.a.services.db: missing 'image'"),
        (job("services: {db: {image: i, ‸build: {}}}"), "services.db.build: unknown key"),
        (job("services: {db: {image: i, ‸command: x}}"), "services.db.command: not supported yet"),
        (job("services: {db: {image: i, env: {A: '${{ ‸steps.x }}'}}}"), "'steps' cannot be used"),
        (job("services: {a: {image: i, ports: ['1:1']}, b: {image: i, ports: [‸'1:2']}}"), "the service 'a' already"),
    ],
    "a job that calls a workflow has no steps of its own": [
        (workflow("a: {uses: ./.github/workflows/b.yml, ‸runs-on: x}"), "'runs-on' cannot stand in a job that calls"),
        (workflow("a: {uses: ./.github/workflows/b.yml, ‸steps: [run: x]}"), "'steps' cannot stand"),
        (workflow("a: {uses: ‸./b.yml}"), "expected a workflow of this repository, ./.github/workflows/NAME.yml"),
        (workflow("a: {uses: ‸./.github/workflows/../b.yml}"), "expected a workflow of this repository"),
        (workflow("a: {uses: ./.github/workflows/b.yml, secrets: ‸all}"), "expected 'inherit' or a mapping"),
        (workflow("a: {uses: ./.github/workflows/b.yml, with: {x: ‸[y]}}"), "expected a text, a number, true or false"),
        (workflow("a: {uses: ./.github/workflows/b.yml, with: {x: '${{ ‸env.y }}'}}"), "'env' cannot be used"),
    ],
}

STEPS: Table = {
    "a step runs a script or uses an action": [
        (workflow("a: {runs-on: x, steps: [‸{}]}"), "jobs.a.steps[0]: missing 'run' or 'uses'"),
        (workflow("a: {runs-on: x, steps: [‸x]}"), "jobs.a.steps[0]: expected a mapping, found 'x'"),
        (step("run: ‸''"), "jobs.a.steps[0].run: expected a script, found nothing"),
        (step("run: ‸[x]"), "expected a script, found a list"),
        (step("run: x, ‸uses: actions/checkout@v4"), "a step has either 'run' or 'uses'"),
        (step("run: x, ‸script: y"), "a step has either 'run' or 'script'"),
        (step("run: x, ‸with: {a: b}"), "'with' belongs to a step that uses an action"),
        (step("uses: actions/checkout@v4, ‸shell: sh"), "'shell' belongs to a step with a script"),
        (
            step("uses: actions/checkout@v4, ‸working-directory: a"),
            "'working-directory' belongs to a step with a script",
        ),
        (step("run: x, ‸shel: sh"), "unknown key; did you mean 'shell'?"),
        (step("run: x, ‸run: y"), "stands here again"),
        (step("run: x, ‸background: true"), "background: not supported yet"),
    ],
    "an id is unique": [
        (
            step("run: x, id: ‸a", before="      - {run: x, id: A}\n"),
            "the id 'a' stands here again; the first is on line 6",
        ),
        (step("run: x, id: ‸__a"), "not with __, which is reserved"),
        (step("run: x, id: ‸1"), "a step's id is at most 100 letters"),
        (step("run: x, id: ‸''"), "expected an id, found nothing"),
    ],
    "a shell is one of those, or a command with {0}": [
        (step("run: x, shell: ‸bsh"), "unknown shell 'bsh'; expected sh, bash, python, node, zx or a command with {0}"),
        (step("run: x, shell: ‸perl"), "unknown shell 'perl'"),
    ],
    "an action is in the same repository, in a public one, or an image": [
        (step("uses: ‸actions/checkout"), "expected ./PATH or OWNER/NAME[/PATH]@REF"),
        (step("uses: ‸greet"), "expected ./PATH or OWNER/NAME[/PATH]@REF, found 'greet'"),
        (step("uses: ‸./../greet"), "expected a folder of this repository"),
        (step("uses: ‸./greet@v1"), "expected a folder of this repository"),
        (step("uses: ‸''"), "expected an action, found nothing"),
    ],
    "a step's other keys": [
        (step("run: x, continue-on-error: ‸yes"), "expected true or false, found 'yes'"),
        (step("run: x, timeout-minutes: ‸-1"), "expected a number above 0"),
        (step("run: x, if: ‸[x]"), "expected a condition, found a list"),
        (step("run: x, env: {A: '${{ ‸unknown.x }}'}"), "unknown context 'unknown'"),
        (step("run: x, if: ‸secrets.A != ''"), "'secrets' cannot be used in jobs.<job_id>.steps.if"),
        (step("run: x, name: '${{ ‸always() }}'"), "always() cannot be used in jobs.<job_id>.steps.name"),
    ],
}

EXPRESSIONS: Table = {
    "an expression stands in ${{ }}": [
        (step("run: 'x ‸${{ github.ref'"), "'${{' without '}}'"),
        (step("run: 'x ${{ ‸}}'"), "expected an expression, found nothing"),
        (step("run: 'x ${{ github.ref ‸github.sha }}'"), "expected an operator or the end, found 'github'"),
        (step("run: 'x ${{ github.ref ‸= 1 }}'"), "== compares"),
        (step("run: x, if: 'github.ref == ‸\"a\"'"), "a text stands in single quotes"),
        (step("run: x, if: github.ref &&‸"), "expected a value, found the end"),
    ],
    "functions are those": [
        (step("run: 'x ${{ ‸contain(github.ref, 1) }}'"), "unknown function 'contain'; did you mean 'contains'?"),
        (step("run: 'x ${{ ‸startsWith(github.ref) }}'"), "startsWith() takes 2 arguments, not 1"),
    ],
    "a job gets only the secrets it names": [
        (step("run: x, env: {A: '${{ toJSON(‸secrets) }}'}"), "a job gets only the secrets it names"),
        (step("run: x, env: {A: '${{ ‸secrets[github.ref] }}'}"), "write secrets.NAME"),
        (step("run: x, env: {A: '${{ ‸secrets.*.b }}'}"), "write secrets.NAME"),
        (job("env: {A: '${{ format(github.ref, ‸secrets) }}'}"), "write secrets.NAME"),
    ],
}


@pytest.mark.parametrize(("text", "expected"), cases(FILE | JOBS | STEPS | EXPRESSIONS))
def test_what_is_wrong_is_told_at_its_place(text: str, expected: str) -> None:
    check_one(text, expected)


@pytest.mark.parametrize(
    ("jobs", "place", "circle"),
    [
        ("a b, b c, c a", (3, "a"), "a needs b needs c needs a"),
        ("a d, b c, c b, d x, x ", (4, "b"), "b needs c needs b"),
        ("a b, b c, c b", (4, "b"), "b needs c needs b"),
    ],
)
def test_a_circle_of_jobs_is_told_once_at_its_first_job(jobs: str, place: tuple[int, str], circle: str) -> None:
    lines = [
        f"  {id}: {{runs-on: x, steps: [run: x]{f', needs: {need}' if need else ''}}}"
        for id, _, need in (pair.strip().partition(" ") for pair in jobs.split(","))
    ]
    (finding,) = examine("on: push\njobs:\n" + "\n".join(lines)).findings
    assert (finding.line, finding.path, finding.message) == (
        place[0],
        f"jobs.{place[1]}.needs",
        f"jobs need each other: {circle}",
    )


def test_every_circle_is_told() -> None:
    lines = [f"  {a}: {{runs-on: x, steps: [run: x], needs: {b}}}" for a, b in ("aa", "bc", "cb", "da")]
    messages = [finding.message for finding in examine("on: push\njobs:\n" + "\n".join(lines)).findings]
    assert messages == ["jobs need each other: a needs a", "jobs need each other: b needs c needs b"]


def test_all_errors_are_told_in_the_files_order_and_warnings_are_no_errors() -> None:
    text = (
        "nam: x\non: pusch\njobs:\n  a:\n    runs-on: x\n    steps:\n      - rn: make\n"
        "      - {run: '${{ github.reff }}', shell: fish}\n      - run: ${{ gith.ref }}\n"
    )
    with pytest.raises(WorkflowError) as caught:
        decode_workflow(text, file=".github/workflows/ci.yml")
    places = [error.split(": ")[0].rpartition("ci.yml:")[2] for error in caught.value.errors]
    assert places == ["1:1", "2:5", "7:9", "7:9", "8:44", "9:18"]
    assert str(caught.value).startswith(".github/workflows/ci.yml:1:1: nam: unknown key; did you mean 'name'?")
    assert str(caught.value).endswith("(and 5 more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: push\n#" + "x" * (512 << 10), "ci.yml:1:1: the file is larger than 512 KiB"),
        (b"on: push\nname: \xff", "ci.yml:2:1: the file is not UTF-8"),
        ("on: push\nname: \ud800", "ci.yml:2:1: the file is not UTF-8"),
        ("on: \x01", "ci.yml:1:5: not YAML: the file contains a control character"),
        ("\ufeffon: push\n# é\nname: é\x7f", "ci.yml:3:8: not YAML: the file contains a control character"),
    ],
)
def test_a_file_that_is_not_text(text: str | bytes, expected: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        decode_workflow(text, file="ci.yml")
    assert caught.value.errors == (expected,)


def test_no_number_of_warnings_hides_an_error() -> None:
    warned = "      - {run: 'echo ${{ github.head_ref }}'}\n" * 400
    last = step("run: x, env: {A: '${{ toJSON(secrets) }}'}", before=warned)
    errors = [finding for finding in examine(last).findings if finding.severity == "error"]
    assert [(finding.line, finding.column) for finding in errors] == [(406, 39)]


LONG = "${{ github.a }}" * 1300
HOSTILE = {
    "a bomb of aliases": "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    ),
    "a long text in many places": "on: push\nenv:\n  A: &a '"
    + LONG
    + "'\n"
    + "".join(f"  A{n}: *a\n" for n in range(500)),
    "a chain of jobs": workflow(
        "\n  ".join(f"j{n}: {{runs-on: x, steps: [run: x], needs: j{n + 1}}}" for n in range(1500))
    ),
    "unknown needs": workflow(
        "\n  ".join(f"job{n}: {{runs-on: x, steps: [run: x], needs: jobx}}" for n in range(1500))
    ),
    "jobs that need themselves": workflow(
        "\n  ".join(f"j{n}: {{runs-on: x, steps: [run: x], needs: j{n}}}" for n in range(1500))
    ),
    "jobs in a ring": workflow(
        "\n  ".join(f"j{n}: {{runs-on: x, steps: [run: x], needs: j{(n + 1) % 1500}}}" for n in range(1500))
    ),
    "many values": "on: push\nx: [" + "x," * 200_000 + "]",
    "open expressions": "on: push\nname: " + "${{" * 100_000,
    "unknown keys": "on: push\n" + "".join(f"key{n}: x\n" for n in range(9_000)),
    "misspelt contexts": "on: push\nenv:\n" + "".join(f"  A{n}: " + "${{ githbu.a }}" * 300 + "\n" for n in range(100)),
    "misspelt properties": "on: push\nenv:\n"
    + "".join(f"  A{n}: " + "${{ github.a }}" * 300 + "\n" for n in range(100)),
    "many steps with ids": step(
        "run: x, shell: y",
        before="".join(f"      - {{id: s{n}, run: '${{{{ steps.s{n - 1}.outputs.a }}}}'}}\n" for n in range(3000)),
    ),
    "deep expressions": step("run: '${{ " + "(" * 5000 + "', shell: y"),
    "many axes": job("strategy: {matrix: {" + ", ".join(f"a{n}: [1, 2, 3, 4]" for n in range(1500)) + "}}"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_costs_no_more_than_moments(text: str) -> None:
    begun = time.process_time()
    assert examine(text).findings
    assert time.process_time() - begun < 10
