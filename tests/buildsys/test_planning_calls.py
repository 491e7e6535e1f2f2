"""Reusable workflows: what they are called, what is passed, what comes back. Each test names its sentence."""

from __future__ import annotations

from typing import Any

import pytest
from planning_cases import PATH, Build, plan_of, workflow_of

from buildsys.core.called_workflows import gather
from buildsys.core.decisions import JobEnd, Result
from buildsys.core.named_secrets import SecretNames
from buildsys.core.planned import ConcurrencyGroup, PassedSecrets
from buildsys.errors import WorkflowError

HERE = "./.github/workflows"
CALLER = f"deploy: {{uses: {HERE}/deploy.yml}}"
PLAIN = "on: workflow_call\njobs: {test: {}, ship: {needs: test}}"


def of(caller: str, called: str, **given: Any) -> Build:
    return Build.of(caller, called={"deploy.yml": called}, **given)


def test_jobs_of_a_called_workflow_stand_below_the_job_that_calls_it() -> None:
    """GitHub shows a called job as `CALLER / JOB`."""
    build = of(f"{{build: {{}}, {CALLER[:-1]}, needs: build}}, last: {{needs: deploy}}}}", PLAIN)
    assert build.states == {"build": "runs"}
    assert build.end("build").states == {"build": "success", "deploy.test": "runs"}
    assert build.end("deploy.test").states["deploy.ship"] == "runs"
    assert "last" not in build.states
    assert build.end("deploy.ship").states["last"] == "runs"
    assert build.names == {
        "build": "build",
        "deploy.test": "deploy / test",
        "deploy.ship": "deploy / ship",
        "last": "last",
    }
    assert build.end("last").progress.result == "success"


def test_a_call_is_skipped_as_a_whole() -> None:
    """`jobs.<job_id>.if` may stand beside `uses`."""
    build = of(f"{{{CALLER[:-1]}, if: false}}, b: {{needs: deploy}}}}", PLAIN)
    assert build.states == {"deploy": "skipped", "b": "skipped"}


def test_a_failure_in_a_called_workflow_fails_the_job_that_calls_it() -> None:
    build = of(f"{{{CALLER}, b: {{needs: deploy}}, c: {{needs: deploy, if: failure()}}}}", PLAIN)
    build.end("deploy.test", "failure")
    assert build.states == {"deploy.test": "failure", "deploy.ship": "skipped", "b": "skipped", "c": "runs"}
    assert build.jobs["c"].contexts["needs"]["deploy"]["result"] == "failure"


def test_a_called_workflow_judges_by_its_own_jobs_only() -> None:
    """Its first jobs need nothing: that a job failed before the call is no matter to them."""
    build = of(f"{{a: {{}}, {CALLER[:-1]}, needs: a, if: always()}}}}", PLAIN)
    assert build.end("a", "failure").states == {"a": "failure", "deploy.test": "runs"}


def test_all_jobs_skipped_is_a_call_skipped() -> None:
    build = of(f"{{{CALLER}, b: {{needs: deploy}}}}", "on: workflow_call\njobs: {test: {if: false}}")
    assert build.states == {"deploy.test": "skipped", "b": "skipped"}


def test_cancel_reaches_into_called_workflows() -> None:
    build = of(f"{{{CALLER}}}", "on: workflow_call\njobs: {t: {}, u: {if: always()}, v: {needs: t, if: always()}}")
    assert build.cancel().states == {"deploy.t": "to be cancelled", "deploy.u": "runs"}
    assert build.end("deploy.t", "cancelled").states["deploy.v"] == "runs"


def test_the_github_context_is_the_callers() -> None:
    """GitHub, "github context": always associated with the caller workflow; `env` of the caller is not passed on."""
    called = "on: workflow_call\nenv: {OWN: '1'}\ndefaults: {run: {shell: sh}}\njobs: {t: {}}"
    caller = f"env: {{HIS: '1'}}\ndefaults: {{run: {{shell: bash}}}}\njobs: {{{CALLER}}}"
    job = of(caller, called, variables={"V": "1"}).jobs["deploy.t"]
    assert job.contexts["github"]["workflow"] == "ci"
    assert job.contexts["github"]["event_name"] == "push"
    assert job.contexts["github"]["job"] == "t"
    assert job.contexts["vars"] == {"V": "1"}
    assert job.environments == ({"OWN": "1"},)
    assert job.defaults.shell == "sh"


TYPED = """
on:
  workflow_call:
    inputs:
      name: {type: string, required: true}
      dry: {type: boolean}
      count: {type: number, default: 3}
      text: {type: string}
      ref: {type: string, default: "${{ github.ref_name }}-x"}
jobs: {t: {}}
"""

INPUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "inputs: where there is no default it is false, 0 or an empty text": (
        "{name: a}",
        {"name": "a", "dry": False, "count": 3.0, "text": "", "ref": "main-x"},
    ),
    "with: values may be expressions, and keep their type": (
        "{name: '${{ github.actor }}', dry: \"${{ github.ref_name == 'main' }}\", count: '${{ fromJSON(vars.N) }}'}",
        {"name": "ada", "dry": True, "count": 5.0, "text": "", "ref": "main-x"},
    ),
    "with: a text takes a number as it is written": (
        "{name: 1.5, text: true}",
        {"name": "1.5", "dry": False, "count": 3.0, "text": "true", "ref": "main-x"},
    ),
    "with: names have no case": (
        "{NAME: a, Ref: b}",
        {"name": "a", "dry": False, "count": 3.0, "text": "", "ref": "b"},
    ),
}


@pytest.mark.parametrize(("given", "values"), INPUTS.values(), ids=INPUTS)
def test_inputs(given: str, values: dict[str, Any]) -> None:
    build = of(f"{{{CALLER[:-1]}, with: {given}}}}}", TYPED, variables={"N": "5"})
    assert build.notes == {}
    assert build.jobs["deploy.t"].contexts["inputs"] == values


def test_a_default_has_github_vars_and_the_callers_inputs() -> None:
    """Context availability, `on.workflow_call.inputs.<inputs_id>.default`."""
    default = "${{ inputs.to }} ${{ github.ref_name }} ${{ vars.V }}"
    called = f"on: {{workflow_call: {{inputs: {{a: {{type: string, default: '{default}'}}}}}}}}\njobs: {{t: {{}}}}"
    build = of(CALLER, called, inputs={"to": "prod"}, variables={"V": "1"})
    assert build.jobs["deploy.t"].contexts["inputs"] == {"a": "prod main 1"}


def test_a_default_is_not_evaluated_twice() -> None:
    called = "on: {workflow_call: {inputs: {a: {type: string, default: '${{ vars.V }}'}}}}\njobs: {t: {}}"
    build = of(CALLER, called, variables={"V": "${{ github.actor }}"})
    assert build.jobs["deploy.t"].contexts["inputs"] == {"a": "${{ github.actor }}"}


WRONG: list[tuple[str, str]] = [
    ("{name: a, dry: '${{ github.ref }}'}", "expected true or false, found 'refs/heads/main'"),
    ("{name: a, count: '${{ github.ref }}'}", "expected a number, found 'refs/heads/main'"),
    ("{name: '${{ github.event }}'}", "expected a text, found an object"),
    ("{name: \"${{ fromJSON('') }}\"}", "the text is not JSON"),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_inputs_that_come_out_wrong_fail_the_call(given: str, told: str) -> None:
    build = of(f"{{{CALLER[:-1]}, with: {given}}}, b: {{needs: deploy}}}}", TYPED)
    assert build.states == {"deploy": "failure", "b": "skipped"}
    assert told in build.notes["deploy"]
    assert build.notes["deploy"].startswith("jobs.deploy.with")


RETURNING = """
on:
  workflow_call:
    outputs:
      url: {value: "https://${{ jobs.t.outputs.host }}/"}
      how: {value: "${{ jobs.u.result }}"}
jobs: {t: {outputs: {host: x}}, u: {needs: t}}
"""


def test_outputs_are_mapped_from_the_called_jobs() -> None:
    """GitHub, "Using outputs from a reusable workflow"; `jobs` context."""
    build = of(f"{{{CALLER}, b: {{needs: deploy}}}}", RETURNING)
    build.end("deploy.t", host="web.example").end("deploy.u")
    needs = build.jobs["b"].contexts["needs"]
    assert needs == {"deploy": {"result": "success", "outputs": {"url": "https://web.example/", "how": "success"}}}


def test_outputs_that_cannot_be_made_fail_the_call() -> None:
    called = RETURNING.replace("jobs.u.result", "fromJSON(jobs.t.outputs.host)")
    build = of(f"{{{CALLER}, b: {{needs: deploy}}}}", called)
    build.end("deploy.t", host="{").end("deploy.u")
    assert build.states == {"deploy.t": "success", "deploy.u": "success", "deploy": "failure", "b": "skipped"}
    assert "outputs: how: the text is not JSON" in build.notes["deploy"]


TWICE = f"""
deploy: {{uses: {HERE}/deploy.yml, with: {{name: "${{{{ matrix.to }}}}"}}, strategy: {{matrix: {{to: [dev, prod]}}}}}}
b: {{needs: deploy}}
"""


def test_a_call_with_a_matrix() -> None:
    """GitHub, "Using a matrix strategy with a reusable workflow"."""
    build = of(TWICE, TYPED)
    assert build.names == {"deploy.1.t": "deploy (dev) / t", "deploy.2.t": "deploy (prod) / t"}
    assert [job.contexts["inputs"]["name"] for job in build.jobs.values()] == ["dev", "prod"]
    assert build.jobs["deploy.2.t"].contexts["matrix"] is None
    assert build.end("deploy.1.t").end("deploy.2.t").states["b"] == "runs"


def test_of_a_matrix_of_calls_the_last_to_set_an_output_has_its_way() -> None:
    """The output set by the last reusable workflow of the matrix to complete which actually sets a value."""
    called = "on: {workflow_call: {outputs: {o: {value: '${{ jobs.t.outputs.o }}'}}}}\njobs: {t: {outputs: {o: x}}}"
    caller = f"{{{CALLER[:-1]}, strategy: {{matrix: {{n: [1, 2, 3]}}}}}}, b: {{needs: deploy}}}}"
    build = of(caller, called)
    build.end("deploy.3.t", o="three").end("deploy.1.t", o="one").end("deploy.2.t", o="")
    assert build.jobs["b"].contexts["needs"]["deploy"]["outputs"] == {"o": "one"}


def test_a_matrix_of_calls_fails_fast() -> None:
    called = "on: workflow_call\njobs: {t: {}, u: {needs: t, if: always()}}"
    build = of(f"{{{CALLER[:-1]}, strategy: {{matrix: {{n: [1, 2]}}}}}}}}", called)
    build.end("deploy.1.t", "failure")
    assert build.states == {"deploy.1.t": "failure", "deploy.1.u": "runs", "deploy.2.t": "runs"}
    build.end("deploy.1.u")
    assert build.states["deploy.2.t"] == "to be cancelled"


def test_a_matrix_of_calls_holds_back() -> None:
    build = of(f"{{{CALLER[:-1]}, strategy: {{max-parallel: 1, matrix: {{n: [1, 2]}}}}}}}}", PLAIN)
    assert build.states == {"deploy.1.test": "runs"}
    assert build.end("deploy.1.test").states == {"deploy.1.test": "success", "deploy.1.ship": "runs"}
    assert build.end("deploy.1.ship").states["deploy.2.test"] == "runs"
    assert build.end("deploy.2.test").end("deploy.2.ship").progress.result == "success"


def test_groups_of_a_call_are_held_by_all_of_its_jobs() -> None:
    """`jobs.<job_id>.concurrency` may stand beside `uses`; a called workflow may have its own."""
    called = """
    on: {workflow_call: {inputs: {to: {type: string}}}}
    concurrency: "to-${{ inputs.to }}"
    jobs: {t: {concurrency: t}}
    """
    build = of(f"{{{CALLER[:-1]}, concurrency: all, with: {{to: dev}}}}}}", called)
    assert build.jobs["deploy.t"].concurrency == (
        ConcurrencyGroup(group="all", holder="deploy"),
        ConcurrencyGroup(group="to-dev", holder="deploy"),
        ConcurrencyGroup(group="t", holder="deploy.t"),
    )


def test_called_workflows_call_others() -> None:
    """GitHub, "Nesting reusable workflows"."""
    inner = f"inner: {{uses: {HERE}/inner.yml, strategy: {{matrix: {{n: [1, 2]}}}}}}"
    files = {
        "deploy.yml": f"on: workflow_call\njobs: {{{inner}}}",
        "inner.yml": "on: workflow_call\njobs: {t: {strategy: {matrix: {m: [x]}}}}",
    }
    build = Build.of(f"{{{CALLER}}}", called=files)
    assert build.names == {
        "deploy.inner.1.t.1": "deploy / inner (1) / t (x)",
        "deploy.inner.2.t.1": "deploy / inner (2) / t (x)",
    }


def chain(length: int) -> dict[str, str]:
    calls = {f"{n}.yml": f"on: workflow_call\njobs: {{c: {{uses: {HERE}/{n + 1}.yml}}}}" for n in range(2, length)}
    return {**calls, f"{length}.yml": "on: workflow_call\njobs: {t: {}}"}


def test_ten_levels_of_workflows_and_no_more() -> None:
    """GitHub, "Nesting reusable workflows": ten levels, the top-level caller included."""
    build = Build.of(f"{{c: {{uses: {HERE}/2.yml}}}}", called=chain(10))
    assert list(build.states) == [".".join("c" * 9) + ".t"]
    with pytest.raises(WorkflowError, match="11 levels of workflows call one another; there may be 10"):
        plan_of(f"{{c: {{uses: {HERE}/2.yml}}}}", called=chain(11))


REFUSED: dict[str, tuple[str, str, str]] = {
    "uses: a file that is not there": (
        f"deploy: {{uses: {HERE}/none.yml}}",
        PLAIN,
        "jobs.deploy.uses: there is no workflow '.github/workflows/none.yml' at this commit",
    ),
    "on: must have workflow_call": (CALLER, "on: push\njobs: {t: {}}", "it must have 'workflow_call' in its 'on'"),
    "with: only declared inputs": (
        f"{CALLER[:-1]}, with: {{name: a, x: 1}}}}",
        TYPED,
        "jobs.deploy.with.x: the called workflow has no input 'x'",
    ),
    "with: required inputs": (CALLER, TYPED, "jobs.deploy.with: the called workflow requires the input 'name'"),
    "secrets: only declared ones": (
        f"{CALLER[:-1]}, secrets: {{x: '1'}}}}",
        PLAIN,
        "jobs.deploy.secrets.x: the called workflow has no secret 'x'",
    ),
    "secrets: required ones": (
        CALLER,
        "on: {workflow_call: {secrets: {key: {required: true}}}}\njobs: {t: {}}",
        "jobs.deploy.secrets: the called workflow requires the secret 'key'",
    ),
    "uses: a workflow that calls itself": (
        CALLER,
        f"on: workflow_call\njobs: {{again: {{uses: {HERE}/deploy.yml}}}}",
        "workflows call each other: .github/workflows/deploy.yml calls .github/workflows/deploy.yml",
    ),
}


@pytest.mark.parametrize(("caller", "called", "told"), REFUSED.values(), ids=REFUSED)
def test_refused(caller: str, called: str, told: str) -> None:
    with pytest.raises(WorkflowError) as refused:
        plan_of(caller, called={"deploy.yml": called})
    assert told in str(refused.value)


def test_a_circle_through_the_first_workflow() -> None:
    caller = workflow_of(f"on: [push, workflow_call]\njobs: {{{CALLER}}}")
    back = workflow_of(f"on: workflow_call\njobs: {{c: {{uses: ./{PATH}}}}}", path=".github/workflows/deploy.yml")
    with pytest.raises(WorkflowError, match=r"ci\.yml calls .*deploy\.yml calls .*ci\.yml"):
        gather(caller, {PATH: caller, ".github/workflows/deploy.yml": back}.get)


def test_all_calls_that_cannot_be_made_are_told_at_once() -> None:
    caller = workflow_of(f"{{a: {{uses: {HERE}/x.yml}}, b: {{uses: {HERE}/y.yml}}}}")
    with pytest.raises(WorkflowError) as refused:
        gather(caller, lambda path: None)
    assert len(refused.value.errors) == 2


def test_a_tree_of_calls_stays_within_1000_jobs() -> None:
    """Ten calls of ten calls of ten calls, in four small files."""

    def ten(file: str) -> str:
        return ", ".join(f"c{number}: {{uses: {HERE}/{file}}}" for number in range(10))

    files = {f"{n}.yml": f"on: workflow_call\njobs: {{{ten(f'{n + 1}.yml')}}}" for n in range(2, 5)}
    files["5.yml"] = "on: workflow_call\njobs: {t: {}}"
    with pytest.raises(WorkflowError, match="it has 2111 jobs, not 1000"):
        plan_of(f"{{c: {{uses: {HERE}/2.yml}}}}", called=files)


def test_a_tree_of_matrices_stays_within_1000_jobs() -> None:
    matrix = f"strategy: {{matrix: {{n: {list(range(40))}}}}}"
    called = f"on: workflow_call\njobs: {{t: {{{matrix}}}, u: {{needs: t}}}}"
    build = of(f"{{{CALLER[:-1]}, {matrix}}}}}", called)
    assert len(build.rows) < 1000
    assert any("the build has" in note for note in build.notes.values())


def test_the_jobs_of_a_call_that_failed_by_its_outputs_count_after_a_takeover() -> None:
    matrix = f"strategy: {{matrix: {{n: {list(range(256))}}}}}"
    called = (
        f"on: {{workflow_call: {{outputs: {{o: {{value: \"${{{{ fromJSON('') }}}}\"}}}}}}}}\njobs: {{t: {{{matrix}}}}}"
    )
    build = of(f"{{{CALLER}, slow: {{}}, x: {{{matrix}}}, y: {{{matrix}}}, z: {{needs: slow, {matrix}}}}}", called)
    build.rows |= {id: JobEnd(result=Result.SUCCESS) for id in build.rows if id.startswith("deploy.")}
    build.progress = build.settle()
    assert build.states["deploy"] == "failure"
    build.play("slow=success")
    assert build.notes["z"] == "strategy.matrix: with it the build has 1026 jobs; there may be 1000"


CALLED_SECRETS = """
on: {workflow_call: {secrets: {key: {required: true}, maybe: {required: false}}}}
jobs: {t: {steps: [{run: "${{ secrets.KEY }} ${{ secrets.maybe }} ${{ secrets.GITHUB_TOKEN }}"}]}}
"""


def test_secrets_passed_by_name() -> None:
    """`jobs.<job_id>.secrets`: a map of secrets that are passed to the called workflow."""
    caller = f"{{{CALLER[:-1]}, secrets: {{key: 'v-${{{{ secrets.PROD_KEY }}}}-${{{{ github.ref_name }}}}'}}}}}}"
    build = of(caller, CALLED_SECRETS)
    job = build.jobs["deploy.t"]
    assert job.secrets == ("GITHUB_TOKEN", "PROD_KEY")
    assert job.optional_secrets == ("GITHUB_TOKEN",)
    (passed,) = job.passed_secrets
    assert passed.secrets == {"key": "v-${{ secrets.PROD_KEY }}-${{ github.ref_name }}"}
    assert set(passed.contexts) == {"github"}
    assert build.plan.secrets == SecretNames(required=frozenset({"PROD_KEY"}), optional=frozenset({"GITHUB_TOKEN"}))


def test_secrets_inherited() -> None:
    """`jobs.<job_id>.secrets.inherit`: passes all that the caller has; declared as not required they may be missing."""
    job = of(f"{{{CALLER[:-1]}, secrets: inherit}}}}", CALLED_SECRETS).jobs["deploy.t"]
    assert job.secrets == ("GITHUB_TOKEN", "KEY", "MAYBE")
    assert job.optional_secrets == ("GITHUB_TOKEN", "MAYBE")
    assert job.passed_secrets == ()


def test_secrets_that_are_not_passed_are_not_had() -> None:
    job = of(f"{{{CALLER}}}", "on: workflow_call\njobs: {t: {steps: [{run: '${{ secrets.X }}'}]}}").jobs["deploy.t"]
    assert job.secrets == ()
    assert job.passed_secrets == (PassedSecrets(contexts={}, secrets={}),)


def test_secrets_through_two_levels() -> None:
    """GitHub, "Passing secrets to nested workflows": only those that the middle one passes on."""
    files = {
        "deploy.yml": f"on: {{workflow_call: {{secrets: {{mid: {{required: true}}}}}}}}\n"
        f"jobs: {{c: {{uses: {HERE}/in.yml, secrets: {{low: '${{{{ secrets.mid }}}}'}}}}}}",
        "in.yml": "on: {workflow_call: {secrets: {low: {required: true}}}}\n"
        "jobs: {t: {steps: [{run: '${{ secrets.low }}'}]}, u: {}}",
    }
    build = Build.of(f"{{{CALLER[:-1]}, secrets: {{mid: '${{{{ secrets.TOP }}}}'}}}}}}", called=files)
    assert build.jobs["deploy.c.t"].secrets == ("TOP",)
    assert [passed.secrets for passed in build.jobs["deploy.c.t"].passed_secrets] == [
        {"mid": "${{ secrets.TOP }}"},
        {"low": "${{ secrets.mid }}"},
    ]
    assert build.jobs["deploy.c.u"].secrets == ()
