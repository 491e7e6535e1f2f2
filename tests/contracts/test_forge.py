"""What every forge promises, whatever its webhooks look like."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import NamedTuple

import pytest
from multidict import CIMultiDict

from buildsys.adapters.github import GitHub
from buildsys.core.events import Event
from buildsys.core.forge import Forge, Ignored
from buildsys.core.trigger import branch_of, title_of
from buildsys.errors import Invalid

SECRET = "it's a secret"
COMMIT = "1f6b8c4f0e0a4d7c9b2a3e5d6c7f8a9b0c1d2e3f"


class Delivery(NamedTuple):
    headers: CIMultiDict[str]
    body: bytes


def github(branch: str, *, deleted: bool = False, message: str = "Subject\n\nBody") -> Delivery:
    body = json.dumps(
        {
            "ref": f"refs/heads/{branch}",
            "after": "0" * 40 if deleted else COMMIT,
            "deleted": deleted,
            "head_commit": None if deleted else {"id": COMMIT, "message": message},
            "repository": {"full_name": "octo/cat", "private": True},
        }
    ).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": "d-1", "X-Hub-Signature-256": f"sha256={signature}"}
    return Delivery(CIMultiDict(headers), body)


FORGES = [pytest.param(GitHub(), github, id="github")]


@pytest.mark.parametrize(("forge", "deliver"), FORGES)
class TestForge:
    def test_a_push_is_decoded(self, forge: Forge, deliver) -> None:
        headers, body = deliver("feature/x")
        assert forge.delivery_id(headers) == "d-1"
        event = forge.decode(forge.event(headers), body)
        assert isinstance(event, Event)
        assert (event.name, event.ref, event.sha) == ("push", "refs/heads/feature/x", COMMIT)
        assert (event.message, event.payload["repository"]["full_name"]) == ("Subject\n\nBody", "octo/cat")

    def test_what_bears_no_signature_is_known_by_its_headers(self, forge: Forge, deliver) -> None:
        headers, _ = deliver("main")
        assert forge.is_signed(headers)
        (name,) = [name for name, value in headers.items() if value.startswith("sha256=")]
        for value in (
            "",
            "sha256=",
            headers[name][:-1],
            headers[name] + "0",
            headers[name].upper(),
            "sha1=" + "0" * 40,
        ):
            assert not forge.is_signed(CIMultiDict({**headers, name: value})), value
        del headers[name]
        assert not forge.is_signed(headers)

    def test_a_deleted_branch_has_no_commit(self, forge: Forge, deliver) -> None:
        headers, body = deliver("gone", deleted=True)
        event = forge.decode(forge.event(headers), body)
        assert isinstance(event, Event)
        assert (branch_of(event), event.sha) == ("gone", None)

    @pytest.mark.parametrize("branch", ["$(reboot)", "a;b", "ünïcode", "a'b\"c", "`id`"])
    def test_a_strange_branch_is_a_value(self, branch: str, forge: Forge, deliver) -> None:
        headers, body = deliver(branch)
        event = forge.decode(forge.event(headers), body)
        assert isinstance(event, Event)
        assert branch_of(event) == branch

    @pytest.mark.parametrize("branch", ["--upload-pack=x/../y", "a b", "a\nb", "a..b", "", "x/-y\x00"])
    def test_a_branch_that_git_would_not_make_is_invalid(self, branch: str, forge: Forge, deliver) -> None:
        headers, body = deliver(branch)
        with pytest.raises(Invalid):
            forge.decode(forge.event(headers), body)

    @pytest.mark.parametrize(("message", "title"), [("", ""), ("\n\n Late \n", "Late"), ("x" * 999, "x" * 200)])
    def test_the_title_is_the_first_line(self, message: str, title: str, forge: Forge, deliver) -> None:
        headers, body = deliver("main", message=message)
        event = forge.decode(forge.event(headers), body)
        assert isinstance(event, Event)
        assert title_of(event) == title

    def test_the_signature_counts(self, forge: Forge, deliver) -> None:
        headers, body = deliver("main")
        assert forge.verify(headers, body, SECRET)
        assert not forge.verify(headers, body + b" ", SECRET)
        assert not forge.verify(headers, body, "another secret")
        assert not forge.verify(CIMultiDict(), body, SECRET)

    def test_an_empty_secret_signs_nothing(self, forge: Forge, deliver) -> None:
        _, body = deliver("main")
        signature = hmac.new(b"", body, hashlib.sha256).hexdigest()
        assert not forge.verify(CIMultiDict({"X-Hub-Signature-256": f"sha256={signature}"}), body, "")

    def test_a_missing_id_is_none(self, forge: Forge, deliver) -> None:
        assert forge.delivery_id(CIMultiDict()) is None

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"ref": 1}', b'{"x":' + b"[" * 100_000])
    def test_a_body_that_is_no_push_is_invalid(self, body: bytes, forge: Forge, deliver) -> None:
        headers, _ = deliver("main")
        with pytest.raises(Invalid):
            forge.decode(forge.event(headers), body)

    def test_an_unknown_event_is_ignored_by_name(self, forge: Forge, deliver) -> None:
        event = forge.decode("no such event", b"{}")
        assert isinstance(event, Ignored)
        assert "no such event" in event.reason
