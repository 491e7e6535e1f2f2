"""A port that a container has, and the one that stands for it outside."""

from __future__ import annotations

import re

import msgspec

_PORT = re.compile(r"(?:(?P<outer>[0-9]{1,5}):)?(?P<inner>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?")
_LARGEST = 65535


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """`outer` is None where it may be any."""

    inner: int
    outer: int | None = None
    protocol: str = "tcp"


def read_port(text: str) -> Port:
    """A port as in `5432`, `8080:80` or `53:53/udp`; addresses and ranges are not built in. Raises `ValueError`."""
    found = _PORT.fullmatch(text)
    numbers = [int(found[name]) for name in ("inner", "outer") if found[name]] if found else []
    if found is None or not all(1 <= number <= _LARGEST for number in numbers):
        raise ValueError(f"expected a port such as 5432, 8080:80 or 53:53/udp, found {text[:60]!r}")
    return Port(inner=numbers[0], outer=numbers[1] if found["outer"] else None, protocol=found["protocol"] or "tcp")
