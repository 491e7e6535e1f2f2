"""What is GitHub's own; what it has in common with other forges is in tests/contracts/test_forge.py."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from buildsys.adapters.github import GitHub
from buildsys.core.forge import Ignored
from buildsys.errors import Invalid

COMMIT = "1f6b8c4f0e0a4d7c9b2a3e5d6c7f8a9b0c1d2e3f"


def push(**changes: object) -> bytes:
    payload = {"ref": "refs/heads/main", "after": COMMIT, "repository": {"full_name": "octo/cat"}}
    return json.dumps(payload | changes).encode()


def test_the_documented_example_verifies() -> None:
    """The values of GitHub's page "Validating webhook deliveries"."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-Hub-Signature-256": signature}
    assert GitHub().verify(headers, b"Hello, World!", "It's a Secret to Everybody")


@pytest.mark.parametrize(
    "signature", ["", "sha256=", "757107ea", "sha256=" + "0" * 64, "sha256=ü" + "0" * 62, "sha256=\udcff"]
)
def test_other_signatures_do_not(signature: str) -> None:
    assert not GitHub().verify({"X-Hub-Signature-256": signature}, b"Hello, World!", "It's a Secret to Everybody")


def test_the_signature_by_sha1_counts_for_nothing() -> None:
    signature = "sha1=" + hmac.new(b"secret", b"{}", hashlib.sha1).hexdigest()
    assert not GitHub().verify({"X-Hub-Signature": signature}, b"{}", "secret")
    assert not GitHub().verify({"X-Hub-Signature-256": signature}, b"{}", "secret")


@pytest.mark.parametrize(
    ("event", "body", "reason"),
    [
        ("ping", b"{}", "ping"),
        ("issues", b"{}", "'issues'"),
        ("push", push(ref="refs/notes/commits"), "refs/notes/commits, which is no branch or tag"),
    ],
)
def test_what_starts_no_build_says_why(event: str, body: bytes, reason: str) -> None:
    ignored = GitHub().decode(event, body)
    assert isinstance(ignored, Ignored)
    assert reason in ignored.reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (push(after="HEAD"), "not a commit: 'HEAD'"),
        (push(after=None), r"\$\.after"),
        (push(ref="refs/heads/a..b"), "not a branch or tag"),
        (b"payload=%7B%7D", "content type to application/json"),
    ],
)
def test_a_wrong_push_says_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        GitHub().decode("push", body)
