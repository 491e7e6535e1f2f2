"""What is known of the contexts before anything runs: their properties and the kinds of those.

Source: the tables of properties in GitHub's contexts reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from buildsys.core.event_kinds import KINDS
from buildsys.core.expression_values import Kind


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a value can be: anything where `kind` is None.

    An object has the properties `names`, and others of the shape `rest` if there is one. An array has items of the
    shape `item`; `filtered` is one that `*` made. A text with `strangers` has that property in it, which they write;
    one with `words` is one of these, or empty.
    """

    kind: Kind | None = None
    names: Mapping[str, Shape] = {}
    rest: Shape | None = None
    item: Shape | None = None
    filtered: bool = False
    strangers: str = ""
    words: tuple[str, ...] = ()


ANY = Shape()
TEXT = Shape(kind=Kind.STRING)
NUMBER = Shape(kind=Kind.NUMBER)
BOOLEAN = Shape(kind=Kind.BOOLEAN)
NULL = Shape(kind=Kind.NULL)


def closed(names: Mapping[str, Shape]) -> Shape:
    """An object with these properties and no others: the steps of a job, say, by their ids."""
    return Shape(kind=Kind.OBJECT, names=dict(names))


def opened(rest: Shape, names: Mapping[str, Shape] = MappingProxyType({})) -> Shape:
    """An object that may have properties beside `names`, of one shape."""
    return Shape(kind=Kind.OBJECT, names=dict(names), rest=rest)


def texts(names: Iterable[str]) -> dict[str, Shape]:
    return dict.fromkeys(names, TEXT)


def one_of(*words: str) -> Shape:
    return Shape(kind=Kind.STRING, words=words)


_RESULT = one_of("success", "failure", "cancelled", "skipped")

STEP = closed({"outputs": opened(TEXT), "conclusion": _RESULT, "outcome": _RESULT})
"""A property of `steps`."""

JOB = closed({"outputs": opened(TEXT), "result": _RESULT})
"""A property of `needs` and of `jobs`."""

_SERVICE = closed({"id": TEXT, "network": TEXT, "ports": opened(TEXT)})
# fmt: off
_GITHUB = (
    "action", "action_path", "action_ref", "action_repository", "action_status", "actor", "actor_id", "api_url",
    "artifacts", "artifacts_list", "base_ref", "env", "event_name", "event_path", "graphql_url", "head_ref", "job",
    "output", "path", "ref", "ref_name", "ref_type", "repository", "repository_id", "repository_owner",
    "repository_owner_id", "repositoryUrl", "retention_days", "run_id", "run_number", "run_attempt", "secret_source",
    "server_url", "sha", "state", "step_summary", "token", "triggering_actor", "workflow", "workflow_ref",
    "workflow_sha", "workspace",
)
# fmt: on
_JOB_TEXTS = ("workflow_ref", "workflow_sha", "workflow_repository", "workflow_file_path")
_RUNNER = ("name", "os", "arch", "temp", "tool_cache", "debug", "environment", "workspace")

CONTEXT_SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "github": closed(
            {
                **texts(_GITHUB),
                "event": opened(ANY),
                "event_name": one_of(*KINDS),
                "ref_protected": BOOLEAN,
                "ref_type": one_of("branch", "tag"),
            }
        ),
        "env": opened(TEXT),
        "vars": opened(TEXT),
        "secrets": opened(TEXT),
        "job": closed(
            {
                **texts(_JOB_TEXTS),
                "status": one_of("success", "failure", "cancelled"),
                "check_run_id": NUMBER,
                "container": closed(texts(("id", "network"))),
                "services": opened(_SERVICE),
            }
        ),
        "jobs": opened(JOB),
        "needs": opened(JOB),
        "steps": opened(STEP),
        "runner": closed(texts(_RUNNER)),
        "strategy": closed({"fail-fast": BOOLEAN, "job-index": NUMBER, "job-total": NUMBER, "max-parallel": NUMBER}),
        "matrix": opened(ANY),
        "inputs": opened(ANY),
        "buildsys": opened(ANY),
    }
)
"""The contexts of a workflow of which nothing else is known; one that is known is given in place of its entry."""
