"""What models share that put each of n things in one of n places: a square of 0/1 variables.

The variable of thing i and place k has index ``i * n + k``.

Every row and every column of the square must hold exactly one 1. The model punishes each by
``weight * (1 - sum)**2``. How large the weight must be, if the costs C are not negative:

* Let a row hold r >= 2 ones. Taking one of them out lowers the penalty of the row by (2r - 3)
  weights, raises that of its column by one weight at most, and raises no cost. So nothing is
  lost until all rows and columns hold one 1 at most.
* If then a row and, with it, a column is empty, putting a 1 where they cross lowers the penalty
  by two weights and raises the costs by what that thing costs in that place beside the others.

So a weight above half of the most that one more thing can cost makes every sample that is no
assignment worse than some assignment. ``MARGIN`` times that half is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt

from qsaga.problems.base import Bits, Bools, Floats

Places = npt.NDArray[np.intp]

MARGIN = 1.25
"""Of the penalty over the least that is enough; much more makes the landscape harder to search."""

EXACT_BITS = 44
"""Of whole costs whose sums, of up to 128 of them and more, fit the 53 bits of a double."""

Chosen = tuple[tuple[int, ...], ...]
"""For each thing the places that a sample puts it in."""


def penalty(dearest: float) -> float:
    """The weight of a row or column, where one more thing costs ``dearest`` at most."""
    return MARGIN * dearest / 2 if dearest > 0 else 1.0


def conflicts(size: int) -> tuple[Places, Places]:
    """The pairs of variables in one row or one column; ``size**2 * (size - 1)`` of them."""
    every = np.arange(size)
    low, high = np.triu_indices(size, 1)
    heads = [(every[:, None] * size + low).ravel(), (low[:, None] * size + every).ravel()]
    tails = [(every[:, None] * size + high).ravel(), (high[:, None] * size + every).ravel()]
    return np.concatenate(heads), np.concatenate(tails)


def square_model(
    names: Sequence[str],
    weight: float,
    costs: Floats,
    pairs: tuple[Places, Places, Floats],
) -> dimod.BinaryQuadraticModel:
    """The model of costs and penalties.

    Args:
        names: of the n * n variables.
        weight: of the penalties.
        costs: of each variable alone, shape (n, n).
        pairs: indices and cost of each pair of variables that has one.
    """
    size = len(costs)
    heads, tails = conflicts(size)
    biases = np.concatenate([np.full(len(heads), 2.0 * weight), pairs[2]])
    model: dimod.BinaryQuadraticModel = dimod.BinaryQuadraticModel.from_numpy_vectors(
        (costs - 2 * weight).ravel(),
        (np.concatenate([heads, pairs[0]]), np.concatenate([tails, pairs[1]]), biases),
        2.0 * size * weight,
        dimod.BINARY,
        variable_order=list(names),
    )
    return model


def squares(bits: Bits, size: int) -> Floats:
    """Samples as squares. Shape (samples, things, places)."""
    return bits.reshape(len(bits), size, size).astype(np.float64)


def assigned(bits: Bits, size: int) -> Bools:
    """Whether each sample is an assignment. Shape (samples,)."""
    grid = bits.reshape(len(bits), size, size)
    rows, columns = grid.sum(axis=2) == 1, grid.sum(axis=1) == 1
    return np.asarray(rows.all(axis=1) & columns.all(axis=1), dtype=np.bool_)


def is_assignment(chosen: Chosen) -> bool:
    """Whether each thing is in one place and no two are in the same."""
    return all(len(places) == 1 for places in chosen) and len(set(chosen)) == len(chosen)


def least_assignment(costs: list[list[int]]) -> int:
    """What no sum of whole costs, one in each row and column, is below.

    Whatever is taken off the columns, the least that is left of each row must be paid beside it:
    the dual. So it holds whatever rounding does to what is taken off, and it is the least sum
    itself where the costs come to less than ``EXACT_BITS`` bits.
    """
    total = 0
    while True:
        bits = max(abs(cost) for row in costs for cost in row).bit_length()
        unit = 1 << max(0, bits - EXACT_BITS)
        prices = _prices(np.array([[cost / unit for cost in row] for row in costs]))
        columns = [int(Fraction(price) * unit) for price in prices.tolist()]
        left = [[c - price for c, price in zip(row, columns, strict=True)] for row in costs]
        total += sum(columns) + sum(map(min, left))
        if unit == 1:
            return total
        # Once more with what the rounding left over; what is dear need not be known that well.
        costs = [[min(cost - min(row), 1 << EXACT_BITS - 1) for cost in row] for row in left]


def _prices(costs: Floats) -> Floats:
    """What is taken off each column where the sum is least. Shape (n,).

    The shortest augmenting path method with potentials (Jonker and Volgenant 1987,
    doi:10.1007/BF02278710), O(n**3).
    """
    size = len(costs)
    rows, columns = np.zeros(size + 1), np.zeros(size + 1)
    owner, before = [size] * (size + 1), [size] * (size + 1)
    for row in range(size):
        owner[size], column = row, size
        slack, done = np.full(size, np.inf), np.zeros(size + 1, dtype=np.bool_)
        while owner[column] != size:
            done[column] = True
            reduced = costs[owner[column]] - rows[owner[column]] - columns[:size]
            nearer = ~done[:size] & (reduced < slack)
            slack[nearer] = reduced[nearer]
            for place in np.flatnonzero(nearer).tolist():
                before[place] = column
            following = int(np.argmin(np.where(done[:size], np.inf, slack)))
            step = slack[following]
            for place in np.flatnonzero(done).tolist():
                rows[owner[place]] += step
                columns[place] -= step
            slack[~done[:size]] -= step
            column = following
        while column != size:
            owner[column] = owner[before[column]]
            column = before[column]
    return columns[:size]


def placed(chosen: Chosen) -> list[int | None]:
    """For each thing its first place that no thing before it has; None if there is none."""
    taken: set[int] = set()
    found: list[int | None] = []
    for places in chosen:
        place = next((one for one in places if one not in taken), None)
        if place is not None:
            taken.add(place)
        found.append(place)
    return found


def as_chosen(places: Iterable[Any]) -> Chosen:
    """An assignment in the form that samples are decoded to."""
    return tuple((int(place),) for place in places)
