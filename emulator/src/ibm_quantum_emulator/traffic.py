"""Other people's jobs. What arrives is a pure function of seed and hour, so nothing of it is kept.

Every hour of the virtual calendar has its own random stream: any hour can be drawn at any time, in
any order and after a restart, and is always the same.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from .maintenance import Calendar

HOUR = 3600.0
_KEPT_HOURS = 20_000
_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Service(BaseModel):
    """How long one job holds the machine.

    Attributes:
        mean_seconds: Mean before the cut.
        most_seconds: Longer ones are cut to this.
    """

    model_config = _STRICT

    mean_seconds: float = Field(gt=0)
    most_seconds: float = Field(10_800.0, gt=0)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return so many virtual seconds."""
        seconds: np.ndarray[Any, Any] = np.minimum(self._draw(rng, count), self.most_seconds)
        return seconds

    def _draw(self, rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        raise NotImplementedError


class Constant(_Service):
    """Every job takes the same time."""

    kind: Literal["constant"]

    def _draw(self, rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return np.full(count, self.mean_seconds)


class Exponential(_Service):
    """Memoryless."""

    kind: Literal["exponential"]

    def _draw(self, rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return rng.exponential(self.mean_seconds, count)


class Lognormal(_Service):
    """Skewed; ``sigma`` is the standard deviation of the logarithm."""

    kind: Literal["lognormal"]
    sigma: float = Field(1.0, ge=0, le=5)

    def _draw(self, rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return rng.lognormal(math.log(self.mean_seconds) - self.sigma**2 / 2, self.sigma, count)


class Pareto(_Service):
    """Heavy-tailed; ``shape`` is the tail exponent."""

    kind: Literal["pareto"]
    shape: float = Field(2.5, gt=1)

    def _draw(self, rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        least = self.mean_seconds * (self.shape - 1) / self.shape
        return (rng.pareto(self.shape, count) + 1) * least


Service = Annotated[Constant | Exponential | Lognormal | Pareto, Field(discriminator="kind")]


class Traffic(BaseModel):
    """Arrivals and service of other people's jobs on one backend.

    Attributes:
        jobs_per_hour: Poisson arrivals at this rate.
        by_hour: Instead: Poisson arrivals with a rate for each hour of the day, UTC.
        every_seconds: Instead: an arrival after every so many seconds.
        initial: Jobs in the queue when the traffic begins.
    """

    model_config = _STRICT

    jobs_per_hour: float | None = Field(None, ge=0, le=100_000)
    by_hour: list[Annotated[float, Field(ge=0, le=100_000)]] | None = Field(
        None, min_length=24, max_length=24
    )
    every_seconds: float | None = Field(None, ge=0.01)
    initial: int = Field(0, ge=0, le=1_000_000)
    service: Service

    @model_validator(mode="after")
    def _one_process(self) -> Traffic:
        given = (self.jobs_per_hour, self.by_hour, self.every_seconds)
        if sum(each is not None for each in given) != 1:
            raise ValueError(
                "exactly one of 'jobs_per_hour', 'by_hour' and 'every_seconds' is expected"
            )
        return self


class Era(BaseModel):
    """A time during which the same traffic arrives, ``[since, until)``."""

    seed: str
    since: float
    until: float | None = None
    traffic: Traffic

    def hour(self, number: int) -> tuple[list[float], list[float]]:
        """Return the arrivals in one hour since the epoch and how long each will hold the machine.

        Those outside the era are drawn too and left out, so the hour does not depend on them.
        """
        digest = hashlib.sha256(f"{self.seed}/{number}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
        times = self._times(rng, number)
        seconds = self.traffic.service.draw(rng, len(times))
        until = math.inf if self.until is None else self.until
        inside = (times > self.since) & (times < until)
        arrivals, holds = times[inside].tolist(), seconds[inside].tolist()
        if number == math.floor(self.since / HOUR) and self.traffic.initial:
            first = self.traffic.service.draw(rng, self.traffic.initial).tolist()
            return [self.since] * len(first) + arrivals, first + holds
        return arrivals, holds

    def _times(self, rng: np.random.Generator, number: int) -> np.ndarray[Any, Any]:
        begin = number * HOUR
        traffic = self.traffic
        if traffic.every_seconds is not None:
            step = traffic.every_seconds
            first = max(1, math.ceil((begin - self.since) / step))
            last = math.ceil((begin + HOUR - self.since) / step)
            return self.since + np.arange(first, max(first, last)) * step
        rate = traffic.by_hour[number % 24] if traffic.by_hour else traffic.jobs_per_hour or 0.0
        return np.sort(begin + rng.random(rng.poisson(rate)) * HOUR)


@dataclass(frozen=True)
class Head:
    """Where the line stands: everything before the cursor has been started.

    Attributes:
        hour, index: Cursor: the next of other people's jobs to start.
        free: When the machine is done with all that has been started or has ended.
    """

    hour: int
    index: int = 0
    free: float = 0.0

    def busy_until(self, moment: float) -> Head:
        """Return the same with the machine busy at least until ``moment``."""
        return self if moment <= self.free else replace(self, free=moment)


_ERAS = TypeAdapter(list[Era])


class Stream:
    """Other people's jobs of one backend over all eras.

    Args:
        eras: In order of time.
    """

    def __init__(self, eras: Sequence[Era]) -> None:
        self.eras = list(eras)
        self._hours: dict[int, tuple[list[float], list[float]]] = {}

    @classmethod
    def load(cls, document: Any) -> Stream:
        """Return the stream that :meth:`dump` wrote."""
        return cls(_ERAS.validate_python(document))

    def dump(self) -> list[dict[str, Any]]:
        """Return the eras as a JSON document."""
        return [era.model_dump(mode="json", exclude_none=True) for era in self.eras]

    @property
    def mean_seconds(self) -> float:
        """Mean time of a job under the latest traffic: what a scheduler would expect."""
        return self.eras[-1].traffic.service.mean_seconds if self.eras else 0.0

    @property
    def running(self) -> bool:
        """Whether jobs go on arriving."""
        return bool(self.eras) and self.eras[-1].until is None

    def changed(self, now: float, hour: int, seed: str, traffic: Traffic | None) -> Stream:
        """Return the stream with new traffic (or none) from ``now`` on.

        Args:
            hour: The line's cursor; eras that ended before it are dropped, and what began at this
                very moment is replaced.
        """
        eras = [
            era if era.until is not None else era.model_copy(update={"until": now})
            for era in self.eras
            if era.since < now
        ]
        eras = [era for era in eras if era.until is None or era.until >= hour * HOUR]
        if traffic is not None:
            eras.append(Era(seed=f"{seed}/{math.floor(now)}", since=now, traffic=traffic))
        return Stream(eras)

    def served(
        self, head: Head, calendar: Calendar, *, arrived_by: float, started_by: float
    ) -> Head:
        """Return the line after jobs that arrived and would start by these moments were started.

        One machine, first come first served. The moments are inclusive.
        """
        if not self.eras:
            return head
        hour, index, free = head.hour, head.index, head.free
        closes = -math.inf
        last = self._last_hour(min(arrived_by, started_by))
        while hour <= last:
            arrivals, holds = self._hour(hour)
            for position in range(index, len(arrivals)):
                arrival = arrivals[position]
                start = max(free, arrival)
                if start >= closes:
                    start = calendar.open_at(start)
                    closes = calendar.closes_after(start)
                if arrival > arrived_by or start > started_by:
                    return Head(hour, position, free)
                free = start + holds[position]
            if hour == last:
                # Later traffic may add to this hour.
                return Head(hour, len(arrivals), free)
            hour, index = hour + 1, 0
        return head

    def waiting(self, head: Head, now: float) -> int:
        """Return how many have arrived by ``now`` and are not started at the cursor."""
        if not self.eras:
            return 0
        total = -head.index
        for hour in range(head.hour, self._last_hour(now) + 1):
            total += bisect_right(self._hour(hour)[0], now)
        return max(0, total)

    def index_before(self, hour: int, moment: float) -> int:
        """Return how many of an hour's jobs arrive before a moment."""
        return bisect_left(self._hour(hour)[0], moment)

    def _last_hour(self, moment: float) -> int:
        until = self.eras[-1].until
        return math.floor(min(moment, math.inf if until is None else until) / HOUR)

    def _hour(self, number: int) -> tuple[list[float], list[float]]:
        found = self._hours.get(number)
        if found is None:
            if len(self._hours) >= _KEPT_HOURS:
                self._hours.clear()
            found = self._drawn(number)
            self._hours[number] = found
        return found

    def _drawn(self, number: int) -> tuple[list[float], list[float]]:
        begin = number * HOUR
        parts = [
            era.hour(number)
            for era in self.eras
            if era.since < begin + HOUR and (era.until is None or era.until >= begin)
        ]
        arrivals = [moment for part in parts for moment in part[0]]
        holds = [seconds for part in parts for seconds in part[1]]
        return arrivals, holds
