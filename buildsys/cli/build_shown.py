"""A build as a person is shown it: how it stands, its jobs, and their steps."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from buildsys.cli.session import Session
from buildsys.cli.terminal import plain


def print_build(session: Session, build: dict[str, Any]) -> None:
    """All that is told of a build."""
    say, word = session.terminal.say, session.terminal.word
    say(f"{build_name(build)}  {word(build['outcome'] or build['state'])}  {took(build)}")
    rows = [
        ("id", build["id"]),
        ("commit", build["commit"] and f"{build['commit']} on {build['branch']}"),
        ("title", build["title"]),
        ("workflow", f"{build['workflow']}, by {build['event']}"),
        *(("input", f"{name}: {_written(value)}") for name, value in build["inputs"].items()),
        ("waits", build["waiting"]),
        ("reason", build["reason"]),
        *((passed["state"], passed["at"]) for passed in build["history"]),
    ]
    for key, value in rows:
        if value:
            say(f"  {click.style(f'{key:<10}', dim=True)}{plain(value)}")
    for job in build["jobs"]:
        _print_job(session, job)
    if any(step["summary"] for job in build["jobs"] for step in job["steps"]):
        say(f"\n  Its steps have written a summary: buildsys build summary {build['id']}")


def build_name(build: dict[str, Any]) -> str:
    """`PROJECT#NUMBER`, and which attempt it is of several."""
    attempt = f" attempt {build['attempt']}" if build["attempt"] > 1 else ""
    return f"{build['project']}#{build['number']}{attempt}"


def took(thing: dict[str, Any]) -> str:
    """For how long it has run; empty where it has not."""
    if not thing["started_at"]:
        return ""
    stopped = datetime.fromisoformat(thing["stopped_at"]) if thing["stopped_at"] else datetime.now(UTC)
    return f"{(stopped - datetime.fromisoformat(thing['started_at'])).total_seconds():.1f} s"


def in_order(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps, those of an action behind the step that uses it."""
    return sorted(steps, key=lambda step: _way(step, {each["number"]: each for each in steps}))


def _print_job(session: Session, job: dict[str, Any]) -> None:
    say, word = session.terminal.say, session.terminal.word
    details = [job["reason"] or job["waiting"], "allowed to fail" if job["tolerated"] else None]
    if job["time_limit"] and (not job["outcome"] or job["outcome"] == "timed_out"):
        details.append(f"limit {job['time_limit']:g} s")
    told = "; ".join(plain(detail) for detail in details if detail)
    aside = f" ({told})" if told else ""
    say(f"\n  {plain(job['name'])}  {word(job['outcome'] or job['state'])}{aside}  {took(job)}")
    known = {step["number"]: step for step in job["steps"]}
    for step in in_order(job["steps"]):
        code = f", exit {step['exit_code']}" if step["exit_code"] else ""
        allowed = ", allowed to fail" if step["tolerated"] else ""
        indent = "    " + "  " * (len(_way(step, known)) - 1)
        state = word(step["outcome"] or step["state"])
        say(f"{indent}{step['number']}  {plain(step['name'])}  {state}{code}{allowed}  {took(step)}")


def _way(step: dict[str, Any], known: dict[int, dict[str, Any]]) -> tuple[int, ...]:
    """The numbers from the outermost step to this one."""
    parent = known.get(step["parent"])
    return (*(_way(parent, known) if parent and parent["number"] < step["number"] else ()), step["number"])


def _written(value: Any) -> str:
    """An input's value as it was given, or as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
