"""What a job's log says about secrets and commands, read again by a runner that was started anew."""

from __future__ import annotations

import os
from collections.abc import Iterator

from buildsys.core.commands import CommandScanner
from buildsys.runner.folder import SETUP, JobFolder
from buildsys.runner.masking import Masks, StepMask

PIECE = 1 << 20


def recall(masks: Masks, *, folder: JobFolder, step: int, offset: int, limit: int) -> StepMask:
    """The mask of a step as it is at a raw offset of its log, once `masks` know all that was printed before it.

    `limit` is how much of a log is kept. Of a log that was lost nothing is known.
    """
    for earlier in range(SETUP + 1, step):
        if earlier not in masks.known:
            mask = StepMask(masks, step=earlier)
            for data in _printed(folder, earlier, limit):
                mask.learn(data)
            mask.end()
    mask = StepMask(masks, step=step)
    for data in _pieces(folder, step, offset):
        mask.learn(data)
        mask.release(data)
    return mask if mask.offset == offset else StepMask(masks, step=step, offset=offset)


def recall_commands(*, folder: JobFolder, step: int, offset: int) -> CommandScanner:
    """What a step's output up to a raw offset says about the commands behind it."""
    scanner = CommandScanner()
    rest = b""
    for data in _pieces(folder, step, offset):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        scanner.scan(lines + newline)
        if len(rest) > PIECE:
            scanner.scan(rest)
            rest = b""
    scanner.scan(rest)
    return scanner


def _printed(folder: JobFolder, step: int, limit: int) -> Iterator[bytes]:
    """The output of a step that has ended."""
    end = folder.log_end(step)
    rest = b""
    for piece in _pieces(folder, step, limit):
        data = rest + piece
        found = data.find(end) if end else -1
        if found >= 0:
            yield data[:found]
            return
        known = len(data) - len(end) + 1 if end else len(data)
        yield data[: max(known, 0)]
        rest = data[max(known, 0) :]
    yield rest


def _pieces(folder: JobFolder, step: int, limit: int) -> Iterator[bytes]:
    """The first `limit` bytes of a log, if there are as many."""
    file = folder.open_log(step)
    if file is None:
        return
    try:
        offset = 0
        while data := os.pread(file, min(PIECE, limit - offset), offset):
            yield data
            offset += len(data)
    finally:
        os.close(file)
