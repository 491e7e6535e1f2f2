"""The forms in which a secret may be printed: as it is, and as common tools write it.

A tool encodes more than the secret: `user:secret` in base64, a URL with it, a document of JSON. So a form is only what
the secret itself turns into wherever it stands, without quotes around it.

Not covered are other character sets than UTF-8, what is compressed or encrypted, what is encoded twice in ways that are
not told here, and text of which each line begins with something else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from string import ascii_letters, digits

import msgspec

LONGEST = 64
"""Bytes of the longest form. A longer one is cut into pieces of this length that overlap."""

SHORTEST = 4
"""Bytes of the shortest form that is not the secret itself: a `{` or a `YQ` would be masked in any text."""

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
    frozenset(range(256)),
)
_PERCENT_ESCAPES = tuple({byte: f"%{byte:02X}" for byte in escaped} for escaped in _ESCAPED_BY_PERCENT)
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
_FOR_URLS = bytes.maketrans(b"+/", b"-_")
_ANSI = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 27: "E", 39: "'", 92: "\\"}


class Forms(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: `plain` as it is, `wrapped` even if it goes on in a new line anywhere, as base64 does,
    and `folded`, which is in capitals, whatever is in capitals in the output."""

    plain: frozenset[bytes] = frozenset()
    wrapped: frozenset[bytes] = frozenset()
    folded: frozenset[bytes] = frozenset()


def forms(secret: bytes) -> Forms:
    """All forms of a secret, none longer than `LONGEST`; none at all of a blank one.

    White space around it does not count. Each of its lines is a secret, too, for logs are read by line: the only one
    at any length, else those of at least `SHORTEST` bytes, so that the `{` of a key in JSON is none. So are the lines
    of a key in PEM (RFC 7468) that stands in a document of JSON.
    """
    value = secret.strip()
    if not value:
        return Forms()
    parts = {value}
    for text in (value, *_keys_in_json(value)):
        lines = {line.strip() for line in re.split(rb"[\r\n]+", text)}
        parts |= {line for line in lines if len(line) >= SHORTEST}
    plain = parts | _long_enough(form for part in parts for form in _escaped(part))
    percent = {form for part in parts for form in _with_percent(part)}
    return Forms(
        plain=_cut(plain | _long_enough(form for form in percent if b"%" not in form)),
        wrapped=_cut(_long_enough(form for part in parts for form in (*_in_base64(part), *_in_hex(part)))),
        folded=_cut(_long_enough(form.upper() for form in percent if b"%" in form)),
    )


def join(several: Iterable[Forms]) -> Forms:
    """The forms of all of them."""
    plain, wrapped, folded = set[bytes](), set[bytes](), set[bytes]()
    for each in several:
        plain |= each.plain
        wrapped |= each.wrapped
        folded |= each.folded
    return Forms(plain=frozenset(plain), wrapped=frozenset(wrapped), folded=frozenset(folded))


def _long_enough(found: Iterable[bytes]) -> set[bytes]:
    return {form for form in found if len(form) >= SHORTEST}


def _cut(found: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(piece for form in found for piece in _pieces(form))


def _keys_in_json(value: bytes) -> Iterator[bytes]:
    if not value.startswith((b"{", b"[")) or b"-----BEGIN" not in value:
        return
    try:
        unread = [msgspec.json.decode(value)]
    except (msgspec.DecodeError, RecursionError):
        return
    while unread:
        match unread.pop():
            case str() as text if "-----BEGIN" in text:
                yield text.encode()
            case dict() as members:
                unread += members.values()
            case list() as members:
                unread += members


def _escaped(value: bytes) -> Iterator[bytes]:
    if _PLAIN_EVERYWHERE.fullmatch(value):
        return
    yield value.replace(b"'", b"''")  # YAML, SQL
    yield value.replace(b'"', b'""')  # CSV
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
        for form in (stable, whole[first:].rstrip(b"="), whole[first:]):
            yield form
            yield form.translate(_FOR_URLS)


def _in_hex(value: bytes) -> Iterator[bytes]:
    yield value.hex().encode()
    yield value.hex().upper().encode()


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
    They overlap by as many bytes as may be shown of a piece that goes on in a new line.
    """
    start, end = 0, LONGEST
    while end < len(form):
        while end > start + LONGEST - SHORTEST and form[end - 1] in b"\r\n":
            end -= 1
        yield form[start:end]
        least = start + 1
        start = min(end - SHORTEST, len(form) - LONGEST)
        while start > least and b"\n" in form[start : start + SHORTEST]:
            start -= 1
        end = start + LONGEST
    yield form[start:]
