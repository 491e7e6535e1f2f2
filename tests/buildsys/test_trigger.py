"""Which pushes a workflow wants, and what a build says of its event."""

from __future__ import annotations

from uuid import UUID

import pytest

from buildsys.core.forge import Push
from buildsys.core.trigger import default_env, match
from buildsys.core.workflow import decode


def reason(on: str, branch: str) -> str | None:
    workflow = decode(f"on: {on}\njobs: {{a: {{runs-on: x, steps: [run: x]}}}}", file="ci.yml")
    return match(workflow, Push(branch=branch, commit="1" * 40, title="", repository="octo/cat"))


@pytest.mark.parametrize(
    ("on", "branch", "expected"),
    [
        ("push", "anything/at-all", None),
        ("[pull_request, push]", "main", None),
        ("{push: }", "main", None),
        ("[pull_request, schedule]", "main", "it runs on pull_request, schedule, not on push"),
        ("{push: {branches: main}}", "main", None),
        ("{push: {branches: [main, 'release/**']}}", "release/1/2", None),
        ("{push: {branches: [main, 'release/**']}}", "x", "branch 'x' matches none of: main, release/**"),
        ("{push: {branches: []}}", "x", "branch 'x' matches none of: "),
        ("{push: {branches: ['r/**', '!r/old']}}", "r/new", None),
        ("{push: {branches: ['r/**', '!r/old']}}", "r/old", "branch 'r/old' is excluded by !r/old"),
        ("{push: {branches: ['r/**', '!r/old*', r/old2]}}", "r/old2", None),
        ("{push: {branches: ['!r/old', 'r/**']}}", "r/old", None),
        ("{push: {branches-ignore: ['wip/**']}}", "main", None),
        ("{push: {branches-ignore: ['wip/**']}}", "wip/a", "branch 'wip/a' is ignored by wip/**"),
        ("{push: {branches-ignore: ['wip/**', '!wip/keep']}}", "wip/keep", None),
        ("{push: {tags: ['v*']}}", "main", "it wants tags only"),
        ("{push: {tags-ignore: ['v*']}}", "main", "it wants tags only"),
        ("{push: {tags: ['v*'], branches: [main]}}", "main", None),
        ("{push: {branches: [main]}}", "a'b\n", 'branch "a\'b\\n" matches none of: main'),
    ],
)
def test_a_push_is_wanted_or_there_is_a_reason(on: str, branch: str, expected: str | None) -> None:
    assert reason(on, branch) == expected


def test_a_build_says_what_it_is_part_of() -> None:
    build = UUID(int=7)
    env = default_env(build_id=build, build_number=3, project="web", commit="1" * 40, branch="$(x)/'y'", event="push")
    assert env["CI"] == env["BUILDSYS"] == "true"
    assert env["BUILDSYS_BUILD_ID"] == env["BUILD_ID"] == str(build)
    assert env["BUILDSYS_BUILD_NUMBER"] == "3"
    assert env["BUILDSYS_PROJECT"] == env["PROJECT_KEY"] == "web"
    assert env["BUILDSYS_COMMIT"] == env["GITHUB_SHA"] == "1" * 40
    assert env["BUILDSYS_BRANCH"] == env["BRANCH_TO_BUILD"] == env["GITHUB_REF_NAME"] == "$(x)/'y'"
    assert env["GITHUB_REF"] == "refs/heads/$(x)/'y'"
    assert env["GITHUB_EVENT_NAME"] == "push"
    assert "GITHUB_ACTIONS" not in env
