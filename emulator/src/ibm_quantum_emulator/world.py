"""Pure scheduling: who runs when. No clock, no storage."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from .maintenance import ALWAYS, Calendar

ROUNDING = 1e-5
"""Sums of epoch seconds near 2e9 are exact to a few 1e-7: closer moments than this are the same."""


def reached(moment: float, now: float) -> bool:
    """Whether ``moment`` has come at ``now``."""
    return moment <= now + ROUNDING


class QueueState(BaseModel):
    """The queue in front of one backend.

    Attributes:
        length: Jobs of other people that a job accepted now finds ahead of it.
        seconds_per_job: Virtual seconds the backend spends on each of those.
        slots: How many of this account's jobs run at the same time.
    """

    length: int = Field(0, ge=0)
    seconds_per_job: float = Field(60.0, ge=0)
    slots: int = Field(1, ge=1)


class QueuePatch(BaseModel):
    """A change of a queue; absent fields stay as they are.

    ``requeue`` decides what a new length means for jobs that already wait: absent, nobody gets
    more people ahead than the new length (so 0 drains the queue); ``true``, all of them get
    exactly the new length ahead; ``false``, they keep their place.
    """

    model_config = ConfigDict(extra="forbid")

    length: int | None = Field(None, ge=0)
    seconds_per_job: float | None = Field(None, ge=0)
    slots: int | None = Field(None, ge=1)
    requeue: bool | None = None


class Execution(BaseModel):
    """How long a job holds the machine: overhead + executions x seconds_per_shot."""

    model_config = ConfigDict(extra="forbid")

    overhead_seconds: float = Field(2.0, ge=0)
    seconds_per_shot: float = Field(0.00026, ge=0)

    def duration(self, executions: int) -> float:
        """Return virtual seconds for that many single shots."""
        return self.overhead_seconds + executions * self.seconds_per_shot


@dataclass(frozen=True)
class Waiting:
    """A queued job.

    Attributes:
        ahead: Other people's jobs ahead of it at the time ``ahead_at``; may be fractional.
        duration: Virtual seconds it will hold the machine.
        priority: Whether its session has got through the queue, so that it goes before all others.
    """

    id: str
    seq: int
    ahead: float
    ahead_at: float
    duration: float
    priority: bool = False

    def ready(self, seconds_per_job: float, calendar: Calendar = ALWAYS) -> float:
        """Return when those ahead of it are done."""
        if self.priority or not self.ahead:
            return self.ahead_at
        return calendar.after(self.ahead_at, self.ahead * seconds_per_job)


def ahead_now(
    waiting: Waiting, seconds_per_job: float, now: float, calendar: Calendar = ALWAYS
) -> float:
    """Return how many of other people's jobs are still ahead at ``now``."""
    if seconds_per_job <= 0:
        return 0.0
    done = calendar.open_between(waiting.ahead_at, now) / seconds_per_job
    return max(0.0, waiting.ahead - done)


def in_order(
    waiting: Iterable[Waiting], seconds_per_job: float, calendar: Calendar = ALWAYS
) -> list[tuple[float, Waiting]]:
    """Return ``(ready, job)`` of all waiting jobs in the order in which they start."""
    ready = [(job.ready(seconds_per_job, calendar), job) for job in waiting]
    return sorted(ready, key=lambda each: (not each[1].priority, each[0], each[1].seq))


def starts(
    waiting: Iterable[Waiting],
    running_until: Sequence[float],
    queue: QueueState,
    not_before: float,
    calendar: Calendar = ALWAYS,
) -> list[tuple[str, float]]:
    """Return ``(id, virtual start)`` of all waiting jobs, in order of start.

    Args:
        waiting: Queued jobs of one backend.
        running_until: When each running job frees its slot.
        queue: The backend's queue.
        not_before: No start may lie before this moment (what is decided is decided).
        calendar: When jobs are started; one under way is not interrupted.
    """
    free = [0.0] * max(0, queue.slots - len(running_until)) + list(running_until)
    # More jobs may run than there are slots now, after the slots were reduced.
    free = sorted(free)[len(free) - queue.slots :]
    heapq.heapify(free)
    plan = []
    for moment, job in in_order(waiting, queue.seconds_per_job, calendar):
        start = calendar.open_at(max(moment, heapq.heappop(free), not_before))
        heapq.heappush(free, start + job.duration)
        plan.append((job.id, start))
    return plan


def repositioned(
    waiting: Waiting,
    old: QueueState,
    new: QueueState,
    requeue: bool | None,
    now: float,
    calendar: Calendar = ALWAYS,
) -> float:
    """Return how many jobs are ahead of a waiting one after its queue changed at ``now``."""
    left = ahead_now(waiting, old.seconds_per_job, now, calendar)
    if requeue is True:
        return float(new.length)
    if requeue is None and new.length != old.length:
        return min(left, float(new.length))
    return left


def charge(seconds: float) -> int:
    """Return the quantum seconds charged for that much machine time (rounded up)."""
    return max(0, math.ceil(round(seconds, 6)))
