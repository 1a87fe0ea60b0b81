"""Reads routing policies and price lists from TOML files."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from qsaga.core.contract import Contract
from qsaga.core.errors import InvalidRequest
from qsaga.core.policy import Policy, PriceList
from qsaga.core.validation import invalid_request

C = TypeVar("C", bound=Contract)


def load_policy(path: Path | None = None) -> Policy:
    """The policy in ``path``, or the one that ships with qsaga.

    Raises:
        InvalidRequest: naming the file and the field or line that is wrong.
    """
    return _load("policy_file", path or files(__name__) / "default.toml", Policy)


def load_prices(path: Path) -> PriceList:
    """The price list in ``path``.

    Raises:
        InvalidRequest: naming the file and the field or line that is wrong.
    """
    return _load("prices_file", path, PriceList)


def with_prices(policy: Policy, prices: PriceList) -> Policy:
    """The policy with the prices of a list in place of its own."""
    terms = policy.hardware.model_copy(update={"prices": prices.backends})
    return policy.model_copy(update={"hardware": terms})


def _load(setting: str, path: Path | Traversable, kind: type[C]) -> C:
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise InvalidRequest(setting, f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(setting, f"{path}: {error}") from error
    except ValidationError as error:
        first = invalid_request(error)
        problem = f"{path}: {first.field}: {first.problem}"
        raise InvalidRequest(setting, problem, first.allowed) from error
