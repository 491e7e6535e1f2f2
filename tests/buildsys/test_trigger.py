"""Which pushes a workflow wants, and GitHub's patterns."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from buildsys.core.forge import Push
from buildsys.core.glob import Glob
from buildsys.core.trigger import default_env, match
from buildsys.core.workflow import decode


def reason(on: str, branch: str) -> str | None:
    workflow = decode(f"on: {on}\njobs: {{a: {{runs-on: x, steps: [run: x]}}}}", file="ci.yml")
    return match(workflow, Push(branch=branch, commit="1" * 40, title="", repository="octo/cat"))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("main", ["main"], ["mai", "main2", "Main", "a/main", ""]),
        ("*", ["main", "a.b-c"], ["a/b", "/"]),
        ("**", ["main", "a/b", "a/b/c", ""], []),
        ("feature/*", ["feature/a", "feature/"], ["feature/a/b", "feature", "x/feature/a"]),
        ("feature/**", ["feature/a", "feature/a/b/c"], ["feature", "features/a"]),
        ("*feature", ["feature", "my-feature"], ["a/feature", "feature2"]),
        ("**feature", ["feature", "a/b/my-feature"], ["feature/x"]),
        ("**/main", ["main", "a/main", "a/b/main"], ["amain", "main/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb/c"]),
        ("v[12].[0-9]+.[0-9]+", ["v1.10.1", "v2.0.0"], ["v3.0.0", "v1.10", "v1..1"]),
        ("v2*", ["v2", "v2.0", "v2.9"], ["v1", "v2/a"]),
        ("colou?r", ["color", "colour"], ["colouur", "colou"]),
        ("ab+c", ["abc", "abbbc"], ["ac", "abbd"]),
        ("[CB]at", ["Cat", "Bat"], ["at", "cat", "CBat"]),
        ("[1-2]00", ["100", "200"], ["300", "1-200"]),
        ("[a-cX-Z_]?x", ["x", "bx", "Yx", "_x"], ["dx", "abx"]),
        (r"a\*b\?\[c\]\\", ["a*b?[c]\\"], ["axb?[c]\\", "ab"]),
        ("a.b", ["a.b"], ["axb"]),
        ("ü*", ["ünï"], ["unï"]),
        ("", [""], ["a"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    glob = Glob.parse(pattern)
    assert [name for name in matching if not glob.matches(name)] == []
    assert [name for name in others if glob.matches(name)] == []


@pytest.mark.parametrize(
    "pattern", ["?", "+a", "a**?", "a?+", "*+", "[", "[]", "[a", "[z-a]", "[a-9]", "a\\", "x" * 256]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Glob.parse(pattern)


def test_a_hostile_pattern_takes_no_longer_than_another() -> None:
    begun = time.monotonic()
    assert not Glob.parse("*a" * 60 + "**b" * 30 + "!").matches("a" * 2000)
    assert time.monotonic() - begun < 2


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
