"""A small issuer of tokens, for demonstrations, tests and a compose file; no identity provider.

python -m tools.identity keys DIR
python -m tools.identity token --key DIR/private.pem --sub alice --tenants acme --roles submitter
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from qsaga.core.identity import Role
from qsaga.payloads import write_once

SigningKey = Ed25519PrivateKey | EllipticCurvePrivateKey

PRIVATE, PUBLIC = "private.pem", "jwks.json"


def new_key(kind: str = "ed25519") -> SigningKey:
    """A fresh key, ``ed25519`` or ``es256``."""
    return Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(SECP256R1())


def pem(key: SigningKey) -> bytes:
    """The key as an unencrypted PEM file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: SigningKey) -> dict[str, Any]:
    """The public half, with the thumbprint of RFC 7638 as ``kid``."""
    if isinstance(key, Ed25519PrivateKey):
        members = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        algorithm = "EdDSA"
    else:
        members = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        algorithm = "ES256"
    told = {name: members[name] for name in sorted(members) if name in ("crv", "kty", "x", "y")}
    print_of = hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(print_of).rstrip(b"=").decode()
    return told | {"kid": kid, "use": "sig", "alg": algorithm}


def jwks(*keys: SigningKey) -> dict[str, Any]:
    """A JWKS document with the public halves."""
    return {"keys": [jwk(key) for key in keys]}


def issue(key: SigningKey, **claims: Any) -> str:
    """A token: for 60 minutes from now and for ``qsaga``, unless the claims say otherwise.

    A claim that is None is left out.
    """
    now = int(datetime.now(UTC).timestamp())
    said = {"aud": "qsaga", "iat": now, "exp": now + 3600, "jti": uuid4().hex} | claims
    public = jwk(key)
    return jwt.encode(
        {name: value for name, value in said.items() if value is not None},
        key,
        algorithm=public["alg"],
        headers={"kid": public["kid"]},
    )


def make_keys(
    folder: Path,
    kind: str,
    *,
    rotate: bool = False,
    public: Path | None = None,
    worker_key: Path | None = None,
) -> str:
    """Put a key pair into the folder; a repetition leaves what is there, unless ``rotate``.

    Args:
        folder: gets the private key; several processes may do so at once.
        kind: of a new key, ``ed25519`` or ``es256``.
        rotate: a new private key; the old public ones stay beside its own.
        public: where the JWKS document goes; None is beside the private key.
        worker_key: where a secret that workers share goes; one that is there stays.

    Returns:
        What is where, for people.

    Raises:
        ValueError: the private key or the document that is there is damaged.
    """
    private, public = folder / PRIVATE, public or folder / PUBLIC
    with _alone(folder):
        kept = private.exists() and not rotate
        key = _signing_key(private) if kept else new_key(kind)
        known = _published(public)
        # The public half first: a token is never signed with a key that no worker can know.
        if jwk(key) not in known:
            document = {"keys": [*known, jwk(key)]}
            write_once(public, (json.dumps(document, indent=2) + "\n").encode())
        public.chmod(0o644)
        if worker_key is not None and not worker_key.exists():
            write_once(worker_key, secrets.token_urlsafe(48).encode())
        if not kept:
            write_once(private, pem(key))
    secret = f"\n{worker_key} (QSAGA_IDENTITY__WORKER_KEY_FILE)" if worker_key else ""
    already = ": there already" if kept else ""
    return f"{private} (keep it secret), {public} (QSAGA_IDENTITY__KEYS_FILE){already}{secret}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time, until it is done or has died."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _published(path: Path) -> list[Any]:
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text())["keys"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no JWKS document (allowed: from `keys`)") from error


def _signing_key(path: Path) -> SigningKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    usable = isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    )
    if not usable:
        raise ValueError(f"{path}: neither Ed25519 nor EC P-256 (allowed: from `keys`)")
    return cast("SigningKey", key)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _token(arguments: argparse.Namespace) -> str:
    key = _signing_key(arguments.key)
    roles = _list(arguments.roles)
    if unknown := sorted(set(roles) - set(Role)):
        raise ValueError(f"roles: {', '.join(unknown)} (allowed: {', '.join(Role)})")
    tenants = _list(arguments.tenants)
    end = datetime.now(UTC) + timedelta(minutes=arguments.minutes)
    return issue(
        key,
        sub=arguments.sub,
        tenants="*" if tenants == ["*"] else tenants,
        roles=roles,
        exp=int(end.timestamp()),
        aud=arguments.audience,
        iss=arguments.issuer,
    )


def main(given: Sequence[str] | None = None) -> int:
    """Entry point; what is printed is the token, or where the keys are."""
    parser = argparse.ArgumentParser(prog="python -m tools.identity", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keys = commands.add_parser("keys", help="make a key pair and a JWKS document")
    keys.add_argument("folder", type=Path)
    keys.add_argument("--kind", choices=("ed25519", "es256"), default="ed25519")
    keys.add_argument("--rotate", action="store_true", help="a new key; the old ones stay known")
    keys.add_argument("--jwks", type=Path, metavar="FILE", help="where the public half goes")
    keys.add_argument("--worker-key", type=Path, metavar="FILE", help="the workers' secret too")
    token = commands.add_parser("token", help="print a token")
    token.add_argument("--key", type=Path, required=True)
    token.add_argument("--sub", required=True)
    token.add_argument("--tenants", default="", help="names with commas, or *")
    token.add_argument("--roles", default="", help=", ".join(Role))
    token.add_argument("--minutes", type=float, default=60.0)
    token.add_argument("--audience", default="qsaga")
    token.add_argument("--issuer")
    arguments = parser.parse_args(given)
    try:
        if arguments.command == "keys":
            said = make_keys(
                arguments.folder,
                arguments.kind,
                rotate=arguments.rotate,
                public=arguments.jwks,
                worker_key=arguments.worker_key,
            )
            print(said)
        else:
            print(_token(arguments))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
