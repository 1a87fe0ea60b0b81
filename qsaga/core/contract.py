"""The base of every message, and the small types that messages share."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_SECONDS = 30 * 24 * 3600.0
"""Longest budget of any layer: 30 days."""

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
"""A duration in seconds, above 0, at most 30 days."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A short name: lower-case letters, digits, ``.``, ``_``, ``-``; 1 to 63 characters."""

JobKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
"""The caller's idempotency key: no ``/``; 1 to 128 characters."""


class Contract(BaseModel):
    """A frozen message between processes. Unknown fields are ignored: fields can be added."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class StrictContract(Contract):
    """A message that a person writes: an unknown field is a typing error, so it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ArtefactRef(Contract):
    """Where a blob lies in the artefact store; history carries this instead of the blob."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, description="bytes")]
    media: str


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same for equal values, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(*parts: str) -> str:
    """SHA-256 over the parts, each preceded by its length, as 64 hex digits."""
    total = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        total.update(len(raw).to_bytes(8, "big"))
        total.update(raw)
    return total.hexdigest()
