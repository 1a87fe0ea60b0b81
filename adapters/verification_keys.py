"""Public keys that tokens are checked with: from a file or from an issuer's JWKS address."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from qsaga.core.errors import InvalidRequest, TransientProviderError

ALGORITHMS = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256"}
"""By key type of RFC 7517. All of them are asymmetric: who can check cannot sign."""
ALLOWED_KEYS = "EC P-256, Ed25519, RSA of 2048 bits or more; public keys only"
PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)

FETCH_TIMEOUT = 3.0
FRESH = 300.0
"""Seconds for which fetched keys are used without asking again."""
STALE = 3600.0
"""Seconds for which they are used while the issuer does not answer."""
PAUSE = 10.0
"""Seconds between two fetches, however many tokens of unknown keys arrive."""

_log = logging.getLogger("qsaga.identity")


@dataclass(frozen=True)
class VerificationKey:
    """One public key and the only algorithm that it is used with; ``kid`` None fits any token."""

    kid: str | None
    algorithm: str
    key: Any


class Keys(Protocol):
    """Where keys come from."""

    def known(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """All keys; a token that names ``kid`` is waiting. Raises TransientProviderError."""


class KeysFile:
    """A file with PEM public keys or certificates, or with a JWKS document.

    It is read again when it changed. A change that cannot be read leaves the keys as they were:
    it may be half written.

    Raises:
        InvalidRequest: the file cannot be read, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._state()
        self._keys = self._read()

    def known(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """The keys that the file holds now."""
        with self._lock:
            try:
                state = self._state()
                if state != self._seen:
                    # Before reading: what is written meanwhile is seen as a change next time.
                    self._seen = state
                    self._keys = self._read()
            except InvalidRequest as error:
                _log.error("keys stay as they were: %s", error)
            return self._keys

    def _state(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise _bad_file(f"{self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> tuple[VerificationKey, ...]:
        try:
            data = self._path.read_bytes()
            return _from_pem(data) if b"-----BEGIN" in data else from_jwks(json.loads(data))
        except OSError as error:
            raise _bad_file(f"{self._path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise _bad_file(f"{self._path}: {error}") from error


class KeysUrl:
    """An issuer's JWKS address. Keys are kept, and fetched again when they are old or unknown.

    Raises:
        InvalidRequest: the address is not one of HTTP.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_TIMEOUT)
        except jwt.PyJWTError as error:
            raise InvalidRequest("identity.jwks_url", f"{url!r}: {error}", "https://…") from error
        if not url.lower().startswith("https:"):
            _log.warning("identity.jwks_url: %s is not encrypted: who is between may sign", url)
        self._url, self._clock = url, clock
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] | None = None
        self._fetched = self._tried = float("-inf")
        self._why = ""

    def known(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """The issuer's keys. Raises TransientProviderError: there are none, or they are too old."""
        # Only the first waits for an issuer who does not answer; the others use what is there.
        if self._lock.acquire(blocking=self._keys is None):
            try:
                self._refresh(kid)
            finally:
                self._lock.release()
        if self._keys is None or self._clock() - self._fetched > STALE:
            raise TransientProviderError(
                f"the keys at {self._url} cannot be fetched: {self._why}", retry_after=PAUSE
            )
        return self._keys

    def _refresh(self, kid: str | None) -> None:
        now = self._clock()
        unknown = kid is not None and all(key.kid != kid for key in self._keys or ())
        if now - self._tried < PAUSE or (now - self._fetched < FRESH and not unknown):
            return
        self._tried = now
        try:
            found = from_jwks(self._client.fetch_data(), strict=False)
        except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
            self._why = str(error)
            _log.error("keys stay as they were: %s: %s", self._url, error)
            return
        self._keys, self._fetched = found, now


def from_jwks(document: object, *, strict: bool = True) -> tuple[VerificationKey, ...]:
    """The signing keys of a JWKS document.

    Args:
        document: parsed JSON.
        strict: refuse a key that cannot be used; False leaves it out, since an issuer may have
            keys for others.

    Raises:
        ValueError: it is no such document, or no key of it can be used.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError("no JWKS document: 'keys' is missing")
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(_from_jwk(entry))
        except (ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
            if strict:
                # Not the error of the library: that may show the key, which may be a secret one.
                said = error if isinstance(error, ValueError) else "not a key"
                raise ValueError(f"keys[{number}]: {said}") from None
    if not found:
        raise ValueError(f"no key that can be used (allowed: {ALLOWED_KEYS})")
    return tuple(found)


def _from_jwk(entry: Mapping[str, Any]) -> VerificationKey:
    algorithm = ALGORITHMS.get(entry.get("kty", ""))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        raise ValueError(f"not a kind of key that is used (allowed: {ALLOWED_KEYS})")
    if entry.get("use", "sig") != "sig":
        raise ValueError("not a key for signatures")
    if "d" in entry:
        raise ValueError(f"a private key (allowed: {ALLOWED_KEYS})")
    kid = entry.get("kid")
    return _usable(jwt.PyJWK(dict(entry), algorithm).key, None if kid is None else str(kid))


def _from_pem(data: bytes) -> tuple[VerificationKey, ...]:
    found = []
    for block in PEM.finditer(data):
        kind = block[1].decode()
        if "PRIVATE" in kind:
            raise ValueError(f"a private key (allowed: {ALLOWED_KEYS})")
        if kind == "CERTIFICATE":
            key: object = load_pem_x509_certificate(block[0]).public_key()
        else:
            key = load_pem_public_key(block[0])
        found.append(_usable(key, None))
    if not found:
        raise ValueError("no complete PEM block")
    return tuple(found)


def _usable(key: object, kid: str | None) -> VerificationKey:
    match key:
        case Ed25519PublicKey():
            return VerificationKey(kid, "EdDSA", key)
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return VerificationKey(kid, "ES256", key)
        case RSAPublicKey() if key.key_size >= 2048:
            return VerificationKey(kid, "RS256", key)
    raise ValueError(f"not a kind of key that is used (allowed: {ALLOWED_KEYS})")


def _bad_file(problem: str) -> InvalidRequest:
    return InvalidRequest("identity.keys_file", problem, "PEM public keys or a JWKS document")
