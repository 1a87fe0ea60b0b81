"""Who calls, by his own word: the name that a request or a decision carries."""

from __future__ import annotations

import base64
import binascii
import getpass
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from qsaga.core.approval import Person
from qsaga.core.validation import invalid_request
from qsaga.settings import IdentitySettings, Settings

_PERSON: TypeAdapter[str] = TypeAdapter(Person)


def caller_name(settings: Settings) -> str | None:
    """The subject of the token, then the settings, then the account; None if nothing says it.

    The token is not checked here: the worker does that, and refuses a name that is not its
    subject.

    Raises:
        InvalidRequest: the settings name somebody by what is no name.
    """
    identity = settings.identity
    if identity.token is not None or identity.token_file is not None:
        # Another name than the token's would be refused.
        return _fitting(_subject(identity))
    if settings.user is not None:
        try:
            return _PERSON.validate_python(settings.user)
        except ValidationError as error:
            raise invalid_request(error, "settings.user") from error
    return _fitting(_account())


def _fitting(name: object) -> str | None:
    try:
        return _PERSON.validate_python(name)
    except ValidationError:
        return None


def _subject(identity: IdentitySettings) -> object:
    """The ``sub`` of the token; None where there is none or it cannot be read."""
    token = identity.token.get_secret_value() if identity.token else _text(identity.token_file)
    body = "".join(token.strip().split(".")[1:2])
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims.get("sub") if isinstance(claims, dict) else None


def _text(file: Path | None) -> str:
    try:
        return file.read_text() if file else ""
    except (OSError, UnicodeDecodeError):
        return ""  # whoever sends the token tells what is wrong with it


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under a number without a name
        return None
