"""The job record that the store keeps and the engine moves."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

QUEUED, RUNNING = "Queued", "Running"
COMPLETED, FAILED, CANCELLED = "Completed", "Failed", "Cancelled"
TERMINAL = (COMPLETED, FAILED, CANCELLED)

REASON_RAN_TOO_LONG = 1305

_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


@dataclass
class Job:
    """One accepted job. Times are virtual epoch seconds.

    Attributes:
        seq: Ordinal of the acceptance; also what the simulation's seed is made from.
        executions: Single shots over all PUBs, an estimate where the server would have to choose.
        ahead, ahead_at: Place in the queue, see :class:`~.world.Waiting`.
        duration: Machine time it will take.
        due: Virtual moment at which it ends, set when it starts.
        max_seconds: The client's maximum execution time, if any.
        outcome: Result of the simulation once known: ``ok`` or ``failed``.
        planned_failure: JSON of the fault that will make it fail, if any.
        charged: Quantum seconds; None until it has ended.
        charged_if_failed: Whether machine time counts even when it fails.
        lost_race: Whether a cancel was answered but not obeyed.
    """

    id: str
    instance: str
    backend: str
    program: str
    created: float
    executions: int
    duration: float
    ahead: float
    ahead_at: float
    tags: list[str] = field(default_factory=list)
    seq: int = 0
    state: str = QUEUED
    session_id: str | None = None
    private: bool = False
    max_seconds: float | None = None
    calibration_id: str | None = None
    started: float | None = None
    due: float | None = None
    finished: float | None = None
    reason: str | None = None
    reason_code: int | None = None
    outcome: str | None = None
    outcome_reason: str | None = None
    outcome_code: int | None = None
    planned_failure: str | None = None
    charged_if_failed: bool = False
    charged: int | None = None
    cancel_attempts: int = 0
    lost_race: bool = False
    deleted: bool = False

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL


# Tags have a table of their own, because jobs are found by them.
COLUMNS = tuple(f.name for f in fields(Job) if f.name not in ("seq", "tags"))


def new_job_id() -> str:
    """Return a fresh id in the style of the service (20 characters, lower case)."""
    return "d" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(19))


def iso(moment: float | None) -> str | None:
    """Return an epoch time as ISO 8601 in UTC with a trailing Z; None for never."""
    if moment is None or not math.isfinite(moment):
        return None
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def from_iso(text: str) -> float:
    """Return epoch seconds of an ISO 8601 text; without a zone it is UTC.

    Raises:
        ValueError: Not a date.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
