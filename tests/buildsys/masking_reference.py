"""Masking as it is meant, done the slow and simple way: all of the output at once, one byte after the other."""

from __future__ import annotations

import re

from buildsys.runner.forms import forms

MASK = b"***"


def masked(*steps: bytes, secrets: tuple[str, ...] = ()) -> list[bytes]:
    """What is shown of the output of a job's steps. For output without a range of more than 64 KiB that is masked."""
    known = [form for secret in secrets for form in forms(secret.encode())]
    shown = []
    for output in steps:
        values = added(output)
        since = [(form, 0) for form in known]
        for end, value in values:
            since += [(form, end) for form in forms(value)]
        occurrences = [
            (start, start + len(form))
            for form, first in since
            for start in range(first, len(output) - len(form) + 1)
            if output.startswith(form, start)
        ]
        occurrences += [(end - len(printed), end) for end, printed in lines(output)]
        shown.append(replaced(output, occurrences))
        known += [form for _, value in values for form in forms(value)]
    return shown


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
