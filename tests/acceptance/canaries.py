"""Secrets that are looked for wherever they must not be, in every way in which a tool may write them.

Run as a program it is the step that prints them: what masks are made of, it has from the standard library alone. It is
told the secrets disguised, for what a workflow says is no secret.
"""

from __future__ import annotations

import base64
import codecs
import html
import json
import shlex
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

PARTED = 1.3
"""Seconds after which a line that is open has gone out."""


def written(secret: str) -> dict[str, str]:
    """A secret as tools write it, each form by its name: with what a tool puts around it, where that matters."""
    data = secret.encode()
    forms = {
        "plain": secret,
        "base64 of user and password": base64.b64encode(b"user:" + data).decode(),
        "json": json.dumps(secret),
        "json as UTF-8": json.dumps(secret, ensure_ascii=False),
        "url": quote(secret, safe=""),
        "url in small letters": _small(quote(secret, safe="")),
        "url with slashes": quote(secret),
        "form": quote_plus(secret),
        "shell": shlex.quote(secret),
        "xml": escape(secret),
        "xml attribute": quoteattr(secret),
        "html": html.escape(secret),
        "yaml": "'" + secret.replace("'", "''") + "'",
        "csv": '"' + secret.replace('"', '""') + '"',
        "hex": data.hex(),
        "hex in capitals": data.hex().upper(),
        "url of all characters": "".join(f"%{byte:02x}" for byte in data),
    }
    for before in range(3):
        text = b"<" * before + data + b">"
        forms[f"base64 behind {before}"] = base64.b64encode(text).decode()
        forms[f"base64 for URLs behind {before}"] = base64.urlsafe_b64encode(text).decode()
    return forms


def wrapped(secret: str) -> Iterator[str]:
    """A secret in base64 that goes on in new lines, as tools wrap it, from every column on."""
    for width in (60, 64, 76):
        for before in range(width):
            text = base64.b64encode(b"-" * before + secret.encode() + b"---").decode()
            lines = [text[start : start + width] for start in range(0, len(text), width)]
            yield ("\r\n" if before % 2 else "\n").join(lines)
            yield ("\n" if before % 2 else "\r\n").join(lines)


def traces(secret: str) -> dict[str, bytes]:
    """What is left of a secret wherever it is written, whole or by line, whatever is around it."""
    found: dict[str, bytes] = {}
    for number, part in enumerate([secret, *(line for line in secret.splitlines() if len(line) > 3)]):
        for name, form in written(part).items():
            if name.startswith("base64"):
                continue
            found[f"{name} {number}"] = form.strip("'\"").encode()
        for before in range(3):
            texts = [base64.b64encode(around * before + part.encode() + around * 3) for around in (b"\0", b"\xff")]
            stable = "".join(a if a == b else " " for a, b in zip(*(text.decode() for text in texts), strict=True))
            whole = max(stable.split(), key=len).encode()
            for half, trace in enumerate((whole[: len(whole) // 2], whole[len(whole) // 2 :])):
                found[f"base64 {number}, {before}, {half}"] = trace
                found[f"base64 for URLs {number}, {before}, {half}"] = trace.translate(_FOR_URLS)
    beginning = secret[:12].encode()
    return {**found, "its beginning": beginning}


def disguised(secret: str) -> str:
    """The same as text that is no form of it; and back."""
    return codecs.encode(secret[::-1], "rot13")


def _small(text: str) -> str:
    """The escapes of a URL in small letters."""
    first, *others = text.split("%")
    return "%".join([first, *(other[:2].lower() + other[2:] for other in others)])


def _as_value(secret: str) -> str:
    """As a workflow command takes it."""
    return secret.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_parted(name: str, secret: str, *, every: int) -> None:
    """Every form, parted at every place, or at some."""
    for number, form in enumerate(written(secret).values()):
        for at in range(1, len(form), every):
            _write(form[:at])
            time.sleep(0.0005)
            _write(form[at:] + ("" if at % 3 else "\n"))
        _write(f"\n{name} {number}\n")
    for form in wrapped(secret):
        _write(f"{form}\n")


def _print_slowly(secret: str) -> None:
    """Parted for so long that what is known goes out: without what may be the beginning of a secret."""
    for at in (4, len(secret) // 2, len(secret) - 1):
        _write(f"slowly {secret[:at]}")
        time.sleep(PARTED)
        _write(f"{secret[at:]}\n")


def main(how: str, control: str, given: str, added: str, lines: str) -> None:
    """Print all of them: what is `given` is known to be a secret, `added` and `lines` are said to be.

    They are parted everywhere, or `slowly` at some places.
    """
    every = 25 if how == "slowly" else 1
    for form in written(control).values():
        _write(f"{form}\n")
    _write(f"::warning title=control::{_as_value(control)}\n")
    _print_parted("given", given, every=every)
    for secret in (added, lines):
        command = f"::add-mask::{_as_value(secret)}\n"
        for piece in (command[:15], command[15:25], command[25:]):
            _write(piece)
            time.sleep(0.02)
        _print_parted("added", secret, every=every)
        _write(f"::error title=canary::{_as_value(secret)}\n::group::{_as_value(secret)}\n{secret}\n::endgroup::\n")
    if how == "slowly":
        _print_slowly(given)
    _write("all\n" + given)


_FOR_URLS = bytes.maketrans(b"+/", b"-_")

if __name__ == "__main__":
    main(sys.argv[1], *map(disguised, sys.argv[2:]))
