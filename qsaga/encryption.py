"""Encryption of what Temporal is given to keep: AES-256-GCM, a codec of the data converter."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from qsaga.core.errors import PayloadDamaged
from qsaga.keyring import ENCODING, KEY_ID, KeyRing

NONCE_BYTES = 12


class EncryptionCodec(PayloadCodec):
    """Encrypts whole payloads, metadata included; the id of the key stays in clear.

    What is not encrypted passes through on the way back: histories of before stay readable.

    Args:
        ring: the keys.
        repeatable_from: size in bytes from which the same content gives the same bytes under the
            same key. A replay encrypts again what a workflow has sent, and large payloads are
            stored by their hash: they must not become another file at every replay.
    """

    def __init__(self, ring: KeyRing, repeatable_from: int) -> None:
        self._ring, self._repeatable_from = ring, repeatable_from

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt with the current key; unchanged where there is none."""
        current = self._ring.current()
        if current is None:
            return list(payloads)
        return [self._sealed(payload, *current) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what is encrypted.

        Raises:
            UnknownKey: the key file lacks a key.
            PayloadDamaged: a payload was changed.
        """
        return [
            self._opened(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _sealed(self, payload: Payload, name: str, key: bytes) -> Payload:
        clear = payload.SerializeToString(deterministic=True)
        nonce = os.urandom(NONCE_BYTES)
        if len(clear) >= self._repeatable_from:
            # Another content gives another nonce: never two contents under one.
            secret = hmac.digest(key, b"qsaga payload nonce", hashlib.sha256)
            nonce = hmac.digest(secret, clear, hashlib.sha256)[:NONCE_BYTES]
        sealed = AESGCM(key).encrypt(nonce, clear, name.encode())
        return Payload(metadata={"encoding": ENCODING, KEY_ID: name.encode()}, data=nonce + sealed)

    def _opened(self, payload: Payload) -> Payload:
        name = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        key = self._ring.key(name)
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(AESGCM(key).decrypt(nonce, sealed, name.encode()))
        except (InvalidTag, DecodeError, ValueError):
            raise PayloadDamaged(
                f"a payload does not open with key {name!r}: it was changed, or the key of that "
                "name is another one"
            ) from None
