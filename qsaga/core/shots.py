"""How many shots are enough."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from qsaga.core.contract import StrictContract

MAX_SHOTS = 1_000_000

Shots = Annotated[int, Field(ge=1, le=MAX_SHOTS)]


class ShotTarget(StrictContract):
    """What is to be seen at least once.

    Args:
        probability: of an outcome (or of any of several, such as the optima) in one shot.
        confidence: that it is among the shots.
    """

    probability: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.99

    @property
    def shots(self) -> int:
        """The least n with 1 - (1 - probability)^n of at least the confidence."""
        return max(1, math.ceil(math.log1p(-self.confidence) / math.log1p(-self.probability)))


class Shot(StrictContract):
    """A workload whose shots follow from a target where they are not given."""

    @model_validator(mode="before")
    @classmethod
    def _enough(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("target") is None or "shots" in given:
            return given
        needed = ShotTarget.model_validate(given["target"]).shots
        if needed > MAX_SHOTS:
            raise ValueError(
                f"target takes {needed} shots (allowed: up to {MAX_SHOTS}; ask for a larger "
                "probability or less confidence)"
            )
        return {**given, "shots": needed}

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Newer fields are left out where they say nothing: a request of before there were any
        keeps its hash.
        """
        return without_silence(handler(self), "target", "mitigation")


def shots_for(precision: float) -> int:
    """About how many shots each group of an estimate's observables needs: 1/precision²."""
    return max(1, round(1 / precision**2))


def without_silence(body: dict[str, Any], *names: str) -> dict[str, Any]:
    """A written message without those of the named fields that say nothing."""
    return {
        name: value for name, value in body.items() if name not in names or value not in (None, {})
    }
