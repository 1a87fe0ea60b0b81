"""How far counts are from a distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping

from qsaga.core.results import Distance

AGAINST = "state vector, without noise"


def distance(
    counts: Mapping[str, Mapping[str, int]], ideal: Mapping[str, Mapping[str, float]]
) -> Distance | None:
    """That of the register where it is most; None if there is nothing to compare.

    Args:
        counts: of each register, outcomes and shots.
        ideal: of each register, outcomes and probabilities, which sum to 1.
    """
    found = [
        _of(name, measured, ideal[name])
        for name, measured in counts.items()
        if name in ideal and sum(measured.values()) > 0
    ]
    return max(found, key=lambda one: one.total_variation, default=None)


def _of(creg: str, measured: Mapping[str, int], ideal: Mapping[str, float]) -> Distance:
    shots = sum(measured.values())
    shares = {bits: count / shots for bits, count in measured.items()}
    pairs = [(shares.get(bits, 0.0), ideal.get(bits, 0.0)) for bits in {*shares, *ideal}]
    overlap = math.fsum(math.sqrt(p * q) for p, q in pairs)
    return Distance(
        creg=creg,
        hellinger=round(math.sqrt(max(0.0, 1.0 - overlap)), 6),
        total_variation=round(min(1.0, math.fsum(abs(p - q) for p, q in pairs) / 2), 6),
        chance=round(chance(ideal, shots), 6),
        against=AGAINST,
    )


def chance(ideal: Mapping[str, float], shots: int) -> float:
    """Mean total variation of ``shots`` draws from a distribution.

    Half the sum of the mean absolute deviations of binomial counts, by De Moivre's formula
    (Diaconis and Zabell 1991, Statistical Science 6(3), equation 1.1).
    """
    return math.fsum(_mean_deviation(q, shots) for q in ideal.values() if 0 < q < 1) / 2 / shots


def _mean_deviation(q: float, shots: int) -> float:
    k = math.floor(shots * q) + 1
    if k > shots:  # q is 1 but for rounding
        return 0.0
    ways = math.lgamma(shots + 1) - math.lgamma(k + 1) - math.lgamma(shots - k + 1)
    return 2 * k * math.exp(ways + k * math.log(q) + (shots - k + 1) * math.log1p(-q))
