"""A log is cut at its limit, and commands are told whose lines are parted, ended late or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from step_log import STEP, Clock, append, end, follower, new_folder, rest, step, text

from buildsys.runner.folder import JobFolder
from buildsys.runner.follow import LogFollower
from buildsys.runner.masking import Masks
from buildsys.runner.recall import recall


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return new_folder(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("buildsys.runner.follow.time.monotonic", clock.monotonic)
    return clock


def note(limit: int) -> bytes:
    return b"buildsys: the build's log limit of %d bytes was reached; the rest is not kept\n" % limit


def test_where_a_log_is_cut_as_it_is_written(folder: JobFolder) -> None:
    log = follower(folder, log_limit=512)
    append(folder, (b"x" * 63 + b"\n") * 8)
    assert len(text(log.take())) == 512
    assert log.take(eager=True) is None
    (step(folder) / "truncated").touch()
    assert text(log.take()) == note(512)
    assert (log.take(), log.finish(), log.offset, log.is_cut) == (None, None, 512, True)


def test_behind_the_limit_nothing_is_read(folder: JobFolder, clock: Clock) -> None:
    """Not even of a log that the step itself blew up, and that is told once."""
    log = follower(folder, log_limit=4096)
    append(folder, b"hello\n")
    assert text(log.take()) == b"hello\n"
    os.truncate(step(folder) / "log", 1 << 40)
    clock.now += 5.0
    joined = text(log.take()) + rest(log)
    assert joined == bytes(4096 - len(b"hello\n")) + b"\n" + note(4096)
    assert log.offset == 4096
    assert log.finish() is None


@pytest.mark.parametrize("running", [True, False])
def test_the_limit_is_exact_and_told_at_once(folder: JobFolder, running: bool) -> None:
    log = follower(folder, log_limit=1000)
    log.allow(15)
    append(folder, b"first\nsecond\nthird\n")
    if not running:
        end(folder)
    batch = log.take() if running else log.finish()
    assert text(batch) == b"first\nsecond\nth\n" + note(1000)
    assert batch is not None
    assert (batch.end, batch.truncated, batch.lines) == (15, True, 4)
    assert (log.take(), log.finish()) == (None, None)


def test_a_log_that_ends_with_the_limit_is_whole(folder: JobFolder) -> None:
    log = follower(folder)
    log.allow(6)
    append(folder, b"hello\n")
    end(folder)
    assert text(log.take()) == b"hello\n"
    assert (log.take(), log.finish(), log.is_cut) == (None, None, False)


def test_nothing_left_is_told_to_who_prints(folder: JobFolder) -> None:
    log = follower(folder)
    append(folder, b"hello\n")
    assert text(log.take()) == b"hello\n"
    log.allow(0)
    assert log.take(eager=True) is None
    append(folder, b"more\n")
    batch = log.take()
    assert text(batch) == note(1 << 30)
    assert batch is not None
    assert (batch.offset, batch.end, batch.truncated) == (6, 6, True)


def test_a_log_that_was_cut_stays_so(folder: JobFolder) -> None:
    append(folder, b"hello\n")
    mask, commands = recall(Masks(()), folder=folder, step=STEP, offset=2)
    log = LogFollower(folder=folder, mask=mask, commands=commands, log_limit=1 << 30, is_cut=True)
    assert (log.take(eager=True), log.finish()) == (None, None)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("shown", range(1, 8))
def test_a_secret_that_the_limit_parts_is_not_shown(folder: JobFolder, shown: int, running: bool) -> None:
    log = follower(folder, "hunter2!", log_limit=1 << 20)
    log.allow(4 + shown)
    append(folder, b"pwd hunter2! and more\n")
    if not running:
        end(folder)
    assert text(log.take() if running else log.finish()) == b"pwd \n" + note(1 << 20)
    assert log.offset == 4 + shown


def test_a_value_that_the_limit_parts_is_not_shown(folder: JobFolder) -> None:
    log = follower(folder)
    log.allow(40)
    append(folder, b"::add-mask::" + b"secret" * 10 + b"\n" + b"secret" * 10)
    assert text(log.take()) == b"::add-mask::\n" + note(1 << 30)


def test_a_flood_is_kept_up_to_the_limit(folder: JobFolder, clock: Clock) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(300_000))
    append(folder, lines)
    log = follower(folder, "hunter2!")
    log.allow(left := 2_500_001)
    joined, batches = b"", 0
    while (batch := log.take(eager=True)) is not None:
        joined, batches = joined + text(batch), batches + 1
    assert joined == lines[:left] + b"\n" + note(1 << 30)
    assert (log.offset, batches) == (left, 3)


@pytest.mark.parametrize("stays_open", [True, False])
def test_the_command_of_a_line_without_end(folder: JobFolder, clock: Clock, stays_open: bool) -> None:
    """However long it stays open, and wherever a batch ends meanwhile."""
    log = follower(folder)
    append(folder, b"hello\n::error::it bro")
    batches = [log.take()]
    for more in (b"k", b"e"):
        clock.now += 5.0 * stays_open
        batches += [log.take(), log.take()]
        append(folder, more)
    end(folder)
    while (batch := log.finish()) is not None:
        batches.append(batch)
    told = [(batch, command) for batch in batches if batch is not None for command in batch.commands]
    assert [command.message for _, command in told] == ["it broke"]
    assert told[0][0] == batches[-1]
    assert b"".join(text(batch) for batch in batches) == b"hello\n::error::it broke"


@pytest.mark.parametrize("secret", ["t0ken", "error", "other", "::err", "2\n::other::", "unseen"])
def test_commands_are_the_same_after_a_restart(folder: JobFolder, clock: Clock, secret: str) -> None:
    """They are read as they are shown, also where a secret is a part of them."""
    printed = (
        b"::error::1\n::stop-commands::t0ken\n::error::2\n::other::\n::error::3\n::t0ken::\n::notice::4\n::error::5"
    )
    log = follower(folder, secret)
    told: list[tuple[int, str | None]] = []
    stops = {0}
    for at in range(len(printed)):
        append(folder, printed[at : at + 1])
        clock.now += 2.0
        if (batch := log.take()) is not None:
            stops.add(batch.end)
            told += [(batch.end, command.message) for command in batch.commands]
    end(folder)
    while (batch := log.finish()) is not None:
        told += [(batch.end, command.message) for command in batch.commands]
    assert len(stops) > 40
    assert told
    for stop in stops:
        again, behind = follower(folder, secret, offset=stop), list[str | None]()
        while (batch := again.finish()) is not None:
            behind += [command.message for command in batch.commands]
        assert behind == [message for ended, message in told if ended > stop]
