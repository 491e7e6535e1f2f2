"""A project: a repository and how it is built."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from buildsys.core.assignment import Credential


class ProjectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says of a project. Image and commands serve where there is no workflow file.

    `repository` is empty where there is none either. The containers of a `trusted` one may reach out to the host.
    """

    repository: str = ""
    image: str | None = None
    build_command: str | None = None
    deploy_command: str | None = None
    max_running: int | None = None
    trusted: bool = False
    credential: Credential | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project as it is kept. `webhook_secret` signs the forge's deliveries; `repr` shows no secret."""

    id: UUID
    account: UUID
    name: str
    settings: ProjectSettings
    webhook_secret: str
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        return f"Project({self.name!r})"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook's delivery and what became of it; `outcome` is None until it is processed."""

    id: UUID
    forge: str
    delivery: str
    event: str
    received_at: datetime
    outcome: str | None
    reason: str | None
    builds: tuple[UUID, ...]


class PendingDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery still to be processed."""

    id: UUID
    project: UUID
    forge: str
    event: str
    body: bytes


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token, without itself: only its digest is kept."""

    id: UUID
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a valid token belongs to, and what it may do: `admin` or `runner`."""

    token: UUID
    name: str
    role: str
