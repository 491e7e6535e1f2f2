"""What is said of a build's jobs: how those that are over ended, and what is to be done now."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from buildsys.core.planned import PlannedJob


class Result(StrEnum):
    """How a job ended, in GitHub's words: what `needs.<job_id>.result` is."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class JobEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended; one that timed out is cancelled, one that was lost is a failure.

    `order` tells which of several ended last: when that was, in any unit.
    """

    result: Result
    outputs: dict[str, str] = {}
    order: float = 0.0


Rows = Mapping[str, JobEnd | None]
"""A build's jobs by their ids: all that were started, skipped or failed; None for those that are not over."""


class Skip(msgspec.Struct, frozen=True, kw_only=True, tag="skip"):
    """A job that does not run: its row is one with the result `skipped`."""

    id: str
    name: str
    reason: str


class Fail(msgspec.Struct, frozen=True, kw_only=True, tag="fail"):
    """A job that cannot be planned: its row is one with the result `failure`."""

    id: str
    name: str
    message: str


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """All combinations of a job: a row for each, offered to runners unless it is held."""

    jobs: tuple[PlannedJob, ...]


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Jobs to be ended, and why; said again until they are over."""

    ids: tuple[str, ...]
    reason: str


Decision = Skip | Fail | Start | Cancel


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done now. `held` are jobs that have a row and may not be offered yet, each with the reason.

    `over` are the called workflows, by the jobs that call them, of which no job can still start or run. `result` is the
    build's, None while a job can still start or run.
    """

    decisions: tuple[Decision, ...]
    held: dict[str, str]
    over: frozenset[str]
    result: Result | None
