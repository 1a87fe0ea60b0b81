"""The file with the keys that payloads are encrypted with.

JSON: ``{"current": "2026-11-21-07c1", "keys": {"2026-11-21-07c1": {"key": "<32 bytes, base64>",
"created": "2026-11-21T10:00:00Z"}}}``. ``current`` encrypts, all of them decrypt; ``null`` encrypts
nothing. A running process sees a change of the file at its next payload.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretBytes,
    StringConstraints,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from qsaga.core.errors import InvalidRequest, UnknownKey

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
"""Metadata of an encrypted payload: how, and with which key."""
KEY_BYTES = 32
FIELD = "encryption.keys_file"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KeyId = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]

_log = logging.getLogger("qsaga.encryption")


class Key(BaseModel):
    """One key: 256 bits, and when it was made (UTC)."""

    model_config = ConfigDict(extra="forbid", val_json_bytes="base64", ser_json_bytes="base64")

    key: SecretBytes
    created: datetime

    @field_validator("key")
    @classmethod
    def _long_enough(cls, value: SecretBytes) -> SecretBytes:
        if len(value.get_secret_value()) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, in base64")
        return value

    @field_serializer("key", when_used="json")
    def _plain(self, value: SecretBytes) -> bytes:
        return value.get_secret_value()


class Keys(BaseModel):
    """All keys of a deployment; ``current`` encrypts, None encrypts nothing."""

    model_config = ConfigDict(extra="forbid")

    current: KeyId | None = None
    keys: dict[KeyId, Key] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _knows_current(self) -> Self:
        if self.current is not None and self.current not in self.keys:
            raise ValueError(f"current is {self.current!r}, which is not among the keys")
        return self

    def newest(self) -> str | None:
        """Id of the key that was made last."""
        return max(self.keys, key=lambda name: self.keys[name].created, default=None)


def read_keys(path: Path) -> Keys:
    """The keys of a file.

    Raises:
        InvalidRequest: it is not there, cannot be read, or is no key file. Never quotes the file.
    """
    try:
        return Keys.model_validate_json(path.read_bytes())
    except OSError as error:
        problem = f"{path}: {error.strerror}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        # The value of a field that was put in the wrong place may be a key.
        problem = f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"
    raise InvalidRequest(FIELD, problem, "a file made by `qsaga keys new`")


@contextmanager
def changing(path: Path) -> Iterator[Keys]:
    """The keys of a file, for a change that is written when the block ends without an error.

    Mode 0600; a reader sees the old file or the new one. Two changes at once wait for each other.
    A file that is not there is made.

    Raises:
        InvalidRequest: as ``read_keys``.
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else Keys()
        before = keys.model_copy(deep=True)
        yield keys
        if keys != before or not path.exists():
            _write(path, Keys.model_validate(keys.model_dump()))
            os.fsync(folder)
    finally:
        os.close(folder)


def _write(path: Path, keys: Keys) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(keys.model_dump(mode="json"), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def add_key(keys: Keys, name: str | None = None) -> str:
    """Add a new random key; by default its name is today (UTC) and four random digits.

    Two files that were made apart must not have two keys of one name.

    Raises:
        InvalidRequest: there is one of that name, or it cannot be a name.
    """
    if name is None:
        name = f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(2)}"
    if not NAME.fullmatch(name):
        raise InvalidRequest("name", f"{name!r}", "1 to 64 letters, digits, dots, - and _")
    if name in keys.keys:
        raise InvalidRequest("name", f"there is a key {name!r}", "another name")
    keys.keys[name] = Key(key=SecretBytes(os.urandom(KEY_BYTES)), created=datetime.now(UTC))
    return name


class KeyRing:
    """The keys as they are now: the file is read again when it has changed.

    A file that has become unreadable leaves the keys as they were, with a warning in the log.

    Args:
        path: of the file.

    Raises:
        InvalidRequest: the file cannot be read at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._keys = read_keys(path)

    def current(self) -> tuple[str, bytes] | None:
        """Id and key that encrypt; None where nothing is to be encrypted."""
        self._refresh()
        name = self._keys.current
        return None if name is None else (name, self._keys.keys[name].key.get_secret_value())

    def key(self, name: str) -> bytes:
        """The key of that id.

        Raises:
            UnknownKey: the file does not have it.
        """
        if name not in self._keys.keys:
            self._refresh()
        try:
            return self._keys.keys[name].key.get_secret_value()
        except KeyError:
            raise UnknownKey(
                f"a payload is encrypted with key {name!r}, which is not in {self._path}"
            ) from None

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _refresh(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = read_keys(self._path)
        except InvalidRequest as error:
            _log.warning("the keys stay as they were: %s", error.problem)
