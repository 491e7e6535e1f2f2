"""What we ourselves have to say in a job's log: a step's log, or a step of its own behind those of its runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import zstandard

from buildsys.core.assignment import MAX_STEP_NAME, Item, JobStopped, LogBatch, StepStarted, StepStopped
from buildsys.core.build import Outcome
from buildsys.core.commands import MAX_ANNOTATIONS, LogCommand
from buildsys.objects.job_life import WITHIN, JobLife


def said(
    step: int,
    lines: Sequence[str],
    outcome: Outcome,
    at: datetime,
    *,
    name: str | None = None,
    commands: tuple[LogCommand, ...] = (),
) -> Iterator[Item]:
    """A step that prints some lines, as a runner would report it."""
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    frame = zstandard.compress(text)
    yield StepStarted(step=step, at=at, name=name)
    yield LogBatch(step=step, offset=0, end=len(text), lines=len(lines), frame=frame, at=at, commands=commands)
    yield StepStopped(step=step, outcome=outcome, exit_code=None, at=at)


def withheld(job: JobLife, end: JobStopped) -> Iterator[Item]:
    """A step that warns of the outputs of a job that are none since they may hold a secret; its name has theirs.

    GitHub leaves such outputs away with a warning, too.
    """
    if not end.withheld:
        return iter(())
    lines = [f"output {name!r} is withheld, since it may hold a secret" for name in end.withheld]
    commands = (
        LogCommand(line=number, kind="annotation", level="warning", message=line)
        for number, line in enumerate(lines[:MAX_ANNOTATIONS])
    )
    return said(
        max(WITHIN - 1, *job.steps) + 1,
        lines,
        Outcome.SUCCESS,
        end.at,
        name=f"Withheld outputs: {', '.join(end.withheld)}"[:MAX_STEP_NAME],
        commands=tuple(commands),
    )
