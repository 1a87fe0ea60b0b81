"""Search and bound for portfolios of units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from qsaga.problems.base import Floats
from qsaga.problems.exact import UNIT

ROUNDS = 500
"""Of the descent to the bound."""


@dataclass(frozen=True)
class Market:
    """What a portfolio is chosen from, and how.

    Args:
        expected: return of each asset.
        covariance: of the returns.
        aversion: risk aversion, 0 to 1.
        choose: exactly so many assets.
        units: the money in equal parts.
        most: units of one asset at most.
    """

    expected: Floats
    covariance: Floats
    aversion: float
    choose: int
    units: int
    most: int

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Units that the binary variables beyond the first stand for; they add up to most - 1."""
        left = self.most - 1
        found: list[int] = []
        while left > 0:
            found.append(min(2 ** len(found), left))
            left -= found[-1]
        return tuple(found)

    @cached_property
    def risk(self) -> Floats:
        """The objective's part of each two units."""
        found: Floats = self.aversion * self.covariance / self.units**2
        return found

    @cached_property
    def gain(self) -> Floats:
        """The objective's part of each unit."""
        found: Floats = (self.aversion - 1) * self.expected / self.units
        return found

    def outlook(self, units: Sequence[int]) -> tuple[float, float]:
        """Expected return and standard deviation."""
        variance = _quadratic(self.covariance, units)
        expected = math.fsum((self.expected * np.asarray(units)).tolist()) / self.units
        return expected, math.sqrt(max(variance, 0.0)) / self.units

    def worth(self, units: Sequence[float]) -> float:
        """The objective. Sums are exact, so that it is the same however it is come by."""
        gained = math.fsum((self.gain * np.asarray(units)).tolist())
        return _quadratic(self.risk, units) + gained


def _quadratic(table: Floats, units: Sequence[float]) -> float:
    all_of = np.asarray(units, dtype=np.float64)
    held = np.flatnonzero(all_of)
    parts = table[np.ix_(held, held)] * np.outer(all_of[held], all_of[held])
    return math.fsum(parts.ravel().tolist())


def repaired(on: Market, units: Sequence[int]) -> list[int]:
    """As many assets, then as many units as there must be, the best change first."""
    found = np.minimum(np.array(units, dtype=np.float64), on.most)
    risk, gain = on.risk, on.gain
    while (held := int(np.count_nonzero(found))) != on.choose:
        pull = gain + 2 * risk @ found
        if held < on.choose:
            more = np.where(found == 0, pull + np.diag(risk), np.inf)
            found[int(np.argmin(more))] = 1
        else:
            without = np.diag(risk) * found**2 - pull * found
            found[int(np.argmin(np.where(found > 0, without, np.inf)))] = 0
    while (total := int(found.sum())) != on.units:
        pull = gain + 2 * risk @ found
        if total < on.units:
            open_ = (found > 0) & (found < on.most)
            found[int(np.argmin(np.where(open_, pull + np.diag(risk), np.inf)))] += 1
        else:
            found[int(np.argmin(np.where(found > 1, np.diag(risk) - pull, np.inf)))] -= 1
    return [int(count) for count in found]


def improved(on: Market, units: Sequence[int]) -> list[int]:
    """A portfolio that no exchange of an asset and no shift of a unit improves."""
    found = np.array(units, dtype=np.float64)
    risk, gain = on.risk, on.gain
    while True:
        pull = gain + 2 * risk @ found
        # What a change may be off by as it is computed, so that the search ends.
        sizes = np.abs(gain) + 2 * np.abs(risk) @ found + 2 * np.diag(risk)
        least = 4 * (len(found) + 4) * UNIT * (sizes[None, :] + sizes[:, None])
        all_of, one = found[:, None], np.ones((len(found), 1))
        free, open_ = found[None, :] == 0, (found[None, :] > 0) & (found[None, :] < on.most)
        best = (0.0, 0, 0, 0.0)
        for amount, allowed in (
            (all_of, (all_of > 0) & free),
            (one, (all_of > 1) & open_ & ~np.eye(len(found), dtype=np.bool_)),
        ):
            # From the asset of the row to the asset of the column.
            change = amount * (pull[None, :] - pull[:, None]) + amount**2 * (
                np.diag(risk)[:, None] + np.diag(risk)[None, :] - 2 * risk
            )
            change = np.where(allowed & (change < -least * amount**2), change, np.inf)
            row, column = divmod(int(np.argmin(change)), len(found))
            best = min(best, (float(change[row, column]), row, column, float(amount[row, 0])))
        _, row, column, moved = best
        if not moved:
            return [int(count) for count in found]
        found[row] -= moved
        found[column] += moved


def lower_bound(on: Market) -> float:
    """What no portfolio is worth less than, of at most ``most`` units of each asset.

    The method of Frank and Wolfe (1956, doi:10.1002/nav.3800030109) on any parts of units: the
    objective is convex, so each of its tangents bounds it from below. What it lacks of that, as
    tables whose digits were cut off may, is taken off.
    """
    off = _rounding(on) + _concave(on)
    limit = np.full(len(on.expected), float(on.most))
    at = _cheapest(on.gain, limit, on.units)
    best = -math.inf
    for _ in range(ROUNDS):
        slope = on.gain + 2 * on.risk @ at
        towards = _cheapest(slope, limit, on.units) - at
        if not towards.any() and np.count_nonzero(at) == on.choose and _is_best(on, at):
            # The best of all is whole units of the right number of assets: the very number that
            # its objective is, for only what is equal to a bound is proven.
            return on.worth([round(count) for count in at]) - _concave(on)
        worth = float(at @ on.risk @ at + on.gain @ at)
        best = max(best, worth + float(slope @ towards))
        curve = float(towards @ on.risk @ towards)
        drop = -float(slope @ towards)
        if drop <= 1e-12 * max(abs(worth), 1e-300):
            break
        at = at + towards * (min(1.0, drop / (2 * curve)) if curve > 0 else 1.0)
    # The same on every machine: their last digits differ. Cutting them never lifts it that far.
    return float(f"{best - 2 * off - 1e-8 * abs(best):.9g}")


def _is_best(on: Market, at: Floats) -> bool:
    """Whether no tangent at whole units falls anywhere, without rounding."""
    held = [(int(place), Fraction(at[place])) for place in np.flatnonzero(at)]
    slopes = [
        Fraction(gain) + 2 * sum(Fraction(row[place]) * count for place, count in held)
        for gain, row in zip(on.gain, on.risk, strict=True)
    ]
    dearest = max(slopes[place] for place, _ in held)
    return all(slope >= dearest for slope, count in zip(slopes, at, strict=True) if count < on.most)


def _rounding(on: Market) -> float:
    """What a tangent of the objective is off by at most as it is computed.

    A tangent is a few products of a table and a vector; that a table is convex is known from its
    eigenvalues, which are off by the size of the table times a rounding error.
    """
    size = len(on.expected)
    largest = float(np.max(np.abs(on.gain))) * on.units
    largest += float(np.max(np.abs(on.risk))) * on.units**2
    return (4 * size**2 + 6 * size + 20) * UNIT * largest


def _concave(on: Market) -> float:
    """How far below its tangents the objective may be."""
    lowest = float(np.linalg.eigvalsh(on.risk)[0])
    known = len(on.expected) ** 2 * UNIT * float(np.max(np.abs(on.risk)))
    # No two portfolios are farther apart than that, squared.
    return -lowest * 2 * on.units * on.most if lowest < -known else 0.0


def _cheapest(costs: Floats, limit: Floats, units: int) -> Floats:
    """Units where they cost least."""
    found, left = np.zeros(len(costs)), float(units)
    for place in np.argsort(costs, kind="stable"):
        found[place] = min(left, limit[place])
        left -= found[place]
    return found


def frontier_point(on: Market, aversion: float) -> tuple[float, float]:
    """Standard deviation and expected return of a good portfolio for another risk aversion."""
    other = replace(on, aversion=aversion)
    units = improved(other, repaired(other, [0] * len(on.expected)))
    expected, deviation = on.outlook(units)
    return deviation, expected
