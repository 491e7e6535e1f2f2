"""Encryption at rest. The key is never in the database, which only knows it when it sees it."""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actors import Database
from buildsys.errors import SetupError
from buildsys.store.queries import QUERIES

NONCE_BYTES = 12
"""The nonce length that NIST SP 800-38D recommends for GCM."""

VERSION = b"\x01"
"""Leads every ciphertext, so that a later key or cipher can tell its own."""


PROOF = b"the key of this database"
NOBODY = UUID(int=0)
"""Stands for the owner of what belongs to no row."""


class SecretKeyMismatch(SetupError):
    """What the database holds was encrypted with another key."""

    code = "secret_key_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "the secrets in this database do not open with this secret.key: put back the one that belongs to the "
            "database, from a backup or with --secret-key-file, or give this installation a database of its own"
        )


class Cipher:
    """Encrypts values for one owner: a ciphertext moved to another owner's row does not open.

    An owner of several values gives each a `label`, so that they cannot be exchanged either.
    """

    def __init__(self, *, key: bytes) -> None:
        """`key` is 32 random bytes."""
        self._aead = AESGCM(key)

    def encrypt(self, plain: bytes, *, owner: UUID, label: str = "") -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._aead.encrypt(nonce, plain, owner.bytes + label.encode())

    def decrypt(self, sealed: bytes, *, owner: UUID, label: str = "") -> bytes:
        """Raises `SecretKeyMismatch` where the key, the owner or the label is not that of the encryption."""
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, owner.bytes + label.encode())
        except (InvalidTag, ValueError):  # ValueError: not even a nonce is there
            raise SecretKeyMismatch from None


async def prove_key(database: Database, cipher: Cipher) -> None:
    """Raise `SecretKeyMismatch` unless the cipher's key is that of the database, which the first one becomes."""
    row = await database.one(QUERIES["secret_key_prove"], proof=cipher.encrypt(PROOF, owner=NOBODY))
    assert row is not None
    cipher.decrypt(row["proof"], owner=NOBODY)
