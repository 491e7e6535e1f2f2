"""What `buildsys run` is given as text, read: names with values, images, a payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any

import click
import msgspec

from buildsys.core.secret_names import Kind, check_value, stored_name
from buildsys.errors import Invalid

LARGEST = 25 << 20
"""Bytes of a payload. Source: GitHub's limit, "Webhook events and payloads"."""


def named_values(given: Iterable[str], kind: Kind, environ: Mapping[str, str]) -> dict[str, str]:
    """Secrets or variables by their names in upper case; a secret without `=` is in the variable of that name.

    Raises `UsageError`, in which no value is.
    """
    option = "--secret" if kind == "secret" else "--var"
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and kind == "variable":
            raise click.UsageError(f"{option} takes NAME=VALUE.")
        try:
            known = stored_name(name, kind)
            if not equals:
                if name not in environ:
                    raise click.UsageError(f"{option} {name}: there is no variable {name} in the environment.")
                value = environ[name]
            check_value(value, known)
        except Invalid as error:
            raise click.UsageError(f"{option}: {error}.") from None
        found[known] = value
    return found


def images(given: Iterable[str]) -> tuple[str | None, dict[str, str]]:
    """The image of all jobs that name none, if one is given, and those of labels."""
    default, by_label = None, {}
    for text in given:
        label, equals, image = text.partition("=")
        if not text or (equals and not (label and image)):
            raise click.UsageError(f"--image takes IMAGE or LABEL=IMAGE, not {text!r}.")
        if equals:
            by_label[label] = image
        else:
            default = text
    return default, by_label


def payload(file: IO[bytes] | None) -> dict[str, Any]:
    """What a file of JSON says; nothing without one. Raises `UsageError`."""
    if file is None:
        return {}
    text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise click.UsageError(f"--payload: the file is larger than {LARGEST >> 20} MiB.")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.UsageError(f"--payload: expected a JSON object: {error}.") from None
