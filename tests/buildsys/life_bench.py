"""Builds' lives for tests: of jobs that need each other, or of what a workflow says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import zstandard
from planning_cases import plan_of

from buildsys.core.assignment import ContainerStarted, Item, JobStopped, LogBatch, StepStarted, StepStopped
from buildsys.core.build import Outcome
from buildsys.objects.build_life import BuildLife
from buildsys.objects.job_life import JobLife

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNER = UUID(int=7)


def apply(life: BuildLife, job: JobLife, item: Item) -> bool:
    return life.apply(job, item, NOW)


def life_of(**needs: tuple[str, ...]) -> BuildLife:
    """A build whose jobs, one step each, need each other as given."""
    return BuildLife.of_plan(uuid4(), plan_of(json.dumps({id: {"needs": needed} for id, needed in needs.items()})))


def claimed(life: BuildLife, name: str) -> JobLife:
    job = life.jobs[name]
    life.offer(job, uuid4())
    life.claim(job, RUNNER, 1, NOW)
    return job


def run(life: BuildLife, name: str, outcome: Outcome = Outcome.SUCCESS) -> JobLife:
    job = claimed(life, name)
    items: list[Item] = [
        StepStarted(step=0, at=NOW),
        ContainerStarted(container="c1", driver="process", at=NOW),
        StepStopped(step=0, outcome=Outcome.SUCCESS, exit_code=None, at=NOW),
        StepStarted(step=1, at=NOW),
        LogBatch(step=1, offset=0, end=6, lines=1, frame=zstandard.compress(b"hello\n"), at=NOW),
        StepStopped(step=1, outcome=outcome, exit_code=0 if outcome == Outcome.SUCCESS else 1, at=NOW),
        JobStopped(outcome=outcome, at=NOW),
    ]
    for item in items:
        assert apply(life, job, item)
    return job


def started(**needs: tuple[str, ...]) -> BuildLife:
    life = life_of(**needs)
    life.start(NOW)
    return life


def driven(text: str) -> BuildLife:
    life = BuildLife.of_plan(uuid4(), plan_of(text))
    life.start(NOW)
    return life
