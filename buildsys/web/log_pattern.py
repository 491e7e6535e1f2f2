"""What is searched for in a log, and where it stands in printed bytes.

Regular expressions are those of RE2, which takes time and memory in proportion to the text whatever the pattern is; it
is given the text piece by piece, so that whoever waits for it can leave at any time.
Lines that are not UTF-8 are searched as well: what is valid in them is found, and no `.` stands for what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import re2

from buildsys.web.codec import BadRequest

LONGEST = 1000
"""Characters of a pattern."""

LARGEST = 2500
"""Instructions of a compiled pattern: RE2 writes repetitions out, and at its slowest takes each for each byte."""

PIECE, STEPS = 64 << 10, 8 << 20
"""Bytes that an expression is matched with at once, about; and these times the instructions of the pattern, at most.

At RE2's slowest, which was measured to take some 30 ns a byte and instruction, that is half a second.
"""

OVERLAP = 4 << 10
"""Bytes that the pieces of a line of more than a piece share: a longer match in such a line may not be found."""

NEAR = 4 << 10
"""Bytes from a line's first match on in which more of them are looked for."""

MEMORY = 16 << 20
"""Bytes that a pattern and what RE2 remembers of it may take."""

SPANS = 20
"""Matches that are shown of a line."""

NEWLINE = ord("\n")

Span = tuple[int, int]

Look = Callable[[int], None]


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
            self._piece = max(OVERLAP, min(PIECE, STEPS // self._compiled.programsize))

    def search(self, printed: bytes, *, look: Look, carried: int = 0, begin: int = 0) -> Iterator[Found]:
        """The lines with matches, in order: in the first one, matches that end behind `carried` bytes of it.

        The first matches may begin at `begin`. `look` is called with how far the text is searched, before each piece of
        it, and may raise to end the search.
        """
        position, number, counted = begin, 0, 0
        while position < len(printed) and (first := self._next(printed, position, len(printed), look)) is not None:
            if carried and first[1] <= carried:
                position = max(first[1], first[0] + 1)
                continue
            start = printed.rfind(b"\n", 0, first[0]) + 1
            if start == len(printed):
                return  # the empty place behind the last line
            end = printed.find(b"\n", first[0])
            end = len(printed) if end < 0 else end
            number += printed.count(b"\n", counted, start)
            yield Found(
                number, printed[start:end], [(a - start, b - start) for a, b in self._spans(printed, first, end)]
            )
            position = counted = end + 1
            number += 1

    def _spans(self, printed: bytes, first: Span, end: int) -> list[Span]:
        """The line's first match and those near it, but empty ones."""
        spans, span = list[Span](), first
        end = min(end, max(first[1], first[0] + NEAR))
        while True:
            if span[0] < span[1]:
                spans.append(span)
            position = max(span[1], span[0] + 1)
            if len(spans) == SPANS or position > end:
                return spans
            found = self._match(printed, position, end)
            if found is None:
                return spans
            span = found

    def _next(self, text: bytes, position: int, end: int, look: Look) -> Span | None:
        """The next match; pieces end with lines where these are not longer."""
        while True:
            look(position)
            stop = end
            if self._compiled is not None and end - position > self._piece:
                line_end = text.find(b"\n", position + self._piece, position + 2 * self._piece)
                stop = min(end, position + 2 * self._piece) if line_end < 0 else line_end
            found = self._match(text, position, stop)
            if found is not None or stop >= end:
                return found
            position = stop + 1 if text[stop] == NEWLINE else stop - OVERLAP

    def _match(self, text: bytes, position: int, end: int) -> Span | None:
        if self._compiled is None:
            at = text.find(self._text, position, end)
            return None if at < 0 else (at, at + len(self._text))
        found = self._compiled.search(text, position, end)
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
