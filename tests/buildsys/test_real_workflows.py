"""Public workflow files as they are: decoded, planned, and compared with what GitHub's documentation says of them."""

from __future__ import annotations

import hashlib
import tomllib
from typing import Any

import pytest
from real_workflows import FOLDER, Expectation, Walked, described, expectations, group_of, names_of, plan_of

from buildsys.core.workflow_file import examine_action, examine_workflow
from buildsys.lint import lint

EXPECTED = expectations()
INDEX: list[dict[str, Any]] = tomllib.loads((FOLDER / "index.toml").read_text())["repository"]
PATHS = {f"{one['folder']}/{path}": one for one in INDEX for path in one["files"]}


@pytest.mark.parametrize("expected", EXPECTED.values(), ids=EXPECTED)
def test_jobs_and_steps(expected: Expectation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every action were there; workflows of other repositories are not, so what calls one fails."""
    monkeypatch.setattr("buildsys.core.course_walk.lacking", lambda steps, defaults: None)
    plan = plan_of(expected)
    walked = Walked(plan, expected.ends)
    assert (plan.workflow.name, group_of(plan)) == (expected.name, expected.concurrency)
    assert sorted(plan.secrets.required) == expected.secrets
    assert walked.results.keys() == expected.jobs.keys()
    for job, said in expected.jobs.items():
        assert described(walked, job) == (said | {"names": names_of(said)} if "names" in said else said), job


@pytest.mark.parametrize("expected", EXPECTED.values(), ids=EXPECTED)
def test_what_becomes_of_them_here(expected: Expectation) -> None:
    """With what is built in: jobs that need more fail, what they hold up is skipped, all else runs."""
    walked = Walked(plan_of(expected), expected.ends)
    assert walked.results == expected.here
    for id, end in walked.rows.items():
        if end is not None and end.result == "failure":
            assert "is not built in" in walked.reasons[id], (id, walked.reasons[id])


@pytest.mark.parametrize("path", PATHS)
def test_no_file_is_refused(path: str) -> None:
    examine = examine_action if path.endswith("action.yml") else examine_workflow
    examined = examine((FOLDER / "files" / path).read_bytes(), file=path)
    assert [str(finding) for finding in examined.findings if finding.severity == "error"] == []


def test_lint_says_where_an_action_is_not_built_in() -> None:
    file = FOLDER / "files/mcollina-reusify/.github/workflows/ci.yml"
    found = [(finding.line, finding.column, finding.message.partition(";")[0]) for finding in lint([file]).findings]
    assert found == [(line, 15, "actions/setup-node@v4 is not built in") for line in (19, 44, 65, 86)]


def test_every_file_is_in_the_index_as_it_was() -> None:
    """`git hash-object` names each: what its repository holds under that name is the same, byte for byte."""
    there = {str(path.relative_to(FOLDER / "files")) for path in (FOLDER / "files").rglob("*") if path.is_file()}
    licences = {path for path in there if path.endswith(("/LICENSE", "/NOTICE"))}
    assert {path.removesuffix("/LICENSE") for path in licences} >= {one["folder"] for one in INDEX}
    assert there - licences == PATHS.keys()
    for path, one in PATHS.items():
        content = (FOLDER / "files" / path).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        assert one["files"][path.removeprefix(f"{one['folder']}/")] == blob, path


def test_every_workflow_has_an_expectation_or_is_called_by_one_that_has() -> None:
    workflows = {path for path in PATHS if "/workflows/" in path}
    called = {
        f"{expected.file.partition('/')[0]}/{path}"
        for expected in EXPECTED.values()
        for path in plan_of(expected).called
    }
    assert {expected.file for expected in EXPECTED.values()} | called == workflows
