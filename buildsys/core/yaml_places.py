"""Where in a file the characters of a scalar's text stand.

YAML folds lines, takes away indentation and quotes, and reads escapes. But it neither adds nor moves a character that
is not a blank: so the text is laid over what the file says between the scalar's ends, blanks left out on both sides.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from buildsys.core.yaml_source import Scalar

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_BLANK = " \t\r\n\x85\u2028\u2029"
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_PLAIN = re.compile(f"[^{_BLANK}]")
_SINGLE = re.compile(f"''|[^{_BLANK}]")
_DOUBLE = re.compile(
    rf"\\(?:x[0-9a-fA-F]{{2}}|u[0-9a-fA-F]{{4}}|U[0-9a-fA-F]{{8}}|\r\n|.)|[^{_BLANK}]",
    re.DOTALL,
)
_ESCAPED = {"0": "\0", "a": "\a", "b": "\b", "v": "\v", "f": "\f", "e": "\x1b", "_": "\xa0"}
"""Of YAML's escapes those for a character that is neither a blank nor written by its own letter or its number."""

_ESCAPED_BLANKS = "tnrNLP"


class Lines:
    """The lines of a file, as YAML 1.1's parsers count them: NEL, LS and PS end one too."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0, *(found.end() for found in _BREAK.finditer(source))]

    def position(self, index: int) -> tuple[int, int]:
        """The line and the column of a character, both from 1."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def text(self, line: int) -> str:
        """A line without its end; empty beyond the last."""
        if line > len(self._starts):
            return ""
        end = self._starts[line] if line < len(self._starts) else len(self._source)
        return self._source[self._starts[line - 1] : end].rstrip("\r\n\x85\u2028\u2029")


def indexes(source: str, scalar: Scalar) -> list[int] | None:
    """Where in the source each character of a scalar's text stands, and one more for the text's end.

    Blanks are where the character before them ends. None where that cannot be told.
    """
    start = _begin(source, scalar)
    found: list[int] = []
    written = _written(source, scalar, start)
    for character in scalar.text:
        if character in _BLANK:
            found.append(found[-1] + 1 if found else start)
            continue
        said, at = next(written, ("", 0))
        if said != character:
            return None
        found.append(at)
    return [*found, found[-1] + 1 if found else start]


def _begin(source: str, scalar: Scalar) -> int:
    """Where the scalar's text begins, behind its anchor and its quote, or the line that says what block it is."""
    properties = _PROPERTIES.match(source, scalar.start, scalar.end)
    assert properties is not None or scalar.start > len(source)
    start = properties.end() if properties else scalar.start
    if scalar.style in ("'", '"'):
        return start + 1
    if scalar.style in ("|", ">"):
        head = _BREAK.search(source, start, scalar.end)
        return head.end() if head else scalar.end
    return start


def _written(source: str, scalar: Scalar, start: int) -> Iterator[tuple[str, int]]:
    """Every character from there that is no blank, as it is meant, and where it is written."""
    if scalar.style == "'":
        for found in _SINGLE.finditer(source, start, scalar.end - 1):
            yield found[0][0], found.start()
    elif scalar.style == '"':
        for found in _DOUBLE.finditer(source, start, scalar.end - 1):
            if (meant := _meant(found[0])) not in _BLANK:
                yield meant, found.start()
    else:
        for found in _PLAIN.finditer(source, start, scalar.end):
            yield found[0], found.start()


def _meant(written: str) -> str:
    if written[0] != "\\":
        return written
    escape = written[1]
    if escape in "xuU" and len(written) > 2:
        return chr(int(written[2:], 16))
    return " " if escape in _ESCAPED_BLANKS or escape in _BLANK else _ESCAPED.get(escape, escape)
