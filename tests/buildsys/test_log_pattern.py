"""Patterns over a log's text: pieces find what the whole does, in bounded time."""

from __future__ import annotations

import random
import time

import pytest

from buildsys.web import log_pattern
from buildsys.web.codec import BadRequest
from buildsys.web.log_pattern import Pattern


def unhurried(position: int) -> None:
    """Lets a search go on."""


@pytest.mark.parametrize(
    "pattern", ["^a+b", "b$", "^$", "a.b", "[^b]a$", "x*", r"\bab\b", r"\Bb", "(?i)AB", r"a{2,5}$", "^.*c"]
)
def test_pieces_find_what_the_whole_does(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, whole = random.Random(5), Pattern(pattern, regex=True, ignore_case=False)
    monkeypatch.setattr(log_pattern, "OVERLAP", 64)
    monkeypatch.setattr(whole, "_piece", 1 << 30)
    pieces = Pattern(pattern, regex=True, ignore_case=False)
    monkeypatch.setattr(pieces, "_piece", 100)
    for trial in range(40):
        letters = b"ab \nc" if trial % 2 else b"abc \xc3\xa4x" * 20 + b"\n"
        text = bytes(chance.choices(letters, k=chance.randrange(4000)))
        found = [each.number for each in pieces.search(text, look=unhurried)]
        assert found == [each.number for each in whole.search(text, look=unhurried)]


HOSTILE = ["(a+)+$", "(a|aa)*c", "(a*)*b", "(.*)*x", "a{0,500}a{0,500}b", "(?i)(a|b|ab)*c", "(((a?){30}){30})b"]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    started = time.process_time()
    for text in (b"a" * (1 << 18), b"ab" * (1 << 17), b"a\n" * (1 << 12)):
        for found in Pattern(pattern, regex=True, ignore_case=False).search(text, look=unhurried):
            assert found.spans or pattern
    assert time.process_time() - started < 15


def test_what_is_literal_is_no_pattern() -> None:
    for text in ("(a", "a**", "[", "\\", "(?i)x", "\\E.\\Q"):
        for ignore_case in (False, True):
            pattern = Pattern(text, regex=False, ignore_case=ignore_case)
            (found,) = pattern.search(b"zz\nb" + text.encode() + b"b\nzz", look=unhurried)
            assert (found.number, found.spans) == (1, [(1, 1 + len(text))])
    with pytest.raises(BadRequest):
        Pattern("(a", regex=True, ignore_case=False)
