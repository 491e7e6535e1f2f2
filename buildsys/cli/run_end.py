"""The end of a run: annotations, summaries, a table of jobs, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence

import click

from buildsys.cli.run_lines import annotation
from buildsys.cli.run_output import Narrator, duration
from buildsys.cli.terminal import COLORS, MARKS, Terminal, harmless, plain
from buildsys.core.build import Outcome
from buildsys.objects.build_life import BuildLife
from buildsys.objects.build_outcome import WORST_FIRST
from buildsys.objects.job_life import JobLife

MOST = 50
"""Annotations that are repeated at the end."""

ERRORED = 3
EXIT_CODES = {Outcome.SUCCESS: 0, Outcome.SKIPPED: 0, Outcome.ERRORED: ERRORED}
"""All others are 1."""


def exit_code(builds: Sequence[BuildLife]) -> int:
    """0 where all succeeded, 1 where one failed, 3 where something of ours did."""
    return EXIT_CODES.get(outcome_of(builds), 1)


def outcome_of(builds: Sequence[BuildLife]) -> Outcome:
    """The worst of them; skipped where all are."""
    outcomes = {life.outcome for life in builds}
    return next((worst for worst in (*WORST_FIRST, Outcome.SUCCESS) if worst in outcomes), Outcome.SKIPPED)


def tell_end(terminal: Terminal, builds: Sequence[BuildLife], narrator: Narrator, seconds: float) -> None:
    """What is worth reading again, and how everything ended."""
    if narrator.annotations:
        terminal.say()
        for place, command in narrator.annotations[:MOST]:
            terminal.say(f"{annotation(command)} {click.style(place, dim=True)}")
        if (more := len(narrator.annotations) - MOST) > 0:
            terminal.say(f"and {more} more")
    for life in builds:
        for job in life.jobs.values():
            _summarize(terminal, job)
    terminal.say()
    several = len(builds) > 1
    for life in builds:
        if several:
            terminal.say(click.style(plain(life.plan.workflow.path), bold=True))
        jobs = sorted(life.jobs.values(), key=lambda job: job.rank)
        terminal.table(["job", "outcome", "took", ""], [_row(terminal, job) for job in jobs])
    outcome = outcome_of(builds)
    reasons = {life.reason for life in builds if life.reason and life.outcome != Outcome.SUCCESS}
    why = "".join(f" · {plain(reason)}" for reason in sorted(reasons)) if len(reasons) == 1 else ""
    terminal.say()
    terminal.say(click.style(f"{MARKS[outcome]} {outcome} · {duration(seconds)}{why}", fg=COLORS[outcome], bold=True))


def _row(terminal: Terminal, job: JobLife) -> Sequence[str]:
    outcome = job.outcome or Outcome.CANCELED
    seconds = seconds_of(job)
    took = "" if seconds is None else duration(seconds)
    return plain(job.name), terminal.word(outcome), took, plain(job.reason or "")


def seconds_of(job: JobLife) -> float | None:
    """From its start to its end; None of a job that did not start."""
    if job.claimed_at is None or job.stopped_at is None:
        return None
    return max(0.0, (job.stopped_at - job.claimed_at).total_seconds())


def _summarize(terminal: Terminal, job: JobLife) -> None:
    """What the steps wrote into GITHUB_STEP_SUMMARY."""
    for step in job.steps.values():
        if step.summary and step.summary.strip():
            terminal.say(click.style(f"\nSummary of {plain(job.name)} / {plain(step.name)}", bold=True))
            lines = step.summary.strip("\n").split("\n")
            terminal.log([f"  {harmless(line, color=terminal.color)}" for line in lines])
