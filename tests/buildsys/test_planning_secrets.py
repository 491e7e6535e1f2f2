"""Which secrets a job names, found in every place of a job that may have them."""

from __future__ import annotations

import pytest
from planning_cases import PATH, Build, plan_of, workflow_of

from buildsys.core.definition import Container, Credentials, Job, Script, Step, Uses, Workflow
from buildsys.core.named_secrets import SecretNames, secrets_of_job
from buildsys.core.plan_values import PlanError
from buildsys.core.planning import PlanSettings, plan_build
from buildsys.errors import WorkflowError

S = "${{ secrets.S }}"

PLACES: dict[str, str] = {
    "jobs.<job_id>.env": f"env: {{A: '{S}'}}",
    "jobs.<job_id>.container.credentials": f"container: {{image: i, credentials: {{username: u, password: '{S}'}}}}",
    "jobs.<job_id>.container.env.<env_id>": f"container: {{image: i, env: {{A: '{S}'}}}}",
    "jobs.<job_id>.services.<service_id>.credentials": (
        f"services: {{s: {{image: i, credentials: {{username: '{S}', password: p}}}}}}"
    ),
    "jobs.<job_id>.services.<service_id>.env.<env_id>": f"services: {{s: {{image: i, env: {{A: '{S}'}}}}}}",
    "jobs.<job_id>.outputs.<output_id>": f"outputs: {{o: '{S}'}}",
    "jobs.<job_id>.steps.env": f"steps: [{{run: x, env: {{A: '{S}'}}}}]",
    "jobs.<job_id>.steps.run": f"steps: [{{run: 'echo {S}'}}]",
    "jobs.<job_id>.steps.name": f"steps: [{{run: x, name: '{S}'}}]",
    "jobs.<job_id>.steps.with": f"steps: [{{uses: ./a, with: {{A: '{S}'}}}}]",
    "jobs.<job_id>.steps.working-directory": f"steps: [{{run: x, working-directory: '{S}'}}]",
    "jobs.<job_id>.steps.continue-on-error": f"steps: [{{run: x, continue-on-error: '{S}'}}]",
    "jobs.<job_id>.steps.timeout-minutes": f"steps: [{{run: x, timeout-minutes: '{S}'}}]",
    "an index of a literal": "env: {A: \"${{ secrets['s'] }}\"}",
    "another case": "env: {A: '${{ SECRETS.s }}'}",
    "within a call": "env: {A: \"${{ format('{0}', secrets.S) }}\"}",
}


@pytest.mark.parametrize("job", PLACES.values(), ids=PLACES)
def test_a_named_secret_is_found(job: str) -> None:
    build = Build.of(f"{{j: {{{job}}}, other: {{}}}}")
    assert build.jobs["j"].secrets == ("S",)
    assert build.jobs["j"].optional_secrets == ()
    assert build.jobs["other"].secrets == ()
    assert build.plan.secrets == SecretNames(required=frozenset({"S"}))


@pytest.mark.parametrize(
    "text",
    [
        "secrets.S || 'd'",
        "'' || secrets.S || 'd'",
        "secrets.S != ''",
        "'' == secrets['s']",
        "secrets.S == 'yes'",
        "!secrets.S",
        "secrets.S && 'given'",
        "secrets.S != '' && secrets.S || 'd'",
        "format('{0}', secrets.S || 'd')",
        "fromJSON(secrets.S || '{}').a",
        "secrets.S || secrets.GITHUB_TOKEN",
    ],
)
def test_a_secret_that_is_only_asked_about_may_be_missing(text: str) -> None:
    quoted = f"${{{{ {text} }}}}".replace("'", "''")
    build = Build.of(f"{{j: {{env: {{A: '{quoted}'}}}}, other: {{steps: [{{run: 'echo {S}'}}]}}}}")
    assert "S" in build.jobs["j"].secrets
    assert set(build.jobs["j"].optional_secrets) == set(build.jobs["j"].secrets)
    assert build.jobs["other"].optional_secrets == ()
    assert build.plan.secrets.required == {"S"}


@pytest.mark.parametrize(
    "text",
    [
        "vars.X || secrets.S",
        "github.ref && secrets.S",
        "format('{0}', secrets.S) || 'd'",
        "fromJSON(secrets.S).a || 'd'",
        "secrets.S.a || 'd'",
        "matrix[secrets.S] || 'd'",
    ],
)
def test_a_secret_whose_value_is_taken_may_not_be_missing(text: str) -> None:
    job = Job(id="j", env={"A": f"${{{{ {text} }}}}"})
    assert secrets_of_job(job, workflow_of("x: {}")) == SecretNames(required=frozenset({"S"}))


def test_a_secret_that_is_asked_about_and_taken_elsewhere_is_needed() -> None:
    job = Job(id="j", env={"A": "${{ secrets.S != '' }}", "B": S})
    assert secrets_of_job(job, workflow_of("x: {}")) == SecretNames(required=frozenset({"S"}))


def test_those_of_the_workflow_s_env_are_every_job_s() -> None:
    build = Build.of(f"env: {{A: '{S}'}}\njobs: {{a: {{}}, b: {{env: {{B: '${{{{ secrets.T }}}}'}}}}}}")
    assert build.jobs["a"].secrets == ("S",)
    assert build.jobs["b"].secrets == ("S", "T")


def test_the_token_may_always_be_named() -> None:
    job = Build.of("j: {env: {A: '${{ secrets.github_token }}'}}").jobs["j"]
    assert job.secrets == job.optional_secrets == ("GITHUB_TOKEN",)


def test_those_of_jobs_that_are_skipped_are_known_as_well() -> None:
    """What is missing is told before the first container, whatever runs later."""
    assert plan_of(f"j: {{if: false, env: {{A: '{S}'}}}}").secrets.required == {"S"}


@pytest.mark.parametrize(
    "text",
    [
        "${{ toJSON(secrets) }}",
        "${{ secrets[github.ref] }}",
        "${{ secrets.* }}",
        "${{ join(secrets.*, ',') }}",
        "${{ secrets[format('{0}', 'S')] }}",
    ],
)
def test_secrets_as_a_whole_are_refused(text: str) -> None:
    steps = (Step(action=Script(run=text)),)
    job = Job(id="j", steps=steps)
    base = workflow_of("x: {}")
    with pytest.raises(PlanError, match=r"^jobs\.j: a job gets only the secrets it names: write secrets\.NAME$"):
        secrets_of_job(job, base)
    whole = Workflow(path=PATH, name="ci", on=base.on, jobs={"j": job})
    with pytest.raises(WorkflowError, match="a job gets only the secrets it names"):
        plan_build(whole, called={}, contexts={"github": {}}, settings=PlanSettings())


def test_an_environment_that_is_an_expression() -> None:
    job = Job(
        id="j",
        env="${{ fromJSON(secrets.ALL) }}",
        container=Container(
            image="i", env="${{ fromJSON(secrets.MORE) }}", credentials=Credentials(username="", password="")
        ),
        steps=(Step(action=Uses(uses="./a", inputs={"x": S}), env="${{ fromJSON(secrets.STEP) }}"),),
    )
    assert secrets_of_job(job, workflow_of("x: {}")).required == {"ALL", "MORE", "S", "STEP"}
