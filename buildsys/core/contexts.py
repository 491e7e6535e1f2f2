"""The contexts of a build that are fixed when it is triggered, and the variables that every step has of them.

Source: "`github` context" in GitHub's contexts reference and "Default environment variables" in its variables
reference. What only the runner knows (`token`, `workspace`, the paths of files, `action`…) is the runner's to add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from buildsys.core.event_kinds import PULL_REQUEST
from buildsys.core.events import BRANCHES, TAGS, Event
from buildsys.core.forge_address import GITHUB, api_url, graphql_url


class BuildFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a build beside its event.

    `repository` is `OWNER/NAME` where the forge says it, else the project's name; `workflow` the workflow's name and
    `workflow_path` its file. `server_url` is the forge's; where that is not known, it is taken for GitHub.
    """

    build_id: str
    build_number: int
    project: str
    repository: str
    workflow: str
    workflow_path: str
    attempt: int = 1
    actor: str = ""
    server_url: str = ""


_VARIABLES = (
    *("actor", "actor_id", "api_url", "base_ref", "event_name", "graphql_url", "head_ref", "job", "ref", "ref_name"),
    *("ref_protected", "ref_type", "repository", "repository_id", "repository_owner", "repository_owner_id"),
    *("retention_days", "run_attempt", "run_id", "run_number", "server_url", "sha", "triggering_actor", "workflow"),
    *("workflow_ref", "workflow_sha"),
)
"""Properties of `github` that are variables as well: `GITHUB_` and the name in upper case."""


def build_contexts(event: Event, facts: BuildFacts, *, inputs: Mapping[str, Any], variables: Mapping[str, str]) -> Any:
    """`github`, `inputs`, `vars` and `buildsys`: what a build's own file is evaluated over."""
    return {
        "github": github_context(event, facts),
        "inputs": dict(inputs),
        "vars": dict(variables),
        "buildsys": {
            "build_id": facts.build_id,
            "build_number": facts.build_number,
            "project": facts.project,
        },
    }


def github_context(event: Event, facts: BuildFacts) -> dict[str, Any]:
    """The `github` context; what the event does not say is empty, as a property that is missing is.

    `run_id` is the build's id, a UUID where GitHub has a number. `actor` is who the payload calls its sender, unless
    the build was asked for by somebody else. `retention_days` is 0: how long logs stay no repository says, and no
    artifacts are kept.
    """
    of_pull_request = event.name.startswith(PULL_REQUEST)
    actor = facts.actor or _text(event.payload, "sender", "login")
    server = facts.server_url or GITHUB
    return {
        "event_name": event.name,
        "event": event.payload,
        "ref": event.ref,
        "ref_name": _ref_name(event.ref),
        "ref_type": "tag" if event.ref.startswith(TAGS) else "branch",
        "ref_protected": False,
        "sha": event.sha or "",
        "base_ref": event.base_branch if of_pull_request else "",
        "head_ref": event.head_branch if of_pull_request else "",
        "actor": actor,
        "actor_id": _text(event.payload, "sender", "id"),
        "triggering_actor": actor,
        "repository": facts.repository,
        "repository_id": _text(event.payload, "repository", "id"),
        "repository_owner": facts.repository.partition("/")[0],
        "repository_owner_id": _text(event.payload, "repository", "owner", "id"),
        "repositoryUrl": _text(event.payload, "repository", "git_url"),
        "run_id": facts.build_id,
        "run_number": str(facts.build_number),
        "run_attempt": str(facts.attempt),
        "server_url": server,
        "api_url": api_url(server),
        "graphql_url": graphql_url(server),
        "retention_days": "0",
        "secret_source": "Actions",
        "workflow": facts.workflow,
        "workflow_ref": f"{facts.repository}/{facts.workflow_path}@{event.ref}",
        "workflow_sha": event.sha or "",
    }


def contexts_of_attempt(contexts: Mapping[str, Any], *, build_id: str, attempt: int) -> dict[str, Any]:
    """A build's contexts for a further attempt of it, which is a build of its own with the same number."""
    return {
        **contexts,
        "github": {**contexts["github"], "run_id": build_id, "run_attempt": str(attempt)},
        "buildsys": {**contexts["buildsys"], "build_id": build_id},
    }


def default_environment(contexts: Mapping[str, Any]) -> dict[str, str]:
    """The variables of every step that say which build it is part of, from a job's contexts.

    `GITHUB_ACTIONS` is not among them: programs that see it print commands that only GitHub's own runner understands.
    A variable cannot hold a NUL; where the event has one it is left out.
    """
    github, build = contexts["github"], contexts["buildsys"]
    named = {name: github.get(name, "") for name in _VARIABLES}
    variables = {
        "CI": "true",
        "BUILDSYS": "true",
        "BUILDSYS_BUILD_ID": build["build_id"],
        "BUILDSYS_BUILD_NUMBER": build["build_number"],
        "BUILDSYS_PROJECT": build["project"],
        "BUILDSYS_COMMIT": github["sha"],
        "BUILDSYS_BRANCH": github["head_ref"] or github["ref_name"],
        "BUILD_ID": build["build_id"],
        "PROJECT_KEY": build["project"],
        "BRANCH_TO_BUILD": github["head_ref"] or github["ref_name"],
        **{f"GITHUB_{name.upper()}": str(value).lower() if value is False else value for name, value in named.items()},
    }
    return {name: str(value).replace("\0", "") for name, value in variables.items()}


def _ref_name(ref: str) -> str:
    """The short name: the branch, the tag, or `1/merge` of a pull request."""
    for prefix in (BRANCHES, TAGS, "refs/pull/"):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix)
    return ref


def _text(payload: Any, *path: str) -> str:
    """A text or a whole number deep in a payload, whatever shape that has; empty where there is none."""
    for name in path:
        payload = payload.get(name) if isinstance(payload, Mapping) else None
    return str(payload) if isinstance(payload, str | int) and not isinstance(payload, bool) else ""
