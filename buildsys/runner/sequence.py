"""Where a job's sequence of items stands, and how an item moves it on: the runner's reckoning between two replies."""

from __future__ import annotations

from msgspec.structs import replace

from buildsys.core.assignment import ContainerStarted, Item, JobStopped, LogBatch, Position, StepStarted


def counts(position: Position, item: Item) -> bool:
    """Whether the item is part of what the position says. A job's end never is: there is no position behind it."""
    match item:
        case ContainerStarted():
            return position.container is not None
        case StepStarted():
            return item.step in position.started
        case LogBatch():
            stored = item.end <= position.offset and position.cut >= item.truncated
            return item.step < position.step or (item.step == position.step and stored)
        case JobStopped():
            return False
        case _:
            return item.step in position.stopped


def advance(position: Position, item: Item) -> Position:
    """The position once the item counts."""
    match item:
        case ContainerStarted():
            return replace(position, container=item.container)
        case StepStarted():
            return replace(position, step=item.step, offset=0, cut=False, started=(*position.started, item.step))
        case LogBatch():
            return replace(position, step=item.step, offset=item.end, cut=item.truncated)
        case JobStopped():
            return position
        case _:
            return replace(position, stopped={**position.stopped, item.step: item.outcome})
