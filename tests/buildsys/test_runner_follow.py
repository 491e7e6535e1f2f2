"""A log is cut into batches that join to exactly what was printed, without any part of a secret or of the marker."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from masking_reference import masked
from step_log import EARLIER, STEP, Clock, append, end, follower, new_folder, rest, step, text

from buildsys.runner.folder import JobFolder
from buildsys.runner.follow import FLOOD
from buildsys.runner.masking import MOST_ADDED, PART
from buildsys.runner.patterns import STRIDE
from buildsys.runner.recall import PIECE
from buildsys.runner.sought import BEGINNINGS


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return new_folder(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("buildsys.runner.follow.time.monotonic", clock.monotonic)
    return clock


def test_a_line_after_quiet_goes_at_once_and_the_next_ones_gather(folder: JobFolder, clock: Clock) -> None:
    log = follower(folder)
    assert log.take() is None
    append(folder, b"one\n")
    assert text(log.take()) == b"one\n"
    append(folder, b"two\n")
    assert log.take() is None
    clock.now += 0.1
    append(folder, b"three\n")
    assert log.take() is None
    clock.now += 0.2
    assert text(log.take()) == b"two\nthree\n"


def test_an_open_line_is_cut_after_a_second(folder: JobFolder, clock: Clock) -> None:
    log = follower(folder)
    append(folder, b"whole\nopen")
    assert log.take() is None
    clock.now += 0.25
    first = log.take()
    assert (text(first), first and first.lines) == (b"whole\n", 1)
    clock.now += 0.9
    assert log.take() is None
    clock.now += 0.2
    second = log.take()
    assert (text(second), second and second.lines) == (b"open", 1)
    assert second is not None
    assert (second.offset, second.end) == (6, 10)


@pytest.mark.parametrize("character", ["é", "→", "🚀"])
def test_an_open_line_is_not_cut_in_a_character(folder: JobFolder, clock: Clock, character: str) -> None:
    log = follower(folder)
    encoded = character.encode()
    append(folder, b"x" + encoded + encoded[:-1])
    assert log.take() is None
    clock.now += 1.5
    assert text(log.take()) == b"x" + encoded
    append(folder, encoded[-1:])
    clock.now += 1.5
    assert text(log.take()) == encoded


def test_what_is_no_character_goes_as_it_is(folder: JobFolder, clock: Clock) -> None:
    log = follower(folder)
    append(folder, b"\xf0\x80")
    assert log.take() is None
    clock.now += 1.5
    assert text(log.take()) == b"\xf0\x80"


def test_a_flood_goes_in_large_batches(folder: JobFolder) -> None:
    log = follower(folder)
    flood = b"x" * 99 + b"\n"
    append(folder, flood * 30_000)
    batches = []
    while (batch := log.take()) is not None:
        batches.append(batch)
    assert max(batch.end - batch.offset for batch in batches) <= FLOOD
    assert len(batches) <= 4
    assert b"".join(map(text, batches)) + rest(log) == flood * 30_000


def test_nothing_from_the_marker_on(folder: JobFolder, clock: Clock) -> None:
    """However it arrives: no part of the marker, and nothing behind it."""
    log = follower(folder)
    append(folder, b"last\n")
    assert text(log.take()) == b"last\n"
    for byte in folder.marker:
        append(folder, bytes([byte]))
        clock.now += 5.0
        assert log.take() is None
    (step(folder) / "log").write_bytes(b"last\n")
    end(folder)
    append(folder, b"behind\n")
    clock.now += 5.0
    assert log.take() is None
    assert log.finish() is None


@pytest.mark.parametrize("size", [100, FLOOD - 50, FLOOD - 10, FLOOD, 3 * FLOOD])
def test_a_marker_that_the_step_prints_is_output(folder: JobFolder, clock: Clock, size: int) -> None:
    """It is kept back while the step runs, and nothing that follows it is lost; wherever the end lies."""
    log = follower(folder)
    forged = b"before\n" + folder.marker + b"0" * 16 + b"\n"
    printed = forged + b"x" * (size - len(forged) - 1) + b"\n"
    append(folder, printed)
    assert text(log.take()) == b"before\n"
    clock.now += 5.0
    assert log.take() is None
    end(folder)
    append(folder, b"behind\n" + folder.marker)
    assert rest(log) == printed.removeprefix(b"before\n")


def test_what_only_looks_like_the_marker_is_output(folder: JobFolder) -> None:
    log = follower(folder)
    almost = folder.marker[:-1] + b"?\n"
    append(folder, almost * 3 + folder.marker[:5])
    assert rest(log) == almost * 3 + folder.marker[:5]


def test_no_secret_in_any_cut(folder: JobFolder) -> None:
    """At every moment of every way to print it, and resumed anywhere a batch ended, the masked log is the same."""
    chance = random.Random(11)
    secrets = ("hunter2", "unter2-and-more", "line one\nline two", "aab")
    pieces = [
        *(b"hunter2", b"hunter2-and-more", b"line one\nline two", b"aaab", b"hunt", b"line one\n", b"\n", b" a ", b"z"),
        *(b"::add-mask::", b"\n::add-mask::line\n", b"::stop-commands::z\n", b"\n::z::\n"),
    ]
    append(folder, b"::add-mask::of-step-one", number=EARLIER)
    end(folder, number=EARLIER)
    for _ in range(60):
        (step(folder) / "log").unlink(missing_ok=True)
        printed = b"".join(chance.choices([*pieces, b"of-step-one"], k=40))
        joined = b""
        log = follower(folder, *secrets)
        for _ in range(12):
            cut = chance.randrange(len(printed) + 1)
            append(folder, printed[:cut])
            printed = printed[cut:]
            log._first -= chance.choice((0.0, 0.3, 2.0))
            joined += text(log.take(eager=chance.random() < 0.5))
            if chance.random() < 0.3:
                log.close()
                log = follower(folder, *secrets, offset=log.offset)
        append(folder, printed)
        joined += rest(log)
        whole = (step(folder) / "log").read_bytes()
        assert joined == masked(b"::add-mask::of-step-one", whole, secrets=secrets)[1]
        log.close()


def test_a_secret_s_beginning_is_held(folder: JobFolder, clock: Clock) -> None:
    """Four bytes of it until it is known what it is; fewer for a second after they came, and then what follows goes."""
    log = follower(folder, "hunter-z")
    append(folder, b"a hunt")
    assert log.take() is None
    clock.now += 5.0
    assert text(log.take()) == b"a "
    clock.now += 60.0
    assert log.take() is None
    append(folder, b" b hun")
    assert text(log.take()) == b"hunt b "
    clock.now += 0.9
    assert log.take() is None
    clock.now += 0.2
    assert text(log.take()) == b"hun"
    append(folder, b"ter-z")
    clock.now += 0.1
    assert log.take() is None
    clock.now += 1.5
    assert text(log.take()) == b"***"


def test_a_line_s_end_does_not_wait_for_a_secret_of_lines(folder: JobFolder, clock: Clock) -> None:
    """Any line that ends like one of its lines could be the beginning of the rest of it."""
    log = follower(folder, "{\n" + ",\n".join(f'"key {number}": "{number:09}"' for number in range(10)) + "\n}")
    append(folder, b'"another": "1",\n')
    assert text(log.take()) == b'"another": "1",\n'


def test_a_secret_of_repetition_does_not_stop_the_log(folder: JobFolder) -> None:
    """And no batch of it takes long, whatever it is made of."""
    append(folder, b"z" * (FLOOD // 2))
    log = follower(folder, "zzzz", "zzzzz0", "zzzzzz0")
    joined = b""
    while (batch := log.take(eager=True)) is not None:
        joined += text(batch)
        assert batch.end - batch.offset <= BEGINNINGS + STRIDE
    assert log.offset > FLOOD // 2 - 2 * PART
    joined += rest(log)
    assert joined == b"***" * (FLOOD // 2 // PART)


@pytest.mark.parametrize("size", [0, 1, 100, PIECE - 20, PIECE - 40, PIECE, 3 * PIECE])
def test_masks_of_an_earlier_step(folder: JobFolder, size: int) -> None:
    """They are in its log up to its end, wherever that lies, and not behind."""
    append(folder, b"x" * size + b"\n::add-mask::open-secret", number=EARLIER)
    end(folder, number=EARLIER)
    append(folder, b"\n::add-mask::forged\n", number=EARLIER)
    append(folder, b"open-secret forged " + folder.marker)
    assert rest(follower(folder)) == b"*** forged " + folder.marker


def test_masks_of_a_step_without_an_end(folder: JobFolder) -> None:
    append(folder, b"::add-mask::secret", number=EARLIER)
    append(folder, b"secret")
    assert rest(follower(folder)) == b"***"


def test_behind_the_limit_there_are_no_masks(folder: JobFolder) -> None:
    append(folder, b"::add-mask::secret\n".ljust(512) + b"\n::add-mask::more\n", number=EARLIER)
    append(folder, b"secret more\n")
    assert rest(follower(folder, log_limit=512)) == b"*** more\n"


def test_a_log_that_was_lost(folder: JobFolder) -> None:
    log = follower(folder, "hunter2", offset=1000)
    assert log.offset == 1000
    assert log.finish() is None
    append(folder, b"x" * 1000 + b" hunter2\n")
    assert rest(log) == b" ***\n"


def test_that_all_is_masked_is_told(folder: JobFolder, clock: Clock) -> None:
    append(folder, b"".join(b"::add-mask::value %d\n" % number for number in range(MOST_ADDED + 1)))
    append(folder, b"hidden\n" * 100_000)
    log = follower(folder)
    joined = b""
    while (batch := log.take(eager=True)) is not None:
        joined += text(batch)
        clock.now += 2.0
    joined += rest(log)
    assert joined.count(b"::add-mask::***\n") == MOST_ADDED
    assert b"hidden" not in joined
    assert joined.endswith(
        b"***\nbuildsys: the job added more secrets than are kept; all that it printed from there on is masked\n"
    )


@pytest.mark.parametrize(
    "plant",
    [
        lambda log: os.mkfifo(log),
        lambda log: log.symlink_to("/etc/passwd"),
        lambda log: log.mkdir(),
        lambda log: log.symlink_to(log),
    ],
)
def test_something_else_in_the_log_s_place_is_not_read(folder: JobFolder, plant: Callable[[Path], object]) -> None:
    plant(step(folder) / "log")
    log = follower(folder)
    assert log.take(eager=True) is None
    assert log.finish() is None


def test_a_link_in_the_folder_s_place_is_not_followed(folder: JobFolder, tmp_path: Path) -> None:
    secret = tmp_path / "other"
    secret.mkdir()
    (secret / "log").write_text("of another job\n")
    (secret / "status").write_text("0")
    step(folder).rename(tmp_path / "away")
    step(folder).symlink_to(secret)
    assert follower(folder).finish() is None
    assert folder.status(STEP) is None


@pytest.mark.parametrize("change", ["", "another", "what was printed, and more"])
def test_a_log_that_is_changed_is_lost(folder: JobFolder, change: str) -> None:
    append(folder, b"what was printed\n")
    log = follower(folder)
    assert text(log.take(eager=True)) == b"what was printed\n"
    assert log.lost is None
    (step(folder) / "log").write_text(change)
    log.take(eager=True)
    assert log.lost is not None


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("remove", [True, False])
def test_a_log_that_is_removed_is_lost(folder: JobFolder, remove: bool, restarted: bool) -> None:
    """But not to a follower that has it open."""
    append(folder, b"what was printed\n")
    log = follower(folder)
    assert text(log.take(eager=True)) == b"what was printed\n"
    if remove:
        end(folder)
        (step(folder) / "log").unlink()
    else:
        end(folder)
    log = follower(folder, offset=log.offset) if restarted else log
    assert rest(log) == b""
    assert (log.lost is not None) == (remove and restarted)


@pytest.mark.parametrize("forged", [None, b"", b"forged\n"])
def test_a_log_that_is_not_that_of_the_init_is_lost(folder: JobFolder, forged: bytes | None) -> None:
    append(folder, b"evidence\n")
    end(folder)
    (step(folder) / "log").rename(step(folder) / "moved")
    if forged is not None:
        append(folder, forged)
    log = follower(folder)
    assert rest(log) == (forged or b"")
    assert log.lost is not None


def test_a_step_without_a_process_lost_nothing(folder: JobFolder) -> None:
    log = follower(folder)
    assert rest(log) == b""
    assert log.lost is None
