"""What a job's log says about secrets and commands, read again by a runner that was started anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from buildsys.runner.commands import LogCommands
from buildsys.runner.folder import JobFolder
from buildsys.runner.masking import Masks, StepMask

PIECE = 1 << 20


def learn(masks: Masks, *, folder: JobFolder, steps: Iterable[int], limit: int) -> None:
    """Have `masks` know what was printed in these steps, which have ended, in the order in which they ran.

    `limit` is how much of a log is kept. Of a log that was lost nothing is known.
    """
    for step in steps:
        if step not in masks.known:
            mask = StepMask(masks, step=step)
            for data in printed(folder, step, limit):
                mask.learn(data)
            mask.end()


def recall(masks: Masks, *, folder: JobFolder, step: int, offset: int) -> tuple[StepMask, LogCommands]:
    """The mask of a step as it is at a raw offset of its log, and the commands that were shown up to there.

    `masks` know all that was printed before the step.
    """
    mask, commands = StepMask(masks, step=step), LogCommands(mask=masks.mask)
    rest = b""
    for data in _pieces(folder, step, offset):
        mask.learn(data)
        rest = _show(rest + data, mask, commands, complete=False)
    _show(rest, mask, commands, complete=True)
    if mask.offset == offset:
        return mask, commands
    return StepMask(masks, step=step, offset=offset), LogCommands(mask=masks.mask)


def _show(data: bytes, mask: StepMask, commands: LogCommands, *, complete: bool) -> bytes:
    """Release what can be of the next bytes, which are learned, and return the others."""
    while data:
        masked = mask.look(data, complete=complete, patient=True)
        if (cut := masked.cut(len(data))) == 0:
            break
        commands.read(masked.text(cut))
        mask.release(data[:cut])
        data = data[cut:]
    return data


def printed(folder: JobFolder, step: int, limit: int = sys.maxsize) -> Iterator[bytes]:
    """The output of a step that has ended, as far as it is kept, in pieces."""
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
