"""When a backend runs jobs and when it does not. Pure arithmetic of virtual time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from .moments import Timed

_MOST_STEPS = 100_000


class Maintenance(Timed):
    """A window of a world document in which no job is started.

    Attributes:
        hours: Length in virtual hours.
        every_hours: Repeated after so many hours, for ever.
        weekly: The same as ``every_hours = 168``.
    """

    hours: float = Field(gt=0)
    every_hours: float | None = Field(None, gt=0)
    weekly: bool = False

    @model_validator(mode="after")
    def _leaves_time(self) -> Maintenance:
        if self.weekly and self.every_hours is not None:
            raise ValueError("at most one of 'weekly' and 'every_hours' is expected")
        period = self.period
        if period is not None and self.hours * 3600 >= period:
            raise ValueError("'hours' must be less than the time between two windows")
        return self

    @property
    def period(self) -> float | None:
        """Seconds from one window's beginning to the next one's."""
        if self.weekly:
            return 168 * 3600.0
        return None if self.every_hours is None else self.every_hours * 3600

    def closed(self, now: float) -> Closed:
        """Return the window on the absolute time axis."""
        return Closed(self.moment(now), self.hours * 3600, self.period)


Refusal = Literal["accept", "refuse"]
"""What happens to submissions while a backend does not run jobs."""


@dataclass(frozen=True)
class Closed:
    """A window ``[start, start + duration)``, repeated every ``period`` seconds if there is one."""

    start: float
    duration: float
    period: float | None = None

    def current(self, moment: float) -> float | None:
        """Return the end of the window in force at a moment, None outside."""
        begin = self._begin_at_or_before(moment)
        if begin is None or moment >= begin + self.duration:
            return None
        return begin + self.duration

    def upcoming(self, moment: float) -> float:
        """Return the next beginning after a moment."""
        begin = self._begin_at_or_before(moment)
        if begin is None:
            return self.start
        return math.inf if self.period is None else begin + self.period

    def _begin_at_or_before(self, moment: float) -> float | None:
        if moment < self.start:
            return None
        if self.period is None:
            return self.start
        return self.start + math.floor((moment - self.start) / self.period) * self.period


class Calendar:
    """The times at which a backend starts jobs.

    Args:
        windows: When it does not.
        paused: It does not at all, until further notice.
    """

    def __init__(self, windows: Sequence[Closed] = (), paused: bool = False) -> None:
        self._windows = tuple(windows)
        self.paused = paused

    def closed_until(self, moment: float) -> float | None:
        """Return when the window in force ends (infinite when paused), None when open."""
        if self.paused:
            return math.inf
        ends = [end for window in self._windows if (end := window.current(moment)) is not None]
        return max(ends, default=None)

    def open_at(self, moment: float) -> float:
        """Return the first moment from this one on at which jobs are started."""
        # Windows that overlap for ever leave none.
        for _ in range(_MOST_STEPS):
            end = None if moment == math.inf else self.closed_until(moment)
            if end is None:
                return moment
            moment = end
        return math.inf

    def closes_after(self, moment: float) -> float:
        """Return the next beginning of a window after an open moment, infinite without one."""
        if moment == math.inf:
            return math.inf
        return min((window.upcoming(moment) for window in self._windows), default=math.inf)

    def after(self, moment: float, work: float) -> float:
        """Return the moment at which so many open seconds have passed since ``moment``."""
        if work <= 0:
            return moment
        for _ in range(_MOST_STEPS):
            moment = self.open_at(moment)
            if moment == math.inf:
                break
            closes = self.closes_after(moment)
            if moment + work <= closes:
                return moment + work
            work -= closes - moment
            moment = closes
        return math.inf

    def open_between(self, begin: float, end: float) -> float:
        """Return how many of the seconds between two moments are open."""
        if not self._windows and not self.paused:
            return max(0.0, end - begin)
        total = 0.0
        while (begin := self.open_at(begin)) < end:
            closes = min(self.closes_after(begin), end)
            total += closes - begin
            begin = closes
        return total


ALWAYS = Calendar()
"""Open at all times."""
