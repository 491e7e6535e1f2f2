"""The forms in which a secret may be printed: as it is, and as common tools write it.

A tool encodes more than the secret: `user:secret` in base64, a URL with it, a document of JSON. So a form is only what
the secret itself turns into wherever it stands, without quotes around it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from string import ascii_letters, digits

LONGEST = 64
"""Bytes of the longest form. A longer one is cut into pieces of this length that overlap."""

SHORTEST = 4
"""Bytes of the shortest form that is not the secret itself: a `{` or a `YQ` would be masked in any text."""

WRAPS = (64, 76)
"""Columns after which base64 goes on in a new line: of PEM (RFC 7468), and of MIME (RFC 2045) and `base64`."""

_PLAIN_EVERYWHERE = re.compile(rb"[A-Za-z0-9._-]*")

_PLAIN_IN_URLS = (
    b"-._~",  # RFC 3986, unreserved
    b"-._~/",  # urllib.parse.quote
    b"-._~!*'()",  # encodeURIComponent
    b"-._~!*'();,/?:@&=+$#",  # encodeURI
    b"-._*",  # application/x-www-form-urlencoded of WHATWG
    b"-._",  # the same of older tools
)
_ESCAPED_BY_PERCENT = (
    *(frozenset(range(256)).difference(ascii_letters.encode(), digits.encode(), plain) for plain in _PLAIN_IN_URLS),
    frozenset(b"%\r\n"),  # values of workflow commands
    frozenset(b"%\r\n:,"),  # their properties
)
_PERCENT_ESCAPES = tuple(
    {byte: escape % byte for byte in escaped} for escaped in _ESCAPED_BY_PERCENT for escape in ("%%%02X", "%%%02x")
)
_JSON_ALSO = ("", "<>&", "<>&'\"+`")
"""Characters that writers of JSON escape beside those that they must: none; Go's; those of .NET."""

_JSON_ESCAPES = tuple(
    {code: json.dumps(chr(code))[1:-1] for code in (*range(32), ord('"'), ord("\\"))}
    | {ord(character): f"\\u{ord(character):04x}" for character in also}
    | slash
    for also in _JSON_ALSO
    for slash in ({}, {ord("/"): "\\/"})
)
_MARKUP_ESCAPES = tuple(
    str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"} | quotes)
    for quotes in (
        {},
        {'"': "&quot;"},
        {'"': "&quot;", "'": "&#x27;"},
        {'"': "&quot;", "'": "&#39;"},
        {'"': "&#34;", "'": "&#39;"},
        {'"': "&quot;", "'": "&apos;"},
    )
)
_ANSI = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 27: "E", 39: "'", 92: "\\"}


def forms(secret: bytes) -> frozenset[bytes]:
    """All forms of a secret, none longer than `LONGEST`; none at all of a blank one.

    White space around it does not count. Each of its lines is a secret, too, for logs are read by line: the only one
    at any length, else those of at least `SHORTEST` bytes, so that the `{` of a key in JSON is none.
    """
    value = secret.strip()
    if not value:
        return frozenset()
    lines = {line.strip() for line in re.split(rb"[\r\n]+", value)}
    parts = {value} | {line for line in lines if len(line) >= SHORTEST}
    encoded = {form for part in parts for form in _encoded(part) if len(form) >= SHORTEST}
    return frozenset(piece for form in parts | encoded for piece in _pieces(form))


def _encoded(value: bytes) -> Iterator[bytes]:
    yield from _in_base64(value)
    if _PLAIN_EVERYWHERE.fullmatch(value):
        return
    yield from _with_percent(value)
    text = value.decode(errors="surrogateescape")
    for form in (*_in_json(text), *_in_shells(text), *_in_markup(text)):
        yield form.encode(errors="surrogateescape")


def _in_base64(value: bytes) -> Iterator[bytes]:
    """In each of the three ways to lie in groups of three bytes: the characters that its neighbours do not change.

    Those at its end, too, as they are where nothing follows it.
    """
    for before in range(3):
        bits = 8 * (before + len(value))
        whole = base64.b64encode(bytes(before) + value)
        first = (0, 2, 3)[before]
        stable = whole[first : bits // 6]
        for form in (stable, whole[first:].rstrip(b"="), whole[first:], *(_wrapped(stable) if not before else ())):
            yield form
            yield form.translate(bytes.maketrans(b"+/", b"-_"))


def _wrapped(text: bytes) -> Iterator[bytes]:
    for width in WRAPS:
        yield b"\n".join(text[start : start + width] for start in range(0, len(text), width))


def _with_percent(value: bytes) -> Iterator[bytes]:
    """As URLs, forms and workflow commands hold it."""
    for escapes in _PERCENT_ESCAPES:
        form = value.decode("latin-1").translate(escapes).encode("latin-1")
        yield form
        yield form.replace(b"%20", b"+")


def _in_json(text: str) -> Iterator[str]:
    for escapes in _JSON_ESCAPES:
        escaped = text.translate(escapes)
        for form in (escaped, re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], escaped)):
            yield form
            yield re.sub(r"(?<!\\)((?:\\\\)*)((?:\\u[0-9a-f]{4})+)", _in_capitals, form)


def _in_capitals(found: re.Match[str]) -> str:
    return found[1] + found[2].upper().replace("U", "u")


def _in_shells(text: str) -> Iterator[str]:
    """As `'...'`, `"..."` and `$'...'` hold it, and as bash's `printf %q` prints it."""
    yield text.replace("'", "'\\''")
    yield text.replace("'", "'\"'\"'")
    yield re.sub(r'[$`"\\]', r"\\\g<0>", text)
    yield re.sub(r"[ !\"$&'()*,;<>?\[\\\]^`{|}]|^[#~]|(?<=[:=])~", r"\\\g<0>", text)
    yield "".join(character if ord(character) > 127 else _ansi(character) for character in text)
    yield "".join(_ansi(chr(byte)) for byte in text.encode(errors="surrogateescape"))


def _ansi(character: str) -> str:
    """A character between `$'` and `'`, as bash writes it; octal where it is not to be printed."""
    code = ord(character)
    if code in _ANSI:
        return "\\" + _ANSI[code]
    return character if 32 <= code < 127 else f"\\{code:03o}"


def _in_markup(text: str) -> Iterator[str]:
    for escapes in _MARKUP_ESCAPES:
        form = text.translate(escapes)
        yield form
        yield form.encode("ascii", "xmlcharrefreplace").decode()


def _pieces(form: bytes) -> Iterator[bytes]:
    """The form, or pieces of it that overlap, so that together they are one.

    If that can be had, none begins shortly before a line's end: many a line ends like that, and would have to wait for
    what follows. And none ends behind one, so that lines stay lines where only some of them are printed.
    """
    start, end = 0, LONGEST
    while end < len(form):
        while end > start + LONGEST - SHORTEST and form[end - 1] in b"\r\n":
            end -= 1
        yield form[start:end]
        least = start + 1
        start = min(end - 1, len(form) - LONGEST)
        while start > least and b"\n" in form[start : start + SHORTEST]:
            start -= 1
        end = start + LONGEST
    yield form[start:]
