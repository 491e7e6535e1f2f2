"""GitHub's webhooks, see its pages "Webhook events and payloads" and "Validating webhook deliveries"."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from buildsys.adapters.github_events import to_event
from buildsys.core.events import Event
from buildsys.core.forge import Ignored
from buildsys.errors import Invalid

_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")


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

    def decode(self, event: str, body: bytes) -> Event | Ignored:
        """A push or a pull request is an `Event`, anything else `Ignored`."""
        if event == "ping":
            return Ignored(reason="GitHub's ping: the webhook works")
        if body.startswith(b"payload="):
            raise Invalid("the webhook sends a form: set its content type to application/json")
        return to_event(event, body)
