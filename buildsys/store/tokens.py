"""API tokens: shown once, kept as digests."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from datetime import datetime
from uuid import UUID, uuid4

from actors import Database
from actors.database import LOST
from buildsys.core.project import Identity, Token
from buildsys.errors import NotFound
from buildsys.store.queries import QUERIES

PREFIX = "bst_"
"""Lets secret scanners, and people, recognise a leaked token."""


class Tokens:
    """Tokens by digest. 256 random bits need no salt and no slow hash."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def create(self, name: str, *, role: str, expires_at: datetime | None = None) -> tuple[UUID, str]:
        """A new token's id and the token itself, which nobody can be told again."""
        id, token = uuid4(), PREFIX + secrets.token_urlsafe(32)
        await self._database.execute(
            QUERIES["token_insert"], id=id, name=name, role=role, digest=_digest(token), expires_at=expires_at
        )
        return id, token

    async def keep_administrator(self, token: str, *, name: str, installation: UUID) -> bool:
        """Make valid the token that an installation's file holds, and revoke what the file held before.

        False where the token stays invalid: once revoked, a token never comes back.
        """
        await self._database.execute(
            QUERIES["token_keep_administrator"],
            id=uuid4(),
            name=name,
            digest=_digest(token),
            installation=installation,
        )
        return await self.find(token) is not None

    async def find(self, token: str) -> Identity | None:
        """Who a token belongs to; None where it is unknown, expired or revoked."""
        row = await self._database.one(QUERIES["token_find"], digest=_digest(token))
        if row is None:
            return None
        if row["unnoted"]:
            with contextlib.suppress(*LOST):  # the use counts all the same
                await self._database.execute(QUERIES["token_used"], id=row["id"])
        return Identity(token=row["id"], name=row["name"], role=row["role"])

    async def list(self) -> list[Token]:
        """All tokens, oldest first."""
        rows = await self._database.many(QUERIES["token_list"])
        return [
            Token(
                id=row["id"],
                name=row["name"],
                role=row["role"],
                created_at=row["created_at"],
                expires_at=row["expires_at"],
                last_used_at=row["last_used_at"],
                revoked_at=row["revoked_at"],
            )
            for row in rows
        ]

    async def revoke(self, id: UUID) -> None:
        """End a token's validity at once. Raises `NotFound`."""
        if await self._database.one(QUERIES["token_revoke"], id=id) is None:
            raise NotFound(f"there is no token {id}")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
