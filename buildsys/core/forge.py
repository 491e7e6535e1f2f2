"""The seam to a git provider: what its webhook said, checked and made ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from buildsys.core.events import Event


class Ignored(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that asks for nothing, and why."""

    reason: str


class Decoder(Protocol):
    """Reads the deliveries of one sender."""

    def decode(self, event: str, body: bytes) -> Event | Ignored:
        """What the delivery says. Raises `Invalid` where the body is not what the sender documents."""


class Forge(Decoder, Protocol):
    """Reads one provider's webhooks. Pure: it never calls the provider."""

    name: str

    def delivery_id(self, headers: Mapping[str, str]) -> str | None:
        """The provider's id of this delivery, None where the header is missing."""

    def event(self, headers: Mapping[str, str]) -> str:
        """The provider's name of the event, such as `push`."""

    def is_signed(self, headers: Mapping[str, str]) -> bool:
        """Whether there is anything that could be a signature: what a stranger sends need not be read without one."""

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str) -> bool:
        """Whether the signature over the raw body is right, compared in constant time."""
