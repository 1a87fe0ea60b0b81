"""The life of one session or batch, without clock or storage."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from .model import iso

OPEN, ACTIVE, INACTIVE, CLOSED = "open", "active", "inactive", "closed"
DEDICATED, BATCH = "dedicated", "batch"


@dataclass
class Session:
    """A session (mode ``dedicated``) or a batch. Times are virtual epoch seconds.

    It is ``open`` until its first job starts, then ``active``: its jobs skip the queue, and a
    dedicated one has the machine for itself. Idle for ``interactive_ttl`` it becomes ``inactive``
    and its next job waits in the queue again. ``max_ttl`` after the first activation it is closed.

    Attributes:
        activated: When its first job started.
        last_end: When its latest job so far ended.
        periods: ``[from, to]`` of each time it was active; ``to`` is None while it is.
        timestamps: ``[state, moment]`` of each change.
    """

    id: str
    instance: str
    backend: str
    mode: str
    max_ttl: float
    interactive_ttl: float
    opened: float
    accepting: bool = True
    state: str = OPEN
    activated: float | None = None
    closed: float | None = None
    last_start: float | None = None
    last_end: float | None = None
    periods: list[list[float | None]] = field(default_factory=list)
    timestamps: list[list[Any]] = field(default_factory=list)

    @classmethod
    def load(cls, document: dict[str, Any]) -> Session:
        """Return the session that :meth:`dump` wrote, also one of the first release.

        Those did not keep when they were activated: they count as not begun.
        """
        ended = document.get("closed") is not None
        first = {"interactive_ttl": 60.0, "state": CLOSED if ended else OPEN}
        return cls(**{**first, **document})

    def dump(self) -> dict[str, Any]:
        """Return the session as a JSON document."""
        return asdict(self)

    @property
    def deadline(self) -> float:
        """When it is closed at the latest; infinite before its first job has started."""
        return math.inf if self.activated is None else self.activated + self.max_ttl

    @property
    def reserves(self) -> bool:
        """Whether the machine is its own now."""
        return self.mode == DEDICATED and self.state == ACTIVE

    def job_started(self, moment: float) -> None:
        """A job of it starts, which activates it."""
        if self.state in (OPEN, INACTIVE):
            self._become(ACTIVE, moment)
            self.activated = moment if self.activated is None else self.activated
            self.periods.append([moment, None])
        self.last_start = moment

    def job_ended(self, moment: float) -> None:
        """A job of it that ran has ended; usage goes on until then even when it is closed."""
        self.last_end = max(moment, self.last_end or moment)
        if self.state == CLOSED and self.periods:
            last = self.periods[-1]
            last[1] = max(moment, last[1] or moment)

    def idle_until(self, running_until: float) -> float:
        """Return when an active session without waiting jobs gives the machine back.

        Args:
            running_until: When its running jobs end; minus infinity without any.
        """
        last = max(self.last_end or -math.inf, running_until)
        return last + (self.interactive_ttl if self.accepting else 0.0)

    def lapse(self, moment: float) -> None:
        """Give the machine back: for good when no more jobs are accepted."""
        if not self.accepting:
            self.close(moment)
            return
        self._become(INACTIVE, moment)
        self.periods[-1][1] = moment

    def close(self, moment: float) -> None:
        """End it."""
        if self.state == CLOSED:
            return
        if self.state == ACTIVE:
            self.periods[-1][1] = moment
        self.accepting, self.closed = False, moment
        self._become(CLOSED, moment)

    def used(self, now: float) -> float:
        """Return the seconds of wall clock during which it was active, up to ``now``."""
        total = sum((now if to is None else to) - (begin or 0.0) for begin, to in self.periods)
        # Differences of epoch seconds are no more exact than this.
        return round(total, 5)

    def view(self, now: float, charged: int) -> dict[str, Any]:
        """Return it as the API shows it.

        Args:
            charged: Quantum seconds of its jobs so far, which is what a batch is charged.
        """
        return {
            "id": self.id,
            "backend_name": self.backend,
            "mode": self.mode,
            "interactive_ttl": self.interactive_ttl,
            "max_ttl": self.max_ttl,
            "active_ttl": max(0.0, self.max_ttl - self.used(now)),
            "state": self.state,
            "accepting_jobs": self.accepting,
            "started_at": iso(self.opened),
            "activated_at": iso(self.activated),
            "closed_at": iso(self.closed),
            "last_job_started": iso(self.last_start),
            "last_job_completed": iso(self.last_end),
            "elapsed_time": self.charge(now, charged),
            "timestamps": [
                {"status": state, "timestamp": iso(moment)} for state, moment in self.timestamps
            ],
        }

    def charge(self, now: float, charged: int) -> float:
        """Return the seconds it has cost up to ``now``; ``charged`` as in :meth:`view`."""
        return float(charged) if self.mode == BATCH else self.used(now)

    def _become(self, state: str, moment: float) -> None:
        self.state = state
        self.timestamps.append([state, moment])
