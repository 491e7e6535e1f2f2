"""A step's log on disk, as a container writes it and a runner follows it."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import zstandard

from buildsys.core.assignment import LogBatch
from buildsys.runner.folder import JobFolder, Program
from buildsys.runner.follow import LogFollower, kept
from buildsys.runner.masking import Masks
from buildsys.runner.recall import learn, recall

STEP = 2
EARLIER = 1


def new_folder(jobs: Path) -> JobFolder:
    """Of a job with two steps."""
    folder = JobFolder(jobs=jobs, assignment=uuid4())
    folder.claim("owner")
    folder.create()
    for number in (EARLIER, STEP):
        folder.add_step(number, Program(run=b"true\n", script=b"true\n"), log_limit=1 << 30)
    return folder


def step(folder: JobFolder, number: int = STEP) -> Path:
    return folder.path / "steps" / str(number)


def follower(folder: JobFolder, *secrets: str, offset: int = 0, log_limit: int = 1 << 30) -> LogFollower:
    """As a runner that was just started has it."""
    masks = Masks(secrets)
    learn(masks, folder=folder, steps=(EARLIER,), limit=kept(log_limit))
    mask, commands = recall(masks, folder=folder, step=STEP, offset=offset)
    return LogFollower(folder=folder, mask=mask, commands=commands, log_limit=log_limit)


def append(folder: JobFolder, data: bytes, *, number: int = STEP) -> None:
    with (step(folder, number) / "log").open("ab") as log:
        log.write(data)


def end(folder: JobFolder, *, number: int = STEP, nonce: str = "0123456789abcdef") -> None:
    append(folder, folder.marker + nonce.encode(), number=number)
    (step(folder, number) / "status").write_text(f"0 {nonce}\n")


def text(batch: LogBatch | None) -> bytes:
    return zstandard.decompress(batch.frame) if batch is not None else b""


def rest(log: LogFollower) -> bytes:
    joined = b""
    while (batch := log.finish()) is not None:
        joined += text(batch)
    return joined


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
