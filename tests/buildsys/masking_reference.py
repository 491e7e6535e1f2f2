"""Masking as it is meant, done the slow and simple way: all of the output at once, one byte after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildsys.runner.forms import Forms, forms

MASK = b"***"


def masked(*steps: bytes, secrets: tuple[str, ...] = ()) -> list[bytes]:
    """What is shown of the output of a job's steps. For output without a range of more than 64 KiB that is masked."""
    known = [forms(secret.encode()) for secret in secrets]
    shown = []
    for output in steps:
        values = added(output)
        since = [(form, 0) for form in known]
        for end, value in values:
            since.append((forms(value), end))
        occurrences = [place for form, first in since for place in places(form, output, first)]
        occurrences += [(end - len(printed), end) for end, printed in lines(output)]
        shown.append(replaced(output, occurrences))
        known += [forms(value) for _, value in values]
    return shown


def places(found: Forms, output: bytes, first: int) -> Iterator[tuple[int, int]]:
    """Where the forms occur from a place on. Of a wrapped one less than four bytes at a line's end do not count."""
    for text, forms_of_it in ((output, found.plain), (output.upper(), found.folded)):
        for form in forms_of_it:
            for match in re.finditer(b"(?=(%b))" % re.escape(form), text[first:]):
                yield first + match.start(1), first + match.end(1)
    for form in found.wrapped:
        wrapped = rb"(?:\r?\n)?".join(re.escape(bytes([byte])) for byte in form)
        for match in re.finditer(b"(?=(%b))" % wrapped, output[first:]):
            before, line_end, _ = match[1].partition(b"\n")
            is_short = line_end and len(before.rstrip(b"\r")) < 4
            yield first + match.start(1) + (len(before) + 1 if is_short else 0), first + match.end(1)


def replaced(output: bytes, ranges: list[tuple[int, int]]) -> bytes:
    inside = [False] * (len(output) + 1)
    secret = [False] * len(output)
    for start, end in ranges:
        for at in range(start, end):
            secret[at] = True
            inside[at] = inside[at] or at > start
    shown = b""
    for at, byte in enumerate(output):
        if not secret[at]:
            shown += bytes([byte])
        elif not inside[at]:
            shown += MASK
    return shown


def added(output: bytes) -> list[tuple[int, bytes]]:
    """The values that the output adds, and where their lines end."""
    return [(end, unescaped(printed)) for end, printed in lines(output)]


def lines(output: bytes) -> list[tuple[int, bytes]]:
    """Where each line with `add-mask` ends, and its value as it was printed."""
    found = []
    stopped = None
    for line in re.finditer(rb"[^\r\n]+", output):
        command = re.match(rb"\s*::([^ ]*?)(?: .*?)?::(.*)", line[0], re.DOTALL)
        if command is None:
            continue
        name, value = command[1].lower(), command[2]
        if stopped is not None:
            stopped = None if name == stopped else stopped
        elif name == b"add-mask":
            found.append((line.end(), value))
        elif name == b"stop-commands" and line.end() < len(output):
            token = unescaped(value).lower()
            stopped = (
                token if re.fullmatch(rb"[^\s:]+", token) and token not in (b"add-mask", b"stop-commands") else None
            )
    return found


def unescaped(value: bytes) -> bytes:
    return value.replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%")
