"""What is searched for in a log, and where it stands in printed bytes.

Regular expressions are those of RE2, which takes time and memory in proportion to the text whatever the pattern is.
Lines that are not UTF-8 are searched as well: what is valid in them is found, and no `.` stands for what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import re2

from buildsys.web.codec import BadRequest

LONGEST = 1000
"""Characters of a pattern."""

LARGEST = 5000
"""Instructions of a compiled pattern: RE2 writes repetitions out, and at its slowest takes each for each byte."""

MEMORY = 16 << 20
"""Bytes that a pattern and what RE2 remembers of it may take."""

SPANS = 20
"""Matches that are shown of a line."""

Span = tuple[int, int]


class Found(msgspec.Struct, frozen=True):
    """A line with matches, the first of the text being number 0; the spans are of its bytes."""

    number: int
    line: bytes
    spans: list[Span]


class Pattern:
    """Text or an RE2 expression, found within single lines. Raises `BadRequest` that says what is wrong with it."""

    def __init__(self, text: str, *, regex: bool, ignore_case: bool) -> None:
        if not text:
            raise BadRequest("the pattern is empty")
        if len(text) > LONGEST:
            raise BadRequest(f"the pattern has more than {LONGEST} characters")
        if "\n" in text:
            raise BadRequest("the pattern holds a line break, and only single lines are searched")
        self._text = text.encode()
        self._compiled: Any = None
        if regex or ignore_case:
            self._compiled = _compiled(text, regex=regex, ignore_case=ignore_case)

    def search(self, printed: bytes) -> Iterator[Found]:
        """The lines with matches, in order."""
        position = number = 0
        while position < len(printed) and (first := self._next(printed, position)) is not None:
            begin = printed.rfind(b"\n", position, first[0]) + 1 or position
            if begin == len(printed):
                return  # the empty place behind the last line
            number += printed.count(b"\n", position, begin)
            end = printed.find(b"\n", first[0])
            end = len(printed) if end < 0 else end
            line = printed[begin:end]
            yield Found(number, line, self._spans(line))
            position, number = end + 1, number + 1

    def _spans(self, line: bytes) -> list[Span]:
        spans, position = list[Span](), 0
        while len(spans) < SPANS and (span := self._next(line, position)) is not None:
            if span[0] < span[1]:
                spans.append(span)
            position = max(span[1], span[0] + 1)
            if position > len(line):
                break
        return spans

    def _next(self, text: bytes, position: int) -> Span | None:
        if self._compiled is None:
            at = text.find(self._text, position)
            return None if at < 0 else (at, at + len(self._text))
        found = self._compiled.search(text, position)
        return None if found is None else found.span()


def _compiled(text: str, *, regex: bool, ignore_case: bool) -> Any:
    options = re2.Options()
    options.literal = not regex
    options.case_sensitive = not ignore_case
    options.never_nl = True
    options.never_capture = True
    options.max_mem = MEMORY
    options.log_errors = False
    try:
        re2.compile(text, options)  # for its error, which is to speak of this text alone
        compiled = re2.compile(f"(?m:{text})" if regex else text, options)
    except re2.error as error:
        raise BadRequest(_explained(text, error)) from None
    finally:
        re2.purge()  # it would keep the last 128, each with all its memory
    if compiled.programsize > LARGEST:
        raise BadRequest(f"the pattern is too large: it compiles to {compiled.programsize} steps of at most {LARGEST}")
    return compiled


def _explained(text: str, error: Exception) -> str:
    """What RE2 says, and where: it names the part that it stumbled over."""
    (said,) = error.args
    message = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    problem, _, part = message.partition(": ")
    place = text.find(part) if part else len(text) - 1
    if part == text and problem.startswith("missing"):
        place = len(text)
    return f"the pattern does not compile at character {max(0, place) + 1}: {message}"
