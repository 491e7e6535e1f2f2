"""GitHub's webhooks, see its pages "Webhook events and payloads" and "Validating webhook deliveries"."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

import msgspec

from buildsys.core.forge import Event, Ignored, Push
from buildsys.core.git import check_commit, check_ref
from buildsys.errors import Invalid, SourceError

MAX_TITLE = 200

_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")
_BRANCHES = "refs/heads/"
_TAGS = "refs/tags/"


class GitHub:
    """The `Forge` of github.com and GitHub Enterprise Server; it holds nothing."""

    name = "github"

    def delivery_id(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("X-GitHub-Delivery")

    def event(self, headers: Mapping[str, str]) -> str:
        return headers.get("X-GitHub-Event", "")

    def is_signed(self, headers: Mapping[str, str]) -> bool:
        return _SIGNATURE.fullmatch(headers.get("X-Hub-Signature-256", "")) is not None

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str) -> bool:
        """Check `X-Hub-Signature-256`; the older signature by SHA-1 counts for nothing, and so does an empty secret."""
        given = headers.get("X-Hub-Signature-256", "")
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given.encode(errors="replace"), expected.encode()) and bool(secret)

    def decode(self, event: str, body: bytes) -> Event:
        """A push to a branch is a `Push`, anything else `Ignored`."""
        if event == "ping":
            return Ignored(reason="GitHub's ping: the webhook works")
        if event != "push":
            return Ignored(reason=f"the event {event!r} starts no build")
        if body.startswith(b"payload="):
            raise Invalid("the webhook sends a form: set its content type to application/json")
        try:
            payload = msgspec.json.decode(body, type=_PushPayload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(f"not GitHub's push: {error}") from None
        return _push(payload)


class _Commit(msgspec.Struct, frozen=True, kw_only=True):
    message: str


class _Repository(msgspec.Struct, frozen=True, kw_only=True):
    full_name: str


class _PushPayload(msgspec.Struct, frozen=True, kw_only=True):
    """What we read of the payload of `push`."""

    ref: str
    after: str
    repository: _Repository
    deleted: bool = False
    head_commit: _Commit | None = None


def _push(payload: _PushPayload) -> Event:
    try:
        check_ref(payload.ref)
        check_commit(payload.after)
    except SourceError as error:
        raise Invalid(f"not GitHub's push: {error}") from None
    if payload.ref.startswith(_TAGS):
        return Ignored(reason=f"tags start no builds yet: {payload.ref.removeprefix(_TAGS)}")
    if not payload.ref.startswith(_BRANCHES):
        return Ignored(reason=f"a push to {payload.ref}, which is no branch")
    message = payload.head_commit.message if payload.head_commit is not None else ""
    return Push(
        branch=payload.ref.removeprefix(_BRANCHES),
        commit=None if payload.deleted else payload.after,
        title=next(iter(message.strip().splitlines()), "").replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_TITLE],
        repository=payload.repository.full_name,
    )
