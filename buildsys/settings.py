"""How the text of a setting becomes its value: one `Kind` for each sort of value there is.

A kind's `parse` raises ValueError; `expected` completes the sentence "expected ...".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

T = TypeVar("T")
SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Kind(NamedTuple):
    expected: str
    parse: Callable[[str], Any]


class Setting(msgspec.Struct, frozen=True):
    """What a field of `Config` is to people. `default` says in words what the field's own default cannot."""

    help: str
    kind: Kind
    default: str = ""
    secret: bool = False


def word(*choices: str) -> Kind:
    return Kind(f"one of {', '.join(choices)}", lambda text: _checked(text, text in choices))


def words(*choices: str) -> Kind:
    """Some of the choices, at least one, with commas between them."""

    def parse(value: str) -> frozenset[str]:
        found = _split(value)
        return _checked(found, bool(found) and found <= set(choices))

    return Kind(f"some of {', '.join(choices)}, with commas between them", parse)


def cpus() -> int:
    """The CPUs this process may use; those of the machine where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def data_home(environ: Mapping[str, str]) -> Path:
    """The user's folder for data. Source: XDG Base Directory Specification 0.8, which ignores relative paths."""
    given = Path(environ.get("XDG_DATA_HOME", ""))
    return given if given.is_absolute() else Path(environ.get("HOME", "/")) / ".local" / "share"


def written(value: object) -> str:
    """A value as text that its kind reads again; None and nothing are the empty text."""
    match value:
        case None | msgspec.NODEFAULT:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return str(int(value)) if value.is_integer() else f"{value:g}"
        case Mapping():
            return ",".join(f"{key}={entry}" for key, entry in value.items())
        case frozenset() | tuple() | list():
            return ",".join(sorted(map(str, value)))
        case _:
            return str(value)


def _checked(value: T, good: bool) -> T:
    if not good:
        raise ValueError(value)
    return value


def _split(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _scaled(text: str, units: Mapping[str, int]) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    if found is None or found[2].lower() not in units:
        raise ValueError(text)
    return float(found[1]) * units[found[2].lower()]


def _seconds(text: str) -> float:
    value = _scaled(text, {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400})
    return _checked(value, value > 0)


def _size(text: str) -> int:
    value = int(_scaled(text, {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}))
    return _checked(value, value > 0)


def _amount(text: str) -> float:
    value = float(text)
    return _checked(value, 0 < value < 1e6)


def _count(text: str) -> int:
    return _checked(int(text), int(text) > 0)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    good = bool(host) and port.isascii() and port.isdigit() and int(port) <= 65535
    return _checked(text, good and ((":" not in host) or (host[0] == "[" and host[-1] == "]")))


def _url(text: str) -> str:
    parts = urlsplit(text)
    return _checked(text.rstrip("/"), parts.scheme in ("http", "https") and bool(parts.hostname))


def _blobs(text: str) -> str:
    return _checked(text, text.startswith(("/", "s3://")))


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    return _checked({key: value for key, _, value in pairs}, all(key and value for key, _, value in pairs))


text = Kind("a text", lambda value: value)
path = Kind("a path", lambda value: Path(value).expanduser().absolute())
count = Kind("a whole number from 1", _count)
amount = Kind("a number above zero, as 2 or 1.5", _amount)
seconds = Kind("a time above zero, as 90, 90s, 20m, 2h or 30d", _seconds)
size = Kind("a size above zero, as 1000000, 64KiB, 16MiB or 1GiB", _size)
switch = Kind("true or false", lambda value: SWITCH[_checked(value.lower(), value.lower() in SWITCH)])
address = Kind("HOST:PORT", _address)
url = Kind("an http:// or https:// URL", _url)
names = Kind("names, with commas between them", _split)
blobs = Kind("a path from /, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME", _blobs)
pairs = Kind("LABEL=IMAGE, with commas between them", _pairs)
database = Kind(
    "a postgresql:// URL", lambda value: _checked(value, urlsplit(value).scheme in ("postgresql", "postgres"))
)
docker = Kind(
    "a unix:// URL of a socket on this machine", lambda value: _checked(value, urlsplit(value).scheme == "unix")
)
