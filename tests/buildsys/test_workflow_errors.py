"""What is wrong with a workflow file is said in full, and where. A `‸` in a text marks the place that is named."""

from __future__ import annotations

import time

import pytest

from buildsys.core.workflow import decode
from buildsys.errors import WorkflowError

STEP = "steps: [run: x]"


def errors(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(WorkflowError) as caught:
        decode(text, file="ci.yml")
    return caught.value.errors


def check(marked: str, expected: str) -> None:
    """The text without its mark has one error: at the mark, and it says what is expected."""
    before, mark, after = marked.partition("‸")
    assert mark
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    (error,) = errors(before + after)
    assert error.startswith(f"ci.yml:{line}:{column}: "), error
    assert expected in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("‸", "the file is empty"),
        ("‸# nothing\n", "the file is empty"),
        ("on: push\n‸--- x", "more than one document"),
        ("a: b‸: c", "not YAML: mapping values are not allowed"),
        ("on: push\njobs: [x\n‸", "not YAML: did not find expected ',' or ']'"),
        ("on: ‸*x", "no anchor &x"),
        ("on: &x [‸*x]", "*x contains itself"),
        ("? ‸[a]\n: b", "a key must be a plain word"),
        ("on: ‸!!python/object:os.system x", "tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("on: " + "[" * 31 + "‸" + "[" * 100_000, "nested deeper than 32 levels"),
    ],
)
def test_what_is_not_yaml(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"‸jobs: {{a: {{runs-on: x, {STEP}}}}}", "missing 'on'"),
        ("‸on: push", "missing 'jobs'"),
        (f"on: push\n‸true: x\njobs: {{a: {{runs-on: x, {STEP}}}}}", "true: unknown key"),
        (f"on: push\n‸nam: x\njobs: {{a: {{runs-on: x, {STEP}}}}}", "nam: unknown key; did you mean 'name'?"),
        (f"on: push\n‸concurrency: x\njobs: {{a: {{runs-on: x, {STEP}}}}}", "concurrency: not supported yet"),
        (f"on: push\n‸on: push\njobs: {{a: {{runs-on: x, {STEP}}}}}", "on: stands here again; the first is on line 1"),
        (f"on: push\nname: ‸[x]\njobs: {{a: {{runs-on: x, {STEP}}}}}", "name: expected a text, found a list"),
        ("on: push\njobs: ‸{}", "jobs: expected at least one job"),
        ("on: push\njobs: ‸[a]", "jobs: expected a mapping of jobs, found a list"),
    ],
)
def test_the_file(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("‸pushed", "on: unknown event 'pushed'; did you mean 'push'?"),
        ("[push, ‸pul_request]", "on[1]: unknown event 'pul_request'; did you mean 'pull_request'?"),
        ("‸[]", "on: expected at least one event"),
        ("‸''", "on: expected an event, a list or a mapping of events, found nothing"),
        ("{push: , ‸nothing: }", "on.nothing: unknown event"),
        ("{push: ‸main}", "on.push: expected a mapping, found 'main'"),
        ("{push: {‸branch: main}}", "on.push.branch: unknown key; did you mean 'branches'?"),
        ("{push: {‸paths: [src]}}", "on.push.paths: not supported yet"),
        ("{push: {branches: [a, ‸'[b']}}", "on.push.branches[1]: not a pattern: '[' without a ']'"),
        ("{push: {branches: ‸'+a'}}", "not a pattern: '+' must follow a character"),
        ("{push: {branches: ‸'[z-a]'}}", "'z-a' is not a range within a-z"),
        ("{push: {branches: ‸['!a']}}", "a pattern with '!' only takes away"),
        ("{push: {branches: a, ‸branches-ignore: b}}", "cannot stand beside 'branches'"),
        ("{push: {branches: [‸{a: b}]}}", "expected a pattern or a list of patterns, found a mapping"),
    ],
)
def test_events(on: str, expected: str) -> None:
    check(f"on: {on}\njobs: {{a: {{runs-on: x, {STEP}}}}}", expected)


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (f"‸1a: {{runs-on: x, {STEP}}}", "jobs.1a: a job's id is at most 100 letters"),
        (f"‸a.b: {{runs-on: x, {STEP}}}", "a job's id"),
        (f"‸a: {{{STEP}}}", "jobs.a: missing 'runs-on'"),
        ("‸a: {runs-on: x}", "jobs.a: missing 'steps'"),
        ("a: ‸x", "jobs.a: expected a mapping, found 'x'"),
        ("a: {runs-on: x, steps: ‸x}", "jobs.a.steps: expected a list of steps, found 'x'"),
        (f"a: {{runs-on: x, ‸need: b, {STEP}}}", "jobs.a.need: unknown key; did you mean 'needs'?"),
        (f"a: {{runs-on: x, ‸strategy: {{}}, {STEP}}}", "jobs.a.strategy: not supported yet"),
        (f"a: {{runs-on: x, ‸services: {{}}, {STEP}}}", "jobs.a.services: not supported yet"),
        ("a: {‸uses: ./x.yml}", "jobs.a.uses: not supported yet"),
        (f"a: {{runs-on: ‸{{group: g}}, {STEP}}}", "jobs.a.runs-on: runner groups are not supported yet"),
        (f"a: {{runs-on: ‸'${{{{ matrix.os }}}}', {STEP}}}", "expressions are not supported here: ${{ matrix.os }}"),
        (f"a: {{runs-on: x, needs: ‸bb, {STEP}}}", "jobs.a.needs: there is no job 'bb'"),
        (
            f"a: {{runs-on: x, needs: [a1, ‸a2], {STEP}}}\n  a1: {{runs-on: x, {STEP}}}",
            "jobs.a.needs[1]: there is no job",
        ),
        (f"a: {{runs-on: x, needs: ‸a, {STEP}}}", "jobs need each other: a needs a"),
        (f"a: {{runs-on: x, timeout-minutes: ‸0, {STEP}}}", "expected a number above 0 and up to 7200, found '0'"),
        (f"a: {{runs-on: x, timeout-minutes: ‸true, {STEP}}}", "timeout-minutes: expected a number"),
        (f"a: {{runs-on: x, timeout-minutes: ‸9e999, {STEP}}}", "timeout-minutes: expected a number"),
        (f"a: {{runs-on: x, timeout-minutes: ‸'5', {STEP}}}", "timeout-minutes: expected a number"),
        (f"a: {{runs-on: x, env: {{‸A-B: c}}, {STEP}}}", "jobs.a.env.A-B: a variable's name is letters"),
        (f"a: {{runs-on: x, env: ‸[A], {STEP}}}", "jobs.a.env: expected a mapping of variables, found a list"),
        (f"a: {{runs-on: x, env: {{A: ‸[c]}}, {STEP}}}", "jobs.a.env.A: expected a text, a number, true or false"),
        (f'a: {{runs-on: x, env: {{A: ‸"\\0"}}, {STEP}}}', "jobs.a.env.A: a variable cannot hold a NUL"),
        (f"a: {{runs-on: x, ‸container: {{}}, {STEP}}}", "jobs.a.container: missing 'image'"),
        (f"a: {{runs-on: x, container: ‸--privileged, {STEP}}}", "not the name of an image: '--privileged'"),
        (f"a: {{runs-on: x, container: {{image: i, ‸options: --privileged}}, {STEP}}}", "options: not supported yet"),
    ],
)
def test_jobs(job: str, expected: str) -> None:
    check(f"on: push\njobs:\n  {job}", expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("‸{}", "jobs.a.steps[0]: missing 'run'"),
        ("‸x", "jobs.a.steps[0]: expected a mapping, found 'x'"),
        ("{run: ‸''}", "jobs.a.steps[0].run: expected a script, found nothing"),
        ("{run: ‸}", "jobs.a.steps[0].run: expected a script, found nothing"),
        ("{run: ‸'echo ${{ github.sha }} x'}", "expressions are not supported here: ${{ github.sha }}"),
        ("{run: x, ‸shel: sh}", "jobs.a.steps[0].shel: unknown key; did you mean 'shell'?"),
        ("{run: x, shell: ‸bsh}", "expected sh, bash, python or a command with {0}; did you mean 'bash'?"),
        ("{run: x, shell: ‸pwsh}", "jobs.a.steps[0].shell: not supported yet"),
        ("{run: x, working-directory: ‸/etc}", "expected a directory inside the workspace"),
        ("{run: x, working-directory: ‸a/../../b}", "expected a directory inside the workspace"),
        ("{run: x, if: ‸cancelled()}", "expected success(), failure() or always()"),
        ("{run: x, if: ‸always() && failure()}", "expected success(), failure() or always()"),
        ("{run: x, if: ‸'${{ always()'}", "expected success(), failure() or always()"),
        ("{run: x, continue-on-error: ‸yes}", "continue-on-error: expected true or false, found 'yes'"),
        ("{run: x, ‸timeout-minutes: 5}", "timeout-minutes: not supported yet"),
        ("{uses: ‸actions/setup-python@v5}", "not supported yet: the only action is actions/checkout"),
        ("{uses: ‸actions/checkout}", "not supported yet: the only action is actions/checkout"),
        ("{uses: actions/checkout@v4, with: {‸ref: x}}", "jobs.a.steps[0].with.ref: not supported yet"),
        ("{uses: actions/checkout@v4, with: {‸claen: x}}", "unknown key; did you mean 'clean'?"),
        ("{uses: actions/checkout@v4, ‸run: x}", "a step has either 'run' or 'uses'"),
        ("{run: x, ‸with: {a: b}}", "'with' belongs to a step that uses an action"),
        ("{run: x, ‸run: y}", "stands here again"),
    ],
)
def test_steps(step: str, expected: str) -> None:
    check(f"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - {step}\n", expected)


def test_a_circle_of_jobs_is_named() -> None:
    jobs = [f"  {a}: {{runs-on: x, needs: {b}, {STEP}}}\n" for a, b in ("ab", "bc", "ca")]
    (error,) = errors("on: push\njobs:\n" + "".join(jobs))
    place, circle = error.split(": jobs need each other: ")
    first = "abc".index(circle[0])
    assert place == f"ci.yml:{3 + first}:26: jobs.{circle[0]}.needs"
    assert circle.split(" needs ") == list("abcabc"[first : first + 4])


def test_all_errors_are_told_in_the_files_order() -> None:
    text = (
        "nam: x\non: pusch\njobs:\n  a:\n    runs-on: x\n    steps:\n      - rn: make\n      - {run: x, shell: fish}\n"
    )
    with pytest.raises(WorkflowError) as caught:
        decode(text, file=".github/workflows/ci.yml")
    places = [error.split(": ")[0].rpartition("ci.yml:")[2] for error in caught.value.errors]
    assert places == ["1:1", "2:5", "7:9", "7:9", "8:25"]
    assert str(caught.value).startswith(".github/workflows/ci.yml:1:1: nam: unknown key; did you mean 'name'?")
    assert str(caught.value).endswith("(and 4 more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: push\n#" + "x" * (512 << 10), "ci.yml:1:1: the file is larger than 512 KiB"),
        (b"on: push\nname: \xff", "ci.yml:2:1: the file is not UTF-8"),
        ("on: \x01", "ci.yml:1:1: not YAML: the file contains a control character"),
    ],
)
def test_a_file_that_is_not_text(text: str | bytes, expected: str) -> None:
    assert errors(text) == (expected,)


def test_a_bomb_of_aliases_is_refused_before_it_is_walked() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (error,) = errors("\n".join(lines))
    assert "more than 20000 values" in error


@pytest.mark.parametrize(
    "text",
    [
        "on: push\njobs:\n" + "".join(f"  j{n}: {{runs-on: x, needs: j{n + 1}, {STEP}}}\n" for n in range(1500)),
        "on: push\njobs:\n" + "".join(f"  job{n}: {{runs-on: x, needs: jobx, {STEP}}}\n" for n in range(1500)),
        "on: push\nx: [" + "x," * 200_000 + "]",
        "on: " + "${{" * 100_000,
        "on: push\n" + "".join(f"key{n}: x\n" for n in range(9_000)),
        "on: {push: {branches: [" + "'" + "*a" * 127 + "', a]}}",
    ],
    ids=["a chain of jobs", "unknown needs", "many values", "open expressions", "unknown keys", "stars"],
)
def test_a_hostile_file_costs_no_more_than_moments(text: str) -> None:
    begun = time.monotonic()
    errors(text)
    assert time.monotonic() - begun < 5
