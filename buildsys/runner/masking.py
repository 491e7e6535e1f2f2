"""Secrets out of the log: every exact occurrence becomes `***`.

A batch is only ever cut where no secret can lie across the cut, so masking one needs nothing of the batch before it.
"""

from __future__ import annotations

from collections.abc import Iterable

MASK = b"***"


class Masker:
    """Masks the values of a job's secrets; empty ones are not secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret.encode() for secret in secrets} - {b""}, key=len, reverse=True)

    def safe_cut(self, data: bytes | bytearray, cut: int, *, complete: bool = False) -> int:
        """The last place up to `cut` at which `data` can be parted without parting a secret.

        Unless `data` is `complete`, an end that is the beginning of a secret may yet become one.
        """
        moved = True
        while moved and cut:
            moved = False
            for secret in self._secrets:
                start = self._across(data, cut, secret, complete)
                if start is not None:
                    cut, moved = start, True
        return cut

    def mask(self, data: bytes | bytearray) -> bytes:
        """`data` with every secret masked; occurrences that overlap become one mask."""
        spans = sorted(span for secret in self._secrets for span in _occurrences(data, secret))
        if not spans:
            return bytes(data)
        pieces: list[bytes] = []
        done = 0
        for start, end in spans:
            if start >= done:
                pieces += [bytes(data[done:start]), MASK]
            done = max(done, end)
        return b"".join([*pieces, bytes(data[done:])])

    @staticmethod
    def _across(data: bytes | bytearray, cut: int, secret: bytes, complete: bool) -> int | None:
        start = data.find(secret[:1], max(cut - len(secret) + 1, 0), cut)
        while start >= 0:
            there = data[start : start + len(secret)]
            if secret.startswith(there) and (len(there) == len(secret) or not complete):
                return start
            start = data.find(secret[:1], start + 1, cut)
        return None


def _occurrences(data: bytes | bytearray, secret: bytes) -> Iterable[tuple[int, int]]:
    start = data.find(secret)
    while start >= 0:
        yield start, start + len(secret)
        start = data.find(secret, start + 1)
