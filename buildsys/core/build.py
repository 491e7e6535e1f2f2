"""What is known of a build: two columns for its life, and the same for its jobs and steps."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class State(StrEnum):
    """Where something stands on its only way: queued → starting → running → stopped."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


class Outcome(StrEnum):
    """How something that is stopped ended: *failed* is the commit's doing; *errored* could not be run."""

    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    ERRORED = "errored"
    SKIPPED = "skipped"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a job. Number 0 is the set-up (fetch, image, container); the workflow's own begin at 1.

    Those within an action have numbers from 1001 on, and the step that uses it as their `parent`. One that is
    `tolerated` failed, and that is none of its job. `summary` is how many characters it wrote for people, if any.
    """

    number: int
    name: str
    parent: int | None = None
    state: State = State.QUEUED
    outcome: Outcome | None = None
    tolerated: bool = False
    exit_code: int | None = None
    summary: int | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a build's graph: one combination of a matrix, or before it is decided what will be all of them.

    `waiting` says why it is not offered to runners though it is to run. One that is `tolerated` failed, and that is
    none of its build. `time_limit` are the seconds that it may take: its own limit, or its build's where that is less.
    """

    id: str
    name: str
    needs: tuple[str, ...] = ()
    state: State = State.QUEUED
    outcome: Outcome | None = None
    tolerated: bool = False
    reason: str | None = None
    runner: str | None = None
    container: str | None = None
    waiting: str | None = None
    time_limit: float | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    steps: tuple[Step, ...] = ()


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a build's state history."""

    state: State
    at: datetime


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a workflow for a commit. `inputs` are those of its dispatch, told where one build is asked for."""

    id: UUID
    project: str
    number: int
    attempt: int
    retry_of: UUID | None
    workflow: str
    event: str
    branch: str
    commit: str
    title: str
    state: State
    outcome: Outcome | None
    reason: str | None
    waiting: str | None
    cancel_requested_at: datetime | None
    queued_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    inputs: dict[str, Any] = {}
    history: tuple[Transition, ...] = ()
    jobs: tuple[Job, ...] = ()
