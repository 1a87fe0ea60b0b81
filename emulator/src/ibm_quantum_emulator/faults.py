"""What goes wrong on purpose. A small first cut, shaped to grow into a full fault plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .errors import ApiError


class FailNext(BaseModel):
    """The next ``count`` accepted jobs that match end as Failed.

    Attributes:
        tag, backend: Match only jobs with this tag or on this backend.
        charged: Whether the machine time counts although the job failed.
    """

    model_config = ConfigDict(extra="forbid")

    count: int = Field(1, ge=0)
    reason: str = "Internal error."
    reason_code: int = 1000
    tag: str | None = None
    backend: str | None = None
    charged: bool = False

    def matches(self, tags: Sequence[str], backend: str) -> bool:
        """Whether a job with these tags on this backend is meant."""
        return (
            self.count > 0
            and (self.tag is None or self.tag in tags)
            and (self.backend is None or self.backend == backend)
        )


class CancelLosesRace(BaseModel):
    """A cancel that comes too late: the job goes on, completes and is charged.

    Attributes:
        enabled: Applies to every job.
        tags: Applies to jobs with one of these tags, also when not ``enabled``.
        reply: What the cancel request is answered with: 204 (accepted, and yet the job
            completes) or 409 (refused).
    """

    model_config = ConfigDict(extra="forbid")

    enabled: bool = False
    tags: list[str] = Field(default_factory=list)
    reply: Literal[204, 409] = 204

    def applies(self, tags: Sequence[str]) -> bool:
        """Whether a cancel of a job with these tags loses the race."""
        return self.enabled or any(tag in self.tags for tag in tags)


class Faults(BaseModel):
    """All switches; kept in the data directory."""

    model_config = ConfigDict(extra="forbid")

    outage: bool = False
    cancel_loses_race: CancelLosesRace = Field(default_factory=CancelLosesRace)
    fail_next: list[FailNext] = Field(default_factory=list)
    revoked_keys: list[str] = Field(default_factory=list)

    def before_request(self) -> None:
        """Called for every request but those to the control API.

        Raises:
            ApiError: What the request is answered with instead of being handled.
        """
        if self.outage:
            raise ApiError(503, "The service is temporarily unavailable.")

    def take_failure(self, tags: Sequence[str], backend: str) -> FailNext | None:
        """Use up one matching failure, if any."""
        for rule in self.fail_next:
            if rule.matches(tags, backend):
                rule.count -= 1
                self.fail_next = [other for other in self.fail_next if other.count > 0]
                return rule
        return None

    def patched(self, changes: dict[str, Any]) -> Faults:
        """Return a copy with these top-level switches replaced.

        ``cancel_loses_race`` may be given as a bare boolean.

        Raises:
            pydantic.ValidationError: An unknown switch or a wrong value.
        """
        merged = {**self.model_dump(), **changes}
        if isinstance(merged["cancel_loses_race"], bool):
            merged["cancel_loses_race"] = {"enabled": merged["cancel_loses_race"]}
        if isinstance(merged["fail_next"], dict):
            merged["fail_next"] = [merged["fail_next"]]
        return Faults.model_validate(merged)
