"""Sums without rounding errors, and what those that are computed in floating point are off by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

UNIT = 2.0**-52
"""Twice what one operation may be off by, as a share of its result (IEEE 754-2019)."""

LARGEST = 2**53
"""Whole numbers up to here are doubles."""


@dataclass(frozen=True)
class Sums:
    """What is known of the objectives of an input, as they are computed.

    Args:
        step: all objectives are multiples of it; 0 if no such number is known.
        off: what an objective and the problem's own bound, as computed, may be off by together.
        share: of the objective that it may be off by instead, where that is less.
    """

    step: float = 0.0
    off: float = 0.0
    share: float = math.inf

    def of(self, value: float) -> float:
        """What an objective that came to ``value`` and the bound may be off by together."""
        small = abs(value) <= LARGEST * self.step and self.share < math.inf
        return 0.0 if small or not self.off else min(self.off, self.share * abs(value))

    def above(self, bound: float) -> float:
        """The largest objective that is not above a bound, where that is known; else the bound."""
        steps = bound / self.step if self.step else math.inf
        return math.floor(steps) * self.step if math.isfinite(steps) else bound

    def below(self, bound: float) -> float:
        """The smallest objective that is not below a bound, where that is known; else the bound."""
        return -self.above(-bound)


WHOLE = Sums(step=1.0)
"""Of objectives that are counted."""


def sums_of(
    terms: Iterable[float], *, one_sign: bool = False, most: int = 0, operations: int = 0
) -> Sums:
    """Of objectives that add up some of the terms, each once; see Higham 2002, ch. 4.

    Exact where all terms are multiples of one power of two and no sum of them needs more than the
    53 bits of a double.

    Args:
        terms: finite.
        one_sign: no term ever counts against another, so that no sum on the way is larger than
            the last.
        most: so many terms are added up at most; all if left out.
        operations: that a term goes through at most, where they are rounded before they are added
            up; else as many as are added.
    """
    sizes = [abs(float(term)) for term in terms]
    total = sum(sizes)
    if not math.isfinite(total):
        return Sums(off=math.inf)
    parts, scale = whole_numbers(sizes)
    step = 0.0 if operations else 1 / scale
    if step and sum(parts) <= LARGEST:
        return Sums(step=step)
    rounding = (operations or most or len(sizes)) * UNIT
    return Sums(step, rounding * total, rounding if one_sign else math.inf)


def whole_numbers(values: Sequence[float]) -> tuple[list[int], int]:
    """Finite values times the least power of two that makes whole numbers of them, and that."""
    pairs = [float(value).as_integer_ratio() for value in values]
    scale = max((below for _, below in pairs), default=1)
    return [above * (scale // below) for above, below in pairs], scale


def rounded_down(value: Fraction) -> float:
    """The largest double that is not above ``value``."""
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)


def rounded_up(value: Fraction) -> float:
    """The smallest double that is not below ``value``."""
    return -rounded_down(-value)
