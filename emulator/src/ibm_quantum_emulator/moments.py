"""Moments as a document may give them: a date, epoch seconds, or hours from now."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .model import from_iso


def _epoch(value: Any) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str):
        return from_iso(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError("a date in ISO 8601 or epoch seconds are expected")


def microsecond_before(now: float) -> float:
    """Return the whole microsecond that ``now`` lies in, epoch seconds; never later than ``now``.

    Near 2026 a float holds about four steps to a microsecond, so the product alone may round up.
    """
    return min(now, math.floor(now * 1e6) / 1e6)


Moment = Annotated[float, BeforeValidator(_epoch)]
"""Virtual epoch seconds; a date without a zone is UTC."""


class Timed(BaseModel):
    """Something that begins at a moment.

    Attributes:
        at: Absolute moment.
        in_hours: Instead of ``at``: virtual hours after the document takes effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    at: Moment | None = None
    in_hours: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_of_both(self) -> Timed:
        if (self.at is None) == (self.in_hours is None):
            raise ValueError("exactly one of 'at' and 'in_hours' is expected")
        return self

    def moment(self, now: float) -> float:
        """Return the absolute moment when the document takes effect at ``now``."""
        return now + (self.in_hours or 0.0) * 3600 if self.at is None else self.at
