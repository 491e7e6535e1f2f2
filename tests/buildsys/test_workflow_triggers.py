"""serverless-cd's `triggers`: what they want, from their own documentation's sample on."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from inbox_bench import Inbox, inbox_on

from actors import Database
from buildsys.core.payload_filter import MAX_LENGTH, parse_filter
from buildsys.core.workflow_file import decode_workflow
from buildsys.errors import WorkflowError

FILE = ".buildsys.yml"
SAMPLE = """\
name: Deploy
triggers:
  github:
    events:
      - eventName: "push"
        filter: 'body.ref in ["refs/heads/main"]'
steps:
  - run: echo deployed
"""
BODY: dict[str, Any] = {
    "ref": "refs/heads/main",
    "size": 3,
    "forced": False,
    "commits": [{"id": "a"}, {"id": "b"}],
    "head_commit": {"message": 'Say "hi"; it\'s on'},
    "repository": {"default-branch": "main"},
    "none": None,
}


@pytest.fixture
async def inbox(database: Database, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with inbox_on(database, tmp_path) as inbox:
        yield inbox


async def outcome(inbox: Inbox, id: str) -> tuple[str | None, str | None, int]:
    delivery = await inbox.settled(id)
    return delivery.outcome, delivery.reason, len(delivery.builds)


async def test_the_sample_builds_its_branch_and_says_why_nothing_else(inbox: Inbox) -> None:
    commit = inbox.repository.commit({FILE: SAMPLE})
    inbox.repository.branch("topic")
    assert await outcome(inbox, await inbox.push(commit)) == ("built", None, 1)
    reason = f"""{FILE}: what was sent does not fit body.ref in ["refs/heads/main"]"""
    assert await outcome(inbox, await inbox.push(commit, branch="topic")) == ("skipped", reason, 0)
    issue = await inbox.keep("issues", json.dumps({"action": "opened"}).encode())
    assert await outcome(inbox, issue) == ("skipped", "the event 'issues' starts no build", 0)


async def test_a_start_by_hand_is_a_push_of_its_branch(inbox: Inbox) -> None:
    inbox.repository.commit({FILE: SAMPLE})
    assert len(await inbox.builder.start(inbox.project, by="ann")) == 1


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('body.ref in ["refs/heads/main"]', True),
        ("body.ref in ['refs/heads/x', 'refs/heads/main']", True),
        ('body.ref in ["refs/heads/x"]', False),
        ('body.ref not in ["refs/heads/x"]', True),
        ('"heads/ma" in body.ref', True),
        ('"ref" in body', True),
        ('"reff" in body', False),
        ('body.ref == "refs/heads/main" && body.size == 3', True),
        ("body.size === 3 and body.size !== 4", True),
        ('body.ref == "x" || body.commits[1].id == "b"', True),
        ('body["repository"]["default-branch"] == "main"', True),
        ("body.repository.default-branch == 'main'", True),
        ("!body.forced", True),
        ("not body.forced or body.nothing", True),
        ("!!body.none", False),
        ("body.forced == false", True),
        ("body.forced == 0", False),
        ("body.constructor || body.__class__", False),
        ("body.missing.deep[3].more == null", True),
        ("body.commits[2] == null", True),
        ("body.commits[0.5] == null", True),
        ('body.head_commit.message == "it\'s"', False),
        ("(body.size == 4 || body.forced) && true", False),
        ("body.size == 4 || (body.forced == false && body.commits)", True),
        ("body.repository == body.repository", False),
        ('"x" in body.size', False),
        ("-1 != body.size", True),
        ("body", True),
        ("[]", True),
        ('""', False),
    ],
)
def test_filters(text: str, fits: bool) -> None:
    assert parse_filter(text)(BODY) is fits


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a value"),
        ("body.ref in", "found the end"),
        ("body.ref = 'x'", "cannot read \"= 'x'\""),
        ("__import__('os')", "found __import__"),
        ("body.ref.startsWith('x')", "expected the end, found ("),
        ("ref == 'x'", "expected a value such as body.ref"),
        ("body.ref == 'x", 'cannot read "\'x"'),
        ("body.ref == `x`", "cannot read"),
        ("body..ref", "expected name"),
        ("(" * 60 + "body" + ")" * 60, "nested deeper than 50"),
        ("[" * 60 + "]" * 60, "nested deeper than 50"),
        ("body" + "[body" * 60 + "]" * 60, "nested deeper than 50"),
        ("!" * 1990 + "body x", "expected the end"),
        ("x" * (MAX_LENGTH + 1), "at most"),
    ],
)
def test_what_is_no_filter(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_filter(text)


@pytest.mark.parametrize(
    ("triggers", "error"),
    [
        ("{}", "triggers: missing 'github'"),
        ("{gitlab: {events: []}}", "triggers.gitlab: unknown key"),
        ("{github: {}}", "triggers.github: missing 'events'"),
        ("{github: {events: [{filter: body}]}}", "triggers.github.events[0]: missing 'eventName'"),
        ("{github: {events: [{eventName: pushed}]}}", "no build comes from the event 'pushed'; did you mean 'push'?"),
        ("{github: {events: [{eventName: push, filter: 'eval(1)'}]}}", "events[0].filter: expected a value"),
    ],
)
def test_wrong_triggers_are_told_with_their_place(triggers: str, error: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        decode_workflow(f"triggers: {triggers}\nsteps: [run: x]", file=FILE)
    assert any(found.startswith(f"{FILE}:1:") and error in found for found in caught.value.errors)


def test_triggers_stand_in_place_of_on() -> None:
    with pytest.raises(WorkflowError, match="triggers: cannot stand beside 'on'"):
        decode_workflow("on: push\n" + SAMPLE, file=FILE)
    with_jobs = SAMPLE.partition("steps:")[0] + "jobs: {a: {runs-on: linux, steps: [run: x]}}"
    assert list(decode_workflow(with_jobs, file=FILE).on.filters) == ["push"]
