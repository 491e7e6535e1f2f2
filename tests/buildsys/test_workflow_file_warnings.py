"""What runs, but hardly as it is meant: found by lint, and no reason to refuse a file."""

from __future__ import annotations

import pytest
from workflow_text import Table, cases, check_one, examine, job, step, workflow

CONTEXTS: Table = {
    "steps has the steps before that have an id": [
        (
            step("run: '${{ steps.‸two.outputs.x }}'", before="      - {run: x, id: one}\n"),
            "'steps' has no property 'two'",
        ),
        (step("run: '${{ steps.‸one.outputs.x }}', id: one"), "'steps' has no property 'one'"),
        (step("run: '${{ steps.one.‸output.x }}'", before="      - {run: x, id: one}\n"), "did you mean 'outputs'?"),
        (
            step("run: x, if: steps.‸oen.outcome == 'failure'", before="      - {run: x, id: one}\n"),
            "did you mean 'one'?",
        ),
        (job("outputs: {x: '${{ steps.‸one.outputs.x }}'}"), "'steps' has no property 'one'"),
    ],
    "needs has the jobs that are needed, and their outputs": [
        (job("env: {A: '${{ needs.‸b.outputs.x }}'}"), "'needs' has no property 'b'"),
        (
            workflow(
                "b: {runs-on: x, outputs: {host: h}, steps: [run: x]}\n"
                "  a: {needs: b, runs-on: x, steps: [run: x], env: {A: '${{ needs.b.outputs.‸hots }}'}}"
            ),
            "'needs.b.outputs' has no property 'hots'; did you mean 'host'?",
        ),
        (
            workflow(
                "c: {runs-on: x, steps: [run: x]}\n  b: {needs: c, runs-on: x, steps: [run: x]}\n"
                "  a: {needs: b, runs-on: x, steps: [run: x], if: needs.‸c.result == 'success'}"
            ),
            "'needs' has no property 'c'",
        ),
    ],
    "matrix has the axes, and what include adds": [
        (job("env: {A: '${{ matrix.‸os }}'}"), "'matrix' has no property 'os'"),
        (job("strategy: {matrix: {node: [1]}}, env: {A: '${{ matrix.‸nod }}'}"), "did you mean 'node'?"),
        (job("strategy: {matrix: {c: [{os: x}, {arch: y}]}}, env: {A: '${{ matrix.c.‸ars }}'}"), "'matrix.c' has no"),
        (
            step("run: x").replace(
                "steps:", "strategy: {matrix: {v: [1, 2]}}\n    continue-on-error: ${{ matrix.v ‸== 'x' }}\n    steps:"
            ),
            "this compares a number with a string that is no number",
        ),
    ],
    "inputs has what a person or a caller gives": [
        (job("env: {A: '${{ inputs.‸level }}'}"), "'inputs' has no property 'level'"),
        (
            job("if: inputs.deploy ‸== 'true'").replace(
                "on: push", "on: {workflow_dispatch: {inputs: {deploy: {type: boolean}}}}"
            ),
            "this compares a boolean with a string",
        ),
        (
            job("if: inputs.‸deplyo").replace("on: push", "on: {workflow_call: {inputs: {deploy: {type: boolean}}}}"),
            "did you mean 'deploy'?",
        ),
    ],
    "github.event.inputs has the same, where nothing but a dispatch starts it": [
        (
            job("if: github.event.inputs.‸levle == 'x'").replace(
                "on: push", "on: {workflow_dispatch: {inputs: {level: {}}}}"
            ),
            "'github.event.inputs' has no property 'levle'; did you mean 'level'?",
        ),
        (
            job("if: github.event.inputs.‸level == 'x'").replace("on: push", "on: workflow_dispatch"),
            "'github.event.inputs' has no property 'level'",
        ),
    ],
    "github has these properties": [
        (job("env: {A: '${{ github.‸branch }}'}"), "'github' has no property 'branch'"),
        (
            "on: push\nrun-name: by ${{ github.‸actr }}\njobs: {a: {runs-on: x, steps: [run: x]}}",
            "did you mean 'actor'?",
        ),
    ],
    "what happened, and how it ended, is one of these words": [
        (
            step("run: x, if: github.event_name == ‸'pul_request'"),
            "'github.event_name' is never 'pul_request'; did you mean 'pull_request'?",
        ),
        (
            step("run: x, if: steps.s.outcome != ‸'failed'", before="      - {run: x, id: s}\n"),
            "'steps.s.outcome' is never 'failed'; did you mean 'failure'?",
        ),
        (
            workflow(
                "b: {runs-on: x, steps: [run: x]}\n"
                "  a: {needs: b, runs-on: x, steps: [run: x], if: \"‸'sucess' == needs.b.result\"}"
            ),
            "'needs.b.result' is never 'sucess'; did you mean 'success'?",
        ),
        (step("run: x, if: job.status == ‸'skipped'"), "is never 'skipped'; it is one of success, failure, cancelled"),
        (step("run: x, if: github.ref_type == ‸'branches'"), "did you mean 'branch'?"),
    ],
    "only numbers are greater or less": [
        (step("run: x, if: \"'a' ‸> 1\""), "a string with a number that is no number, so this is never true"),
    ],
    "a text around ${{ }} makes an if always true": [
        (job("if: '‸x ${{ github.ref }}'"), "makes this always true"),
        (job("if: '‸${{ github.ref }} == 1'"), "makes this always true"),
    ],
    "an action takes the inputs that it says": [
        (
            step("uses: actions/checkout@v4, with: {‸fetch_depth: 1}"),
            "takes no such input; did you mean 'fetch-depth'?",
        ),
    ],
}

TRUST: Table = {
    "a volume may be a folder of the host, and an option may reach it": [
        (job("container: {image: i, volumes: ‸[/:/host]}"), "volumes are for projects that an administrator trusts"),
        (job("services: {db: {image: i, volumes: ‸['data:/data']}}"), "volumes are for projects"),
        (job("container: {image: i, options: ‸--privileged}"), "--privileged reaches out of the container"),
        (job("services: {db: {image: i, options: ‸--add-host=h:host-gateway}}"), "host-gateway is the host itself"),
    ],
}

UNREACHABLE: Table = {
    "a job with a false if is skipped": [
        (workflow("‸a: {runs-on: x, if: false, steps: [run: x]}"), "never runs: its 'if' is always false"),
        (workflow("‸a: {runs-on: x, if: '${{ false }}', steps: [run: x]}"), "always false"),
        (workflow("‸a: {runs-on: x, if: 'false && github.ref', steps: [run: x]}"), "always false"),
        (workflow("‸a: {runs-on: x, if: always() && false, steps: [run: x]}"), "always false"),
        (
            workflow("‸a: {runs-on: x, if: 0 || null, steps: [run: x]}"),
            "always false",
        ),
    ],
}

TITLE = "github.event.pull_request.title"

INJECTION: Table = {
    "a title is written by strangers": [
        (step("run: 'echo ${{ ‸github.event.issue.title }}'"), "github.event.issue.title is written by strangers"),
        (step("script: 'echo ${{ ‸github.event.comment.body }}'"), "github.event.comment.body"),
        (step("run: 'echo ${{ ‸github.head_ref }}'"), "github.head_ref"),
        (step("run: 'echo ${{ ‸GitHub.Event.Pull_Request.Title }}'"), "github.event.pull_request.title"),
        (step("run: 'echo ${{ ‸github[''event''].review.body }}'"), "github.event.review.body"),
        (step("run: 'echo ${{ ‸github.event.commits[0].message }}'"), "github.event.commits.*.message"),
        (step("run: 'echo ${{ join(‸github.event.commits.*.message) }}'"), "github.event.commits.*.message"),
        (step("run: 'echo ${{ ‸github.event.pages[github.run_id].page_name }}'"), "github.event.pages.*.page_name"),
        (step("run: 'echo ${{ toJSON(‸github.event.head_commit) }}'"), "github.event.head_commit holds what"),
        (step("run: 'echo ${{ toJSON(‸github.event) }}'"), "github.event holds what strangers write and becomes part"),
        (step("run: 'echo ${{ toJSON(‸github.event.commits) }}'"), "github.event.commits holds what strangers write"),
        (step("run: 'echo ${{ toJSON(‸github) }}'"), "github holds what strangers write"),
        (step("run: 'echo ${{ ‸github.event[vars.X] }}'"), "github.event.* holds what strangers write"),
        (step("run: 'echo ${{ ‸github.head_ref || github.ref_name }}'"), "github.head_ref"),
        (step("run: 'echo ${{ github.ref && ‸github.head_ref }}'"), "github.head_ref"),
        (step("run: 'echo ${{ format(''{0}'', ‸github.head_ref) }}'"), "github.head_ref"),
        (step("run: 'echo ${{ case(true, ‸github.head_ref, 1) }}'"), "github.head_ref"),
    ],
    "it ends with a name that what strangers write has": [
        (step(f"run: 'echo ${{{{ ‸github.event.{path} }}}}'"), f"github.event.{path} is written by strangers")
        for path in (
            "workflow_run.display_title",
            "workflow_run.head_branch",
            "label.name",
            "milestone.title",
            "pull_request.milestone.title",
            "pull_request.head.repo.default_branch",
            "issue.user.email",
            "head_commit.committer.name",
            "release.name",
            "release.body",
        )
    ],
    "a variable in ${{ }} is as what it was made of": [
        (step(f"run: 'echo ${{{{ ‸env.T }}}}', env: {{T: 'x ${{{{ {TITLE} }}}}'}}"), f"what strangers write ({TITLE})"),
        (
            job(f"env: {{T: '${{{{ {TITLE} }}}}'}}, defaults: {{run: {{working-directory: '${{{{ ‸env.T }}}}'}}}}"),
            f"env.T holds what strangers write ({TITLE}) and says in which folder",
        ),
        (
            step("run: 'echo ${{ ‸env.T }}'") + f"env: {{T: '${{{{ {TITLE} }}}}'}}\n",
            f"env.T holds what strangers write ({TITLE}) and becomes part of the script",
        ),
        (
            step("run: 'echo ${{ ‸env.U }}', env: {U: '${{ env.T }}'}") + f"env: {{T: '${{{{ {TITLE} }}}}'}}\n",
            f"env.U holds what strangers write ({TITLE})",
        ),
    ],
    "it says how a script is run": [
        (step("run: x, working-directory: 'src/${{ ‸github.head_ref }}'"), "says in which folder the script runs"),
        (job("defaults: {run: {working-directory: '${{ ‸github.head_ref }}'}}"), "says in which folder"),
        (job("defaults: {run: {shell: 'sh -c ${{ ‸github.event.issue.title }} {0}'}}"), "the command that reads the"),
    ],
}

QUIET = [
    job("if: github.event.inputs.other == 'x' || github.event.anything").replace(
        "on: push", "on: {push: , workflow_dispatch: {inputs: {level: {}}}}"
    ),
    job("if: github.event.inputs.LEVEL == 'x' || github.event.ref").replace(
        "on: push", "on: {workflow_dispatch: {inputs: {level: {}}}}"
    ),
    step("run: x, if: github.event_name == 'Push' || github.event_name != '' || github.ref_type == 'tag'"),
    step("run: x, if: job.status == 'success' || github.event_name == github.ref || github.event_name > 'a'"),
    step("run: 'echo ${{ env.T }}', env: {T: x}") + f"env: {{T: '${{{{ {TITLE} }}}}'}}\n",
    step("run: 'echo ${{ env.t }} ${{ env.OTHER }} $T'") + f"env: {{T: '${{{{ {TITLE} }}}}'}}\n",
    job(f"container: {{image: i, env: {{T: '${{{{ {TITLE} }}}}'}}}}").replace("run: x", "run: '${{ env.T }}'"),
    step("run: 'echo ${{ github.event.repository.name }} ${{ github.event.repository.default_branch }}'"),
    step("run: 'echo ${{ github.event.inputs.name }} ${{ github.event.pull_request.base.ref }}'"),
    step("run: 'echo ${{ toJSON(github.event.repository) }} ${{ github.event.pull_request.number }}'"),
    job("container: {image: i, options: '--cpus 1 ${{ matrix.options }}'}, strategy: {matrix: {options: [x]}}"),
    job("services: {db: {image: i, options: --health-cmd 'pg_isready -q' --health-interval 10s --entrypoint x}}"),
    step("run: 'echo ${{ github.head_ref == ''x'' }}'"),
    step("run: 'echo ${{ !github.head_ref }}'"),
    step("run: 'echo ${{ contains(github.event.pull_request.title, ''x'') }}'"),
    step("run: 'echo ${{ github.head_ref && 1 }}'"),
    step("run: 'echo ${{ case(github.head_ref == '''', 1, 2) }}'"),
    step("run: 'echo ${{ github.event.issue.number }} ${{ github.ref_name }} ${{ github.sha }}'"),
    step("run: echo $TITLE, env: {TITLE: '${{ github.event.issue.title }}'}"),
    step("run: x, if: github.event.issue.title == 'x', name: '${{ github.event.issue.title }}'"),
    step("run: x, working-directory: '${{ github.workspace }}/${{ contains(github.head_ref, ''x'') }}'"),
    job("env: {TITLE: '${{ github.event.issue.title }}'}, defaults: {run: {shell: '${{ vars.SHELL }} {0}'}}"),
    step("run: x, if: steps.a.outcome == 'failure' && steps.A.conclusion != ''", before="      - {run: x, id: a}\n"),
    job("env: {A: '${{ secrets.GITHUB_TOKEN }} ${{ secrets.OTHER }} ${{ vars.X }}'}"),
    job("if: github.event.inputs.deploy == 'true'"),
    job("strategy: {matrix: '${{ fromJSON(vars.M) }}'}, env: {A: '${{ matrix.anything.at.all }}'}"),
    job("strategy: {matrix: {include: '${{ fromJSON(vars.M) }}'}}, env: {A: '${{ matrix.anything }}'}"),
    job("strategy: {matrix: {a: [1], include: [{b: 2}]}}, env: {A: '${{ matrix.b }}${{ matrix.a }}'}"),
    job("strategy: {matrix: {a: [1, x, '${{ vars.A }}']}}, env: {A: '${{ matrix.a == ''x'' }}'}"),
    workflow("a: {runs-on: x, steps: [run: x], if: always()}"),
    step("run: x, shell: 'pwsh -File {0}'"),
    step("uses: Actions/Checkout@main"),
    workflow("a: {runs-on: x, steps: [run: x], if: true || false}"),
    workflow("a: {runs-on: x, steps: [run: x], if: '!cancelled() && (github.ref || false)'}"),
    workflow(
        "b: {uses: ./.github/workflows/c.yml}\n"
        "  a: {needs: b, runs-on: x, steps: [run: 'echo ${{ needs.b.outputs.anything }}']}"
    ),
    "on: {workflow_call: {outputs: {x: {value: '${{ jobs.a.outputs.y }}'}}}}\n"
    "jobs: {a: {runs-on: x, outputs: {y: z}, steps: [run: x]}}",
]


NOT_BUILT_IN: Table = {
    "what GitHub would fetch is not built in, and the way out is said": [
        (
            step("uses: ‸actions/setup-python@v5"),
            "actions/setup-python@v5 is not built in; do its work in a 'run' step",
        ),
        (step("uses: ‸actions/checkout/sub@v4"), "actions/checkout/sub@v4 is not built in"),
        (step("uses: ‸docker://alpine:3"), "docker://alpine:3 is not built in; run the image as the job's 'container'"),
        (
            workflow("a: {uses: ‸o/r/.github/workflows/b.yml@v1}"),
            "o/r/.github/workflows/b.yml@v1 is not built in; copy that workflow",
        ),
    ],
    "runs-on may name a group": [
        (
            workflow("a: {runs-on: {‸group: g}, steps: [run: x]}"),
            "groups of runners are not built in: write the labels",
        ),
        (workflow("a: {runs-on: {‸group: g, labels: [x]}, steps: [run: x]}"), "groups of runners are not built in"),
    ],
    "what GitHub's runners have is not built in": [
        (step("run: x, shell: ‸pwsh"), "the shell pwsh is not built in; use sh, bash, python, node, zx or a command"),
        (step("run: x, shell: ‸cmd"), "the shell cmd is not built in"),
        (job("defaults: {run: {shell: ‸powershell}}"), "the shell powershell is not built in"),
    ],
}


@pytest.mark.parametrize(("text", "expected"), cases(CONTEXTS | TRUST | UNREACHABLE | INJECTION | NOT_BUILT_IN))
def test_what_is_hardly_meant(text: str, expected: str) -> None:
    check_one(text, expected, severity="warning")


@pytest.mark.parametrize("text", QUIET)
def test_what_is_well(text: str) -> None:
    assert examine(text).findings == ()


def test_a_job_never_runs_with_one_it_needs_that_never_does() -> None:
    text = workflow(
        "a: {runs-on: x, if: false, steps: [run: x]}\n"
        "  b: {runs-on: x, needs: a, steps: [run: x]}\n"
        "  c: {runs-on: x, needs: [b, d], if: github.ref == 'x', steps: [run: x]}\n"
        "  d: {runs-on: x, steps: [run: x]}\n"
        "  e: {runs-on: x, needs: b, if: always(), steps: [run: x]}\n"
        "  f: {runs-on: x, needs: b, if: '!failure()', steps: [run: x]}\n"
        "  g: {runs-on: x, needs: e, steps: [run: x]}\n"
    )
    assert [(finding.path, finding.message) for finding in examine(text).findings] == [
        ("jobs.a", "never runs: its 'if' is always false"),
        ("jobs.b", "never runs: it needs 'a', which never does"),
        ("jobs.c", "never runs: it needs 'b', which never does"),
    ]


def test_an_expression_with_an_error_gets_no_warning_beside_it() -> None:
    check_one(step("run: '${{ ‸unknown.x }} ${{ github.nothing }}'"), "unknown context")
