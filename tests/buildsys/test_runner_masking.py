"""What is masked depends on the bytes alone: on no cut, no read and no restart."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import pytest
from masking_reference import masked

from buildsys.runner import patterns
from buildsys.runner.commands import LONGEST_VALUE
from buildsys.runner.forms import LONGEST
from buildsys.runner.masking import MOST_ADDED, MOST_ADDED_BYTES, PART, Masks, StepMask
from buildsys.runner.patterns import Patterns


class Reader:
    """Reads a step's output in pieces and shows what may be shown at once; `restart` is a new life of the runner."""

    def __init__(self, *secrets: str, before: tuple[bytes, ...] = ()) -> None:
        self._secrets = secrets
        self._before = before
        self.output = b""
        self.shown = b""
        self.restart()

    def restart(self) -> None:
        released = self.mask.offset if self.output else 0
        self.masks = Masks(self._secrets)
        for step, output in enumerate(self._before, 1):
            earlier = StepMask(self.masks, step=step)
            earlier.learn(output)
            earlier.end()
        self._start(released)

    def rewind(self, offset: int, shown: bytes) -> None:
        """Go back to an earlier offset, with all that was learned behind it."""
        self.shown = shown
        self._start(offset)

    def _start(self, offset: int) -> None:
        self.mask = StepMask(self.masks, step=len(self._before) + 1)
        self.mask.learn(self.output[:offset])
        self.mask.release(self.output[:offset])

    def read(self, data: bytes = b"", *, complete: bool = False, patient: bool = True, cut: int = 1 << 30) -> bytes:
        """What can be shown now, with `cut` at most that many raw bytes."""
        self.output += data
        offset = self.mask.offset
        self.mask.learn(self.output[self.mask.learned :])
        if complete:
            self.mask.end()
        look = self.mask.look(self.output[offset:], complete=complete, patient=patient)
        length = look.cut(min(cut, len(self.output) - offset))
        self.mask.release(self.output[offset : offset + length])
        self.shown += look.text(length)
        return look.text(length)

    def end(self) -> bytes:
        self.read(complete=True)
        return self.shown


def shown(output: bytes, *secrets: str) -> bytes:
    reader = Reader(*secrets)
    reader.read(output)
    return reader.end()


CASES: list[tuple[bytes, tuple[str, ...], bytes]] = [
    (b"a hunter2 b", ("hunter2",), b"a *** b"),
    (b"hunter2hunter2", ("hunter2",), b"******"),
    (b"hunter2-and-more hunter2-and", ("hunter2", "hunter2-and-more"), b"*** ***-and"),
    (b"hunter2-and-more", ("hunter2", "unter2-and-more"), b"***"),
    (b"abcdefg abcd", ("abc", "cde", "efg"), b"*** ***d"),
    (b"aaaaaab", ("aaab", "aab"), b"aaa***"),
    (b"xyxyxyx", ("xyx",), b"***"),
    (b"line one\nline two\n", ("line one\nline two",), b"***\n"),
    (b"line one\nand\nline two\n", ("line one\nline two",), b"***\nand\n***\n"),
    (b"line one\r\nline two\r\n", ("line one\nline two",), b"***\r\n***\r\n"),
    (b"aGVsbG8gd29ybGQ= world", ("hello world", "world"), b"*** ***"),
    (b"=aGVs\nbG8g\r\nd29ybGQ= x", ("hello world",), b"=*** x"),
    (b"aGV\nsbG8gd29y\n\nbGQ=", ("hello world",), b"aGV\nsbG8gd29y\n\nbGQ="),
    (b"x aGV\nsbG8gd29ybGQ=\n", ("hello world",), b"x aGV\n***\n"),
    (b"a\nG\nVsbG8gd29ybGQ\n", ("hello world",), b"a\n***\n"),
    (b"68656C6c 68656C\n6C\r\n6F\n", ("hello",), b"68656C6c ***\n"),
    (b"p%c3%A4%2Fss P%C3%A4%2fss p\xc3\xa4", ("pä/ss",), b"*** *** p\xc3\xa4"),
    (b"%68%65%6c%6C%6f %68%65", ("hello",), b"*** %68%65"),
    (b"a=1 b=2", ("1", "2"), b"a=*** b=***"),
    (b"hunter2 ::add-mask::hunter2\n", (), b"hunter2 ::add-mask::hunter2\n"),
    (b"hunter2\n::add-mask::hunter2\nhunter2\n", (), b"hunter2\n::add-mask::***\n***\n"),
    (b"::add-mask::hunter2", (), b"::add-mask::***"),
    (b"::add-mask::\n::add-mask:: \na b\n", (), b"::add-mask::\n::add-mask::***\na b\n"),
    (
        b"::add-mask::one%0Atwenty two\none two twenty two\none\ntwenty two\n",
        (),
        b"::add-mask::***\none two ***\n***\n",
    ),
    (
        b"::add-mask::p%25w/d\np%w/d p%25w/d p%25w%2Fd p%25w%2fd cCV3L2Q=\n",
        (),
        b"::add-mask::***\n*** *** *** *** ***\n",
    ),
    (
        b"::stop-commands::x\n::add-mask::abcd\nabcd\n::x::\n",
        (),
        b"::stop-commands::x\n::add-mask::abcd\nabcd\n::x::\n",
    ),
    (b"::add-mask::ab\n::add-mask::abcd\nabcd abc\n", (), b"::add-mask::***\n::add-mask::***\n*** ***c\n"),
    (b"ab\n::add-mask::a\nab\n::add-mask::b\nab\n", (), b"ab\n::add-mask::***\n***b\n::***dd-m***sk::***\n******\n"),
]


@pytest.mark.parametrize(("output", "secrets", "expected"), CASES)
def test_masking(output: bytes, secrets: tuple[str, ...], expected: bytes) -> None:
    assert shown(output, *secrets) == expected
    assert masked(output, secrets=secrets) == [expected]


@pytest.mark.parametrize(("output", "secrets", "expected"), CASES)
def test_every_cut_and_every_restart(output: bytes, secrets: tuple[str, ...], expected: bytes) -> None:
    """Read in three pieces, cut anywhere, with a restart at each cut."""
    for first in range(len(output) + 1):
        for second in {first, first + 1, first + 3, (first + len(output)) // 2}:
            reader = Reader(*secrets)
            reader.read(output[:first])
            reader.restart()
            reader.read(output[first:second])
            reader.restart()
            reader.read(output[second:])
            assert reader.end() == expected


@pytest.mark.parametrize(("output", "secrets", "expected"), CASES)
def test_byte_by_byte(output: bytes, secrets: tuple[str, ...], expected: bytes) -> None:
    reader = Reader(*secrets)
    for byte in output:
        reader.read(bytes([byte]))
        reader.restart()
    assert reader.end() == expected


def test_any_output_in_any_pieces() -> None:
    """Whatever is printed, however it is read, cut and begun again: what all of it at once would be, the simple way."""
    for seed in range(400):
        chance = random.Random(seed)
        secrets, *outputs = printed(chance)
        expected = masked(*outputs, secrets=secrets)
        for step, output in enumerate(outputs):
            reader = Reader(*secrets, before=tuple(outputs[:step]))
            earlier = [(0, b"")]
            for piece in pieces(chance, output):
                reader.read(piece, cut=chance.choice((1, 3, 1 << 30)))
                earlier.append((reader.mask.offset, reader.shown))
                if chance.random() < 0.1:
                    reader.restart()
                elif chance.random() < 0.1:
                    reader.rewind(*chance.choice(earlier))
            assert reader.end() == expected[step], f"seed {seed}"


def printed(chance: random.Random) -> tuple[tuple[str, ...], *tuple[bytes, ...]]:
    secrets = tuple(
        "".join(chance.choices("ab \n", k=chance.choice((1, 2, 3, 5, 9)))) for _ in range(chance.randrange(4))
    )
    parts = [b"a", b"b", b"\n", b"\r\n", b" ", b":", b"%0A", b"::x::", b"\n::x::\n", b"::stop-commands::x\n"]
    parts += [b"::add-mask::", b"::Add-Mask x=1::", b"\n::add-mask::abab\n", b"YWI", b"YmFi", b"%61", b"62", b"6261"]
    wrapped = [base64.b64encode(b"<" * chance.randrange(3) + secret.encode()) for secret in secrets]
    parts += [chance.choice((b"\n", b"\r\n")).join(pieces(chance, text)) for text in wrapped] * 2
    parts += [secret.encode() for secret in secrets] * 2
    return secrets, *(b"".join(chance.choices(parts, k=chance.randrange(30))) for _ in range(chance.choice((1, 2))))


def pieces(chance: random.Random, output: bytes) -> Iterator[bytes]:
    while output:
        size = chance.choice((1, 2, 5, 20))
        yield output[:size]
        output = output[size:]


def test_masks_of_one_step_hold_in_the_next() -> None:
    reader = Reader(before=(b"one two\n::add-mask::one\n", b"::stop-commands::x\n::add-mask::two"))
    reader.read(b"one two ::add-mask::\n::add-mask::two\none two\n")
    assert reader.end() == b"*** two ::add-mask::\n::add-mask::***\n*** ***\n"


def test_the_set_up_prints_no_commands() -> None:
    mask = StepMask(Masks(("hunter2",)), step=0)
    mask.learn(b"::add-mask::abcd\n")
    look = mask.look(b"::add-mask::abcd\nabcd hunter2\n", complete=True, patient=False)
    assert look.text(30) == b"::add-mask::abcd\nabcd ***\n"


@pytest.mark.parametrize("size", [4, 5, 6])
def test_the_beginning_of_a_secret_waits(size: int) -> None:
    """However long nothing comes."""
    reader = Reader("hunter2")
    assert reader.read(b"a " + b"hunter2"[:size], patient=False) == b"a "
    assert reader.read(b"!") == b"hunter2"[:size] + b"!"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_short_beginning_waits_while_one_is_patient(size: int) -> None:
    """And what follows it is masked even if it did not wait."""
    reader = Reader("hunter2")
    assert reader.read(b"a " + b"hunter2"[:size]) == b"a "
    assert reader.read(patient=False) == b"hunter2"[:size]
    reader.restart()
    assert reader.read(b"hunter2"[size:-1]) == b""
    reader.restart()
    assert reader.read(b"2!") == b"***!"


def test_a_line_waits_for_the_next_one_only_if_it_ends_in_much_of_a_secret() -> None:
    reader = Reader("hello world")
    assert reader.read(b"x aGV\n") == b"x aGV\n"
    assert reader.read(b"x aGVs\n", patient=False) == b"x "
    reader.restart()
    assert reader.read(b"bG8gd29ybGQ=\n") == b"***\n"


def test_at_the_end_nothing_waits() -> None:
    reader = Reader("hunter2")
    assert reader.read(b"a hunter") == b"a "
    assert reader.end() == b"a hunter"


def test_the_line_of_a_mask_waits_for_its_end() -> None:
    reader = Reader()
    assert reader.read(b"::add-mask::hun", patient=False) == b"::add-mask::"
    assert reader.read(b"ter2", patient=False) == b""
    assert reader.read(b"\nhunter2\n") == b"***\n***\n"


def test_a_secret_without_end_can_be_cut() -> None:
    """What overlaps is one mask, but the log goes on."""
    reader = Reader("abababab")
    for _ in range(10):
        reader.read(b"ab" * (PART // 4), patient=False)
        assert reader.mask.offset >= len(reader.output) - PART
        reader.restart()
    assert reader.end() == b"***" * (len(reader.output) // PART)


def test_a_long_secret_is_one_mask() -> None:
    secret = random.Random(1).randbytes(PART // 2).hex()[: PART - 100]
    output = b"<%b>" % secret.encode()
    assert shown(output, secret) == b"<***>"
    reader = Reader(secret)
    for start in range(0, len(output), 5000):
        reader.read(output[start : start + 5000])
        reader.restart()
    assert reader.end() == b"<***>"


def test_a_job_that_adds_too_many_secrets_shows_nothing_more() -> None:
    output = b"".join(b"::add-mask::value-%d\nvalue-%d.\n" % (number, number) for number in range(MOST_ADDED))
    expected = b"::add-mask::***\n***.\n" * MOST_ADDED
    assert shown(output) == expected
    again = output + b"::add-mask::value-7\nvalue-7 shown\n"
    assert shown(again) == expected + b"::add-mask::***\n*** shown\n"
    reader = Reader()
    for line in (again + b"::add-mask::one-more\none-more\n").splitlines(keepends=True):
        reader.read(line)
    reader.read(b"all the rest\n")
    assert not Reader().mask.is_closed
    assert reader.mask.is_closed
    reader.restart()
    assert reader.end() == expected + b"::add-mask::***\n*** shown\n::add-mask::******"
    later = Reader(before=(reader.output, b""))
    later.read(b"shown?\n")
    assert later.end() == b"***"


def test_a_job_that_adds_too_long_secrets_shows_nothing_more() -> None:
    value = b"x" * (MOST_ADDED_BYTES // 5)
    for count in (4, 5):
        reader = Reader()
        reader.read(b"".join(b"::add-mask::%d%b\n" % (number, value) for number in range(count)) + b"shown?\n")
        assert reader.mask.is_closed == (count == 5)
        assert (b"shown?" in reader.end()) == (count == 4)
    assert b"shown" not in shown(b"::add-mask::" + b"x" * (LONGEST_VALUE + 1) + b"\nshown?\n")


def test_a_text_of_the_runner_s_own() -> None:
    masks = Masks(("hunter2",))
    masks.add(b"later", since=(3, 1000))
    assert masks.mask("it said hunter2, later, hunter3, hunt and \ud800") == "it said ***, ***, hunter3, hunt and ?"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many bytes were searched, and how many comparisons made."""
    done = {"searched": 0, "compared": 0}

    class Counted:
        def __init__(self, heads, **settings) -> None:
            self._automaton = automaton(heads, **settings)

        def find_matches_as_indexes(self, text: bytes) -> list[tuple[int, int, int]]:
            done["searched"] += len(text)
            return self._automaton.find_matches_as_indexes(text)

    def counted_bisect(names: list[bytes], name: bytes) -> int:
        done["compared"] += 1
        return bisect(names, name)

    automaton, bisect = patterns.BytesAhoCorasick, patterns.bisect_left
    monkeypatch.setattr(patterns, "BytesAhoCorasick", Counted)
    monkeypatch.setattr(patterns, "bisect_left", counted_bisect)
    return done


def test_a_thousand_secrets_cost_what_ten_do(work: dict[str, int]) -> None:
    chance = random.Random(3)
    text = chance.randbytes(200_000)
    costs = []
    for count in (10, 1000):
        work.update(searched=0, compared=0)
        known = Masks(chance.randbytes(20).hex() for _ in range(count)).sought
        known.find(text, place=(1, 0))
        known.begun(text, least=1)
        costs.append(dict(work))
    assert costs[0] == costs[1]
    assert costs[0]["searched"] < 3.03 * len(text)
    assert costs[0]["compared"] < 3 * LONGEST


def test_adding_one_by_one_makes_few_automata(work: dict[str, int]) -> None:
    known = Patterns()
    for number in range(1000):
        known.add({b"%04d secret" % number, b"secret %04d" % number}, since=(1, number))
    known.find(bytes(1000), place=(1, 0))
    assert work["searched"] <= 12 * 1000


def test_what_counts_from_two_places_counts_from_the_first() -> None:
    known = Patterns()
    known.add({b"abcd", b"abcdef"}, since=(2, 5))
    known.add({b"abcd"}, since=(1, 9))
    known.add({b"abcd"}, since=(3, 0))
    assert known.find(b"abcdef", place=(1, 8)) == ([], 6)
    assert known.find(b"abcdef", place=(1, 9)) == ([(0, 4)], 6)
    assert known.find(b" abcdef", place=(2, 4)) == ([(1, 7)], 7)
