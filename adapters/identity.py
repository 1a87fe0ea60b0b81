"""Checks callers' tokens: signed JWTs, asymmetric signatures only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.verification_keys import ALGORITHMS, Keys, KeysFile, KeysUrl, VerificationKey
from qsaga.core.approval import Person
from qsaga.core.contract import Slug
from qsaga.core.errors import InvalidRequest, TransientProviderError, Unauthenticated
from qsaga.core.identity import Caller, IdentityVerifier, Role
from qsaga.core.seals import SealKeys
from qsaga.settings import IdentitySettings

LONGEST_LIFE = timedelta(hours=24)
LONGEST_TOKEN = 8192
REQUIRED = ("sub", "iat", "exp", "aud")
QUICK = 0.1
"""Seconds. Ten updates may wait at once, and after 2 s Temporal takes a workflow as dead-locked."""


class _Claims(BaseModel):
    """What must be in a token beside what the library checks. Other roles are other systems'."""

    model_config = ConfigDict(extra="ignore", strict=True)

    sub: Person
    iat: Annotated[float, Field(allow_inf_nan=False)]
    exp: Annotated[float, Field(allow_inf_nan=False)]
    tenants: list[Slug | Literal["*"]] | Literal["*"] = []
    roles: list[str] = []


class JwtVerifier:
    """Checks tokens as the settings say.

    Raises:
        InvalidRequest: the settings name no keys, two sources of keys, or a source that is none.
    """

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings
        self._keys = _keys(settings)

    def verify(self, token: str) -> Caller:
        """The caller that a token names.

        Raises:
            Unauthenticated: expired, not yet valid, foreign, damaged, for another audience.
            TransientProviderError: the issuer's keys cannot be fetched now.
        """
        try:
            return self._caller(self._checked(token))
        except jwt.PyJWTError as error:
            raise Unauthenticated(self._reason(error, token)) from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # The part of a path that is a number or a branch of a union says nothing to a reader.
            raise Unauthenticated(f"token.{first['loc'][0]}: {first['msg']}") from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated("token: damaged") from None

    def _checked(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated(f"token: longer than {LONGEST_TOKEN} characters")
        header = jwt.get_unverified_header(token)
        # The header is the sender's word: it chooses among our keys, each of which has one
        # algorithm, and so it can choose neither `none` nor HMAC with a public key as secret.
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS.values():
            raise Unauthenticated(f"token.alg: not allowed (allowed: {', '.join(_allowed())})")
        known = [
            key
            for key in self._keys.known(kid)
            if key.algorithm == algorithm and (kid is None or key.kid in (None, kid))
        ]
        for key in known:
            with suppress(jwt.InvalidSignatureError):
                return self._decoded(token, key)
        raise Unauthenticated("token: damaged, or signed by a key that is not known")

    def _decoded(self, token: str, key: VerificationKey) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.leeway,
            options={"require": list(REQUIRED)},
        )

    def _caller(self, claims: dict[str, Any]) -> Caller:
        given = _Claims.model_validate(claims)
        if given.exp - given.iat > LONGEST_LIFE.total_seconds():
            hours = LONGEST_LIFE.total_seconds() / 3600
            raise Unauthenticated(f"token.exp: more than {hours:g} h after token.iat")
        return Caller(
            subject=given.sub,
            tenants=tuple(dict.fromkeys(given.tenants)),
            roles=tuple(role for role in Role if role in given.roles),
        )

    def _reason(self, error: jwt.PyJWTError, token: str) -> str:
        settings = self._settings
        clocks = f"clocks may differ by {settings.leeway:g} s"
        match error:
            case jwt.ExpiredSignatureError():
                return f"token: expired at {_time(token, 'exp')} ({clocks})"
            case jwt.ImmatureSignatureError():
                claim = "iat" if "iat" in str(error) else "nbf"
                return f"token.{claim}: in the future: {_time(token, claim)} ({clocks})"
            case jwt.MissingRequiredClaimError():
                return f"token.{error.claim}: missing"
            case jwt.InvalidAudienceError():
                return f"token.aud: for somebody else (allowed: {settings.audience!r})"
            case jwt.InvalidIssuerError():
                return f"token.iss: another issuer (allowed: {settings.issuer!r})"
        return "token: damaged, or no signed JWT"


def verifier(settings: IdentitySettings) -> JwtVerifier | None:
    """What a worker checks tokens with; None where the settings name no keys.

    Raises:
        InvalidRequest: the settings do not fit together.
    """
    if settings.keys_file is None and settings.jwks_url is None:
        if settings.required:
            raise InvalidRequest(
                "identity.required", "no keys to check with", "keys_file or jwks_url beside it"
            )
        return None
    if settings.worker_key is None and settings.worker_key_file is None:
        raise InvalidRequest(
            "identity.worker_key", "missing", "a secret that all workers share, beside the keys"
        )
    return JwtVerifier(settings)


def seal_keys(settings: IdentitySettings) -> SealKeys | None:
    """What workflows seal with; None where the settings name no secret.

    Raises:
        InvalidRequest: there are two settings, a secret is too short, or its file cannot be read.
    """
    key, file = settings.worker_key, settings.worker_key_file
    if file is None:
        return SealKeys.parse(key.get_secret_value()) if key is not None else None
    if key is not None:
        raise InvalidRequest(
            "identity.worker_key_file", "given beside identity.worker_key", "one of them"
        )
    try:
        return SealKeys.parse(file.read_text())
    except OSError as error:
        problem = f"{file}: {error.strerror}"
    except UnicodeDecodeError:
        problem = f"{file}: it is not text"
    except InvalidRequest as error:
        problem = f"{file}: {error.problem}"
    raise InvalidRequest(
        "identity.worker_key_file", problem, "a file with a secret of 32 or more characters"
    )


def quickly(slow: IdentityVerifier) -> Callable[[str], Caller | None]:
    """A check that never holds its caller up: None is "cannot say now".

    It runs beside the caller's thread, which for a workflow is Temporal's sandbox.
    """
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="qsaga-identity")

    def check(token: str) -> Caller | None:
        with suppress(StillRunning, TransientProviderError):
            return pool.submit(slow.verify, token).result(timeout=QUICK)
        return None

    return check


def _keys(settings: IdentitySettings) -> Keys:
    if settings.keys_file is not None and settings.jwks_url is not None:
        raise InvalidRequest("identity.keys_file", "given beside identity.jwks_url", "one of them")
    if settings.keys_file is not None:
        return KeysFile(settings.keys_file)
    if settings.jwks_url is not None:
        return KeysUrl(settings.jwks_url)
    raise InvalidRequest("identity.keys_file", "missing", "keys_file or jwks_url")


def _allowed() -> list[str]:
    return sorted(ALGORITHMS.values())


def _time(token: str, claim: str) -> str:
    """A time of a token whose signature holds, for people."""
    with suppress(jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError):
        claims = jwt.decode(token, options={"verify_signature": False})
        return f"{datetime.fromtimestamp(float(claims[claim]), UTC):%Y-%m-%d %H:%M:%S} UTC"
    return "an impossible time"
