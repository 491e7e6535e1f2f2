"""What secrets and variables may be called, and how large their values may be.

Source of the rules: GitHub's documentation, "Secrets reference" and "Variables reference". No error repeats a value,
nor more than a character of what is no name: it may be the value, typed in the wrong place.
"""

from __future__ import annotations

import re
from typing import Literal

from buildsys.errors import Invalid

Kind = Literal["secret", "variable"]

GITHUB_TOKEN = "GITHUB_TOKEN"  # noqa: S105 - a name
"""The one secret that may always be named, and that called workflows have without its being passed: GitHub makes it
for each job. Here it is what was set, else empty."""

LONGEST_NAME = 255
"""Characters. GitHub tells no limit; this one fits a path and an index."""

LARGEST_VALUE = 48 << 10
"""Bytes of UTF-8."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRANGE = re.compile(r"[^A-Za-z0-9_]")


def is_name(text: str) -> bool:
    """Whether something may be set under this name."""
    return _NAME.fullmatch(text) is not None and len(text) <= LONGEST_NAME


def stored_name(given: str, kind: Kind) -> str:
    """The name as it is kept, in upper case: names are case-insensitive. Raises `Invalid`."""
    if strange := _STRANGE.search(given):
        raise Invalid(f"the name of a {kind} has only letters from A to Z, digits and _, not {strange[0]!r}")
    if not given or len(given) > LONGEST_NAME:
        raise Invalid(f"the name of a {kind} has 1 to {LONGEST_NAME} characters, not {len(given)}")
    if not is_name(given):
        raise Invalid(f"the name of a {kind} does not begin with a digit")
    name = given.upper()
    if name.startswith("GITHUB_") and (kind, name) != ("secret", GITHUB_TOKEN):
        raise Invalid(f"the name of a {kind} does not begin with GITHUB_; only the secret {GITHUB_TOKEN} may be set")
    return name


def check_value(value: str, name: str) -> None:
    """Raise `Invalid` for what no environment variable can hold, and for what is too large."""
    size = len(value.encode("utf-8", "surrogatepass"))
    if not 0 < size <= LARGEST_VALUE:
        raise Invalid(f"the value of {name} must have 1 to {LARGEST_VALUE} bytes (48 KiB), not {size}")
    if re.search("[\0\ud800-\udfff]", value):
        raise Invalid(f"the value of {name} must be text without NUL; of other bytes take what base64 makes of them")
