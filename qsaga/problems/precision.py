"""How far apart a model's coefficients are, and who cannot hold that."""

from __future__ import annotations

from dataclasses import dataclass

import dimod

from qsaga.problems.base import number

FLOATS = 2.0**53
"""Beyond this ratio the smallest coefficient is lost when it is added to the largest: a double
has a significand of 53 bits (IEEE 754-2019, table 3.5).
"""

HARDWARE = 100.0
"""Beyond this ratio the smallest coefficient is below the error of the largest on an analogue
machine. D-Wave's documents ("Error Sources for Problem Representation") give the example of a
bias of 1 that is realised as 1.01, and their users count on 4 to 5 bits. A rotation of a gate
machine carries a calibration error of the same order.
"""


@dataclass(frozen=True)
class Spread:
    """The largest and smallest of a model's biases that are not 0, by magnitude."""

    largest: float
    smallest: float

    @property
    def ratio(self) -> float:
        """Largest to smallest; 1 for a model without coefficients."""
        return self.largest / self.smallest if self.smallest else 1.0

    def warnings(self) -> tuple[str, ...]:
        """What the ratio means for floating point and for hardware; empty if nothing."""
        span = f"the coefficients span {number(self.smallest)} to {number(self.largest)}"
        told = f"{span}, a ratio of {self.ratio:.3g}"
        found = []
        if self.ratio > HARDWARE:
            found.append(f"{told}: hardware resolves about {HARDWARE:g}")
        if self.ratio > FLOATS:
            found.append(f"{told}: floating point holds {FLOATS:.2g}")
        return tuple(found)


def spread(model: dimod.BinaryQuadraticModel) -> Spread:
    """The spread of a model's linear and quadratic biases, as they stand in it."""
    values = [abs(bias) for bias in (*model.linear.values(), *model.quadratic.values()) if bias]
    return Spread(max(values, default=0.0), min(values, default=0.0))
