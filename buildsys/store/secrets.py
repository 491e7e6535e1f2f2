"""Encryption at rest. The key is never in the database."""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from buildsys.errors import SetupError

NONCE_BYTES = 12
"""The nonce length that NIST SP 800-38D recommends for GCM."""

VERSION = b"\x01"
"""Leads every ciphertext, so that a later key or cipher can tell its own."""


class Cipher:
    """Encrypts values for one owner: a ciphertext moved to another owner's row does not open."""

    def __init__(self, *, key: bytes) -> None:
        """`key` is 32 random bytes."""
        self._aead = AESGCM(key)

    def encrypt(self, plain: bytes, *, owner: UUID) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._aead.encrypt(nonce, plain, owner.bytes)

    def decrypt(self, sealed: bytes, *, owner: UUID) -> bytes:
        """Raises `SetupError` where the key is not the one that encrypted."""
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, owner.bytes)
        except InvalidTag:
            raise SetupError(
                "a stored secret does not open with this installation's key; "
                "put back the secret.key that belongs to this database"
            ) from None
