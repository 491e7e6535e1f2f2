"""The `github` context of each kind of event, and the variables that steps have of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from planning_cases import FACTS, PUSH

from buildsys.core.contexts import build_contexts, default_environment, github_context
from buildsys.core.events import Event

PULL = Event(
    name="pull_request",
    action="opened",
    ref="refs/pull/7/merge",
    sha="fee1",
    base_branch="main",
    head_branch="topic/x",
    payload={"number": 7, "repository": {"id": 1, "owner": {"id": 2}}, "sender": {"login": "bob", "id": 3}},
)
TAG = Event(name="push", ref="refs/tags/v1.0/rc", sha="aa")
TIMED = Event(name="schedule", ref="refs/heads/main", sha="aa", payload={"schedule": "0 0 * * *"})

PROPERTIES: list[tuple[str, Event, str, Any]] = [
    ("event_name: the name of the event", PULL, "event_name", "pull_request"),
    ("event: the full payload", PULL, "event", PULL.payload),
    ("sha: the commit that triggered the run", PUSH, "sha", "c0ffee"),
    ("ref: fully formed, of a branch", PUSH, "ref", "refs/heads/main"),
    ("ref: fully formed, of a pull request", PULL, "ref", "refs/pull/7/merge"),
    ("ref: fully formed, of a tag", TAG, "ref", "refs/tags/v1.0/rc"),
    ("ref_name: the short name of a branch", PUSH, "ref_name", "main"),
    ("ref_name: the short name of a tag", TAG, "ref_name", "v1.0/rc"),
    ("ref_name: NUMBER/merge of a pull request", PULL, "ref_name", "7/merge"),
    ("ref_type: branch or tag", PUSH, "ref_type", "branch"),
    ("ref_type: branch or tag", TAG, "ref_type", "tag"),
    ("ref_type: branch or tag", PULL, "ref_type", "branch"),
    ("base_ref: the target of a pull request, of no other event", PULL, "base_ref", "main"),
    ("base_ref: the target of a pull request, of no other event", PUSH, "base_ref", ""),
    ("head_ref: the source of a pull request, of no other event", PULL, "head_ref", "topic/x"),
    ("head_ref: the source of a pull request, of no other event", TIMED, "head_ref", ""),
    ("actor: who triggered the run", PULL, "actor", "bob"),
    ("actor: who triggered the run", TIMED, "actor", ""),
    ("actor_id: the account's id", PULL, "actor_id", "3"),
    ("triggering_actor: who initiated the run", PULL, "triggering_actor", "bob"),
    ("repository: owner and name", PUSH, "repository", "acme/web"),
    ("repository_owner: the owner's name", PUSH, "repository_owner", "acme"),
    ("repository_id: the repository's id", PULL, "repository_id", "1"),
    ("repository_owner_id: the owner's id", PULL, "repository_owner_id", "2"),
    ("run_id: unique to the run, and the same for its attempts", PUSH, "run_id", "b-1"),
    ("run_number: counts the runs, begins with 1", PUSH, "run_number", "12"),
    ("run_attempt: begins with 1", PUSH, "run_attempt", "1"),
    ("workflow: its name", PUSH, "workflow", "ci"),
    (
        "workflow_ref: the path to the workflow",
        PUSH,
        "workflow_ref",
        "acme/web/.github/workflows/ci.yml@refs/heads/main",
    ),
    ("workflow_sha: the commit of the workflow file", PUSH, "workflow_sha", "c0ffee"),
    ("server_url", PUSH, "server_url", "https://forge.example"),
    ("api_url", PUSH, "api_url", "https://forge.example/api/v3"),
    ("graphql_url", PUSH, "graphql_url", "https://forge.example/api/graphql"),
    ("retention_days: a number of days", PUSH, "retention_days", "0"),
    ("ref_protected: a boolean", PUSH, "ref_protected", False),
]


@pytest.mark.parametrize(("event", "name", "value"), [case[1:] for case in PROPERTIES])
def test_properties(event: Event, name: str, value: Any) -> None:
    found = github_context(event, FACTS)[name]
    assert (type(found), found) == (type(value), value)


def test_all_contexts_of_a_build() -> None:
    contexts = build_contexts(PUSH, FACTS, inputs={"dry": True}, variables={"V": "1"})
    assert contexts["inputs"] == {"dry": True}
    assert contexts["vars"] == {"V": "1"}
    assert contexts["buildsys"] == {"build_id": "b-1", "build_number": 12, "project": "web"}


def test_whoever_asked_for_the_build_is_its_actor() -> None:
    facts = msgspec.structs.replace(FACTS, actor="carol")
    assert github_context(PUSH, facts)["actor"] == "carol"


def test_a_forge_that_is_not_known_is_github() -> None:
    github = github_context(PUSH, msgspec.structs.replace(FACTS, server_url=""))
    assert [github[name] for name in ("server_url", "api_url", "graphql_url")] == [
        "https://github.com",
        "https://api.github.com",
        "https://api.github.com/graphql",
    ]


@pytest.mark.parametrize(
    "payload",
    [{"sender": None}, {"sender": []}, {"sender": "x"}, {"sender": {"login": {"a": 1}, "id": True}}, {"repository": 1}],
)
def test_a_payload_of_another_shape_says_nothing(payload: dict[str, Any]) -> None:
    github = github_context(msgspec.structs.replace(PUSH, payload=payload), FACTS)
    assert github["actor"] == github["actor_id"] == github["repository_id"] == ""


VARIABLES = {
    "CI": "true",
    "BUILDSYS": "true",
    "BUILDSYS_BUILD_ID": "b-1",
    "BUILDSYS_BUILD_NUMBER": "12",
    "BUILDSYS_PROJECT": "web",
    "BUILDSYS_COMMIT": "fee1",
    "BUILDSYS_BRANCH": "topic/x",
    "BUILD_ID": "b-1",
    "PROJECT_KEY": "web",
    "BRANCH_TO_BUILD": "topic/x",
    "GITHUB_ACTOR": "bob",
    "GITHUB_ACTOR_ID": "3",
    "GITHUB_API_URL": "https://forge.example/api/v3",
    "GITHUB_BASE_REF": "main",
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_GRAPHQL_URL": "https://forge.example/api/graphql",
    "GITHUB_HEAD_REF": "topic/x",
    "GITHUB_JOB": "",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_REF_NAME": "7/merge",
    "GITHUB_REF_PROTECTED": "false",
    "GITHUB_REF_TYPE": "branch",
    "GITHUB_REPOSITORY": "acme/web",
    "GITHUB_REPOSITORY_ID": "1",
    "GITHUB_REPOSITORY_OWNER": "acme",
    "GITHUB_REPOSITORY_OWNER_ID": "2",
    "GITHUB_RETENTION_DAYS": "0",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_RUN_ID": "b-1",
    "GITHUB_RUN_NUMBER": "12",
    "GITHUB_SERVER_URL": "https://forge.example",
    "GITHUB_SHA": "fee1",
    "GITHUB_TRIGGERING_ACTOR": "bob",
    "GITHUB_WORKFLOW": "ci",
    "GITHUB_WORKFLOW_REF": "acme/web/.github/workflows/ci.yml@refs/pull/7/merge",
    "GITHUB_WORKFLOW_SHA": "fee1",
}


def test_the_default_variables() -> None:
    contexts = build_contexts(PULL, FACTS, inputs={}, variables={})
    assert default_environment(contexts) == VARIABLES


def test_a_job_is_named_in_its_variables() -> None:
    contexts = build_contexts(PUSH, FACTS, inputs={}, variables={})
    contexts["github"]["job"] = "test"
    environment = default_environment(contexts)
    assert environment["GITHUB_JOB"] == "test"
    assert environment["BUILDSYS_BRANCH"] == environment["BRANCH_TO_BUILD"] == "main"


def test_what_no_variable_can_hold_is_left_out() -> None:
    event = msgspec.structs.replace(PUSH, payload={"sender": {"login": "a\0b"}})
    contexts = build_contexts(event, FACTS, inputs={}, variables={})
    assert default_environment(contexts)["GITHUB_ACTOR"] == "ab"
