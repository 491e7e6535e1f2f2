"""`NAME=VALUE`, as options take names with values."""

from __future__ import annotations

from collections.abc import Iterable

import click


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """The values by their names, of which the last one counts. Raises `UsageError`, which names the option."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.UsageError(f"{option} takes NAME=VALUE, not {text!r}.")
        found[name] = value
    return found
