"""Reads routing policies from TOML files."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from qsaga.core.errors import InvalidRequest
from qsaga.core.policy import Policy


def load_policy(path: Path | None = None) -> Policy:
    """The policy in ``path``, or the one that ships with qsaga.

    Raises:
        InvalidRequest: naming the file and the field or line that is wrong.
    """
    name = str(path) if path else "default policy"
    try:
        text = path.read_text() if path else (files(__name__) / "default.toml").read_text()
        return Policy.model_validate(tomllib.loads(text))
    except OSError as error:
        raise InvalidRequest("policy_file", f"{name}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest("policy_file", f"{name}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest("policy_file", f"{name}: {where}: {first['msg']}") from error
