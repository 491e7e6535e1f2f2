"""A secret is known again in what tools make of it: the tools themselves write it here, in the midst of other text."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from shutil import which
from urllib.parse import quote, quote_plus, urlencode
from xml.sax.saxutils import escape, quoteattr

import pytest

from buildsys.runner.forms import LONGEST, SHORTEST, Forms, forms
from buildsys.runner.masking import Masks

SECRETS = (
    "hunter2",
    "p@ss w0rd/+%&=?;,",
    'it\'s "quoted" $HOME `id` \\ !',
    "<a href='x'>R&D</a>",
    "päss→wörd🚀",
    "100% ä:b,→",
    "two lines,\nof 'text'",
    "tab\tbell\x07escape\x1b[0m\x01",
    "~tilde:~",
    "#hash",
    "[{(*^|)}]",
    '{\n  "key": "a/b+c=",\n  "id": 1\n}',
)
KEY = "\n".join(
    ["-----BEGIN PRIVATE KEY-----", *(f"{line:02}+/" * 16 for line in range(25)), "Q==", "-----END PRIVATE KEY-----"]
)


def shown(text: str | bytes, *secrets: str) -> str:
    return Masks(secrets).mask(text if isinstance(text, str) else text.decode())


def every(found: Forms) -> set[bytes]:
    return {*found.plain, *found.wrapped, *found.folded}


def in_lower_case(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}|\\u[0-9a-f]{4}", lambda found: found[0].lower(), text)


def in_mixed_case(text: str) -> str:
    return re.sub(r"%..", lambda found: found[0].lower() if found.start() % 2 else found[0], text)


def in_upper_case(text: str) -> str:
    return re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda found: found[0].upper(), text)


def in_command(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


WRITERS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "json": json.dumps,
    "json, upper case": lambda secret: in_upper_case(json.dumps(secret)) if "\\u" not in secret else "***",
    "json, not only ASCII": lambda secret: json.dumps(secret, ensure_ascii=False),
    "json of PHP": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "json in HTML": lambda secret: re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(secret)),
    "url": quote,
    "url, lower case": lambda secret: in_lower_case(quote(secret)),
    "url, all": lambda secret: quote(secret, safe=""),
    "url, all, lower case": lambda secret: in_lower_case(quote(secret, safe="")),
    "url, plus": quote_plus,
    "url, plus, lower case": lambda secret: in_lower_case(quote_plus(secret)),
    "query": lambda secret: urlencode({"q": secret}),
    "encodeURIComponent": lambda secret: quote(secret, safe="!*'()"),
    "encodeURI": lambda secret: quote(secret, safe="!*'();,/?:@&=+$#"),
    "form of WHATWG": lambda secret: quote_plus(secret, safe="*").replace("~", "%7E"),
    "workflow command": in_command,
    "property of a command": lambda secret: in_command(secret).replace(":", "%3A").replace(",", "%2C"),
    "shlex": shlex.quote,
    "shell, single quotes": lambda secret: "'" + secret.replace("'", "'\\''") + "'",
    "url, mixed case": lambda secret: in_mixed_case(quote(secret)),
    "url, every character": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "yaml": lambda secret: "'" + secret.replace("'", "''") + "'",
    "csv": lambda secret: '"' + secret.replace('"', '""') + '"',
    "html": html.escape,
    "html, no quotes": lambda secret: html.escape(secret, quote=False),
    "html, numbers": lambda secret: html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "xml": escape,
    "xml, &apos;": lambda secret: escape(secret, {"'": "&apos;", '"': "&quot;"}),
    "xml, ASCII": lambda secret: escape(secret).encode("ascii", "xmlcharrefreplace").decode(),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("secret", SECRETS)
def test_encodings(secret: str, writer: str) -> None:
    text = WRITERS[writer](secret)
    assert re.fullmatch(r"a (q=)?(['\"]?)\*\*\*\2 z", shown(f"a {text} z", secret)), text


def test_attributes_of_xml() -> None:
    assert shown(quoteattr("R&D <'x'>"), "R&D <'x'>") == '"***"'


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize(
    "script",
    [
        "bash -c 'printf %q \"$X\"'",
        "bash -c 'declare -p X'",
        "bash -c 'echo \"${X@Q}\"'",
        "bash -c 'set' | grep -A9 ^X=",
        "bash -c 'set -x; : \"$X\"' 2>&1",
        "bash -c 'export -p' | grep -A9 ' X='",
        "sh -c 'export -p' | grep -A9 ' X='",
        "sh -c 'set' | grep -A9 ^X=",
    ],
)
@pytest.mark.parametrize("secret", SECRETS)
def test_shells(secret: str, script: str, locale: str) -> None:
    """What the shells of this machine say of a variable."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": locale, "X": secret}
    printed = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, check=True).stdout
    visible = Masks((secret,)).mask(printed.decode(errors="surrogateescape").encode("utf-8", "replace").decode())
    first = visible.partition("***")[0]
    assert "***" in visible, printed
    assert re.fullmatch(r"([+:] |: |declare -x |export |)*(X=)?\$?['\"]?", first), printed


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("behind", range(4))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", ["hunter2", "hunter22", "hunter222", "?>?>~~ÿÿ"])
def test_base64(secret: str, encode: Callable[[bytes], bytes], before: int, behind: int) -> None:
    """Wherever it lies in what was encoded, all characters go that only depend on it; at the end the last ones, too."""
    text = encode(b"<" * before + secret.encode() + b"\xff" * behind).decode()
    first = -(-before * 8 // 6)
    last = (before + len(secret.encode())) * 8 // 6 if behind else len(text)
    assert shown(text, secret) == text[:first] + "***" + text[last:]
    if not behind:
        assert shown(text.rstrip("="), secret) == text[:first] + "***"


def test_basic_authorization() -> None:
    header = "Authorization: Basic " + base64.b64encode(b"x-access-token:ghs_0123456789abcdef").decode()
    assert re.fullmatch(r"Authorization: Basic [A-Za-z0-9]{20}\*\*\*", shown(header, "ghs_0123456789abcdef"))


@pytest.mark.parametrize(
    "encode",
    [
        base64.b64encode,
        base64.encodebytes,
        lambda data: subprocess.run(["base64"], input=data, capture_output=True, check=True).stdout,
        lambda data: subprocess.run(["base64", "-w", "64"], input=data, capture_output=True, check=True).stdout,
    ],
)
def test_base64_in_lines(encode: Callable[[bytes], bytes]) -> None:
    assert re.fullmatch(r"\*\*\*[A-Za-z0-9+/]?=*\n?", shown(encode(KEY.encode()), KEY))
    assert re.fullmatch(r"\*\*\*[A-Za-z0-9+/]{0,3}=*\n?", shown(encode(KEY.encode() + b"\n"), KEY))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("width", [60, 64, 76])
@pytest.mark.parametrize("secret", ["hunter2hunter2", "Tr0ub4dor+Zk9/Qw7=xY2pL8mN4vB6cD1fG3hJ5kT9", KEY])
def test_base64_in_lines_from_any_column(secret: str, width: int, line_end: str) -> None:
    """Little of it is left: at the ends what depends on others, too, and what of it is in a short first line."""
    masks = Masks((secret,))
    for before in range(width):
        text = base64.b64encode(b"\0" * before + secret.encode() + b"\xff\xff\xff").decode()
        lines = line_end.join(text[start : start + width] for start in range(0, len(text), width))
        first, mask, last = masks.mask(lines).partition("***")
        assert (mask, "***" in last) == ("***", False)
        assert len(first.replace(line_end, "")) <= -(-before * 4 // 3) + 3, before
        assert len(last.replace(line_end, "")) <= 7, before


@pytest.mark.parametrize("secret", ["hunter2hunter2", "p@ss wörd", KEY])
def test_hex(secret: str) -> None:
    data = secret.encode()
    plain = subprocess.run(["xxd", "-p"], input=data, capture_output=True, check=True).stdout if which("xxd") else b""
    assert shown(plain, secret) == ("***\n" if plain else "")
    for text in (data.hex(), data.hex().upper()):
        assert shown(f"<{text}>", secret) == "<***>"
        for width in (1, 4, 60):
            lines = [text[start : start + width] for start in range(0, len(text), width)]
            assert shown("\n".join(lines), secret).count("\n") < 4


def test_a_key_in_a_document_of_json_is_masked_by_line() -> None:
    secret = json.dumps({"type": "account", "keys": [{"private_key": KEY}]})
    assert shown(KEY, secret) == "\n".join("***" if len(line) >= 4 else line for line in KEY.splitlines())
    assert shown('"type": "account"', secret) == '"type": "account"'
    assert KEY.splitlines()[5] in shown(KEY, secret + "!")


def test_a_value_of_lines_is_masked_whole_and_by_line() -> None:
    assert shown(f"<{KEY}>", KEY) == "<***>"
    lines = KEY.splitlines()
    assert shown("\n  ".join(lines), KEY) == "\n  ".join("***" if len(line) >= 4 else line for line in lines)
    assert shown("\r\n".join(lines[:9]), KEY) == "\r\n".join(["***"] * 9)
    assert shown(json.dumps({"line": lines[3]}), KEY) == '{"line": "***"}'


def test_blank_and_short_lines_are_no_secrets() -> None:
    assert shown("{ } a bc\n\n def", "{\n\n  \n  }\nlong enough\nabc") == "{ } a bc\n\n def"
    assert shown("{\n", "{\n") == "***\n"


def test_white_space_around_a_secret_does_not_count() -> None:
    assert shown("<hunter2>", " hunter2\n") == "<***>"


@pytest.mark.parametrize("secret", ["", " ", "\n", "\t \r\n"])
def test_a_blank_secret_is_none(secret: str) -> None:
    assert forms(secret.encode()) == Forms()
    assert shown("a b\n\tc", secret) == "a b\n\tc"


@pytest.mark.parametrize("secret", ["a", "ab", "abc"])
def test_a_very_short_secret_is_masked_as_it_is(secret: str) -> None:
    """And where nothing shorter than four bytes stands for it."""
    assert shown(f"x{secret}y", secret) == "x***y"
    assert {form for form in every(forms(secret.encode())) if len(form) < 4} == {secret.encode()}


def test_bytes_that_are_no_text() -> None:
    secret = b"\xff\xfe\x00secret\xc3"
    found = every(forms(secret))
    assert {secret, base64.b64encode(secret), quote(secret).upper().encode()} <= found


def test_no_form_is_long() -> None:
    """A long one is pieces that overlap, few of them, and together it."""
    secret = bytes(range(33, 127)) * 100
    found = every(forms(secret))
    assert max(map(len, found)) == LONGEST
    assert shown(secret, secret.decode()) == "***"
    assert sum(form in secret for form in found) <= len(secret) // (LONGEST - SHORTEST) + 2
