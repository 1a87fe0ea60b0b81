"""How reads are cooled, and what they may cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

RESERVE = 0.02
"""Share of the time kept for putting the result together."""

MARGIN = 0.85
"""Share of the time left that a read is planned to take: the machine may slow down meanwhile."""

PIECE_SECONDS = 0.5
"""A read goes on in pieces of about this length: between two of them it can be stopped, or cooled
faster on a machine that slows down.
"""

PIECE_SWEEPS = 8192
"""The same where work is counted, not time."""


@dataclass(frozen=True)
class Cooling:
    """Inverse temperatures from ``first`` to ``last``, evenly or by equal factors."""

    first: float
    last: float
    shape: Literal["linear", "geometric"] = "linear"

    def betas(self, sweeps: int, begin: float = 0.0, end: float = 1.0) -> list[float]:
        """Inverse temperature of each sweep, for the part of the schedule between two shares.

        A single sweep is as cold as the part gets.
        """
        at = np.linspace(begin, end, sweeps) if sweeps > 1 else np.array([end])
        if self.shape == "geometric":
            found = self.first * (self.last / self.first) ** at
        else:
            found = self.first + (self.last - self.first) * at
        return [float(beta) for beta in found]


class Meter(Protocol):
    """What may be spent: seconds, or work counted in sweeps of the whole model."""

    total: float

    def left(self) -> float:
        """What a next read may take."""

    def mark(self) -> float:
        """The beginning of something that costs."""

    def since(self, mark: float, sweeps: float) -> float:
        """The cost of what began at ``mark`` and was as much work as so many sweeps."""

    def piece(self, rate: float) -> int:
        """Sweeps at a time, where one costs ``rate``."""


class Seconds:
    """Time from now on. Equal seeds give equal samples only on machines of equal speed."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.total = seconds
        self._clock = clock
        self._deadline = clock() + seconds * (1 - RESERVE)

    def left(self) -> float:
        """Less than there is, by the margin."""
        return MARGIN * (self._deadline - self._clock())

    def mark(self) -> float:
        """The time."""
        return self._clock()

    def since(self, mark: float, sweeps: float) -> float:
        """Seconds."""
        return max(self._clock() - mark, 1e-9)

    def piece(self, rate: float) -> int:
        """At least 16, for each piece builds the model anew."""
        return max(16, int(PIECE_SECONDS / rate))


class Sweeps:
    """Work, whatever time it takes: equal seeds give equal samples on every machine."""

    def __init__(self, sweeps: float) -> None:
        self.total = sweeps
        self._used = 0.0

    def left(self) -> float:
        """All that is not used."""
        return self.total - self._used

    def mark(self) -> float:
        """Nothing to note."""
        return math.nan

    def since(self, mark: float, sweeps: float) -> float:
        """The work itself, which is used up with it."""
        self._used += sweeps
        return max(sweeps, 1e-9)

    def piece(self, rate: float) -> int:
        """Always the same."""
        return PIECE_SWEEPS
