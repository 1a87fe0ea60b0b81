"""Greedy improvement of samples, one flip at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dimod
import numpy as np
import numpy.typing as npt

from qsaga.problems.base import Bits, Floats
from qsaga.problems.exact import UNIT, sums_of

Places = npt.NDArray[np.intp]

Polisher = Callable[[dimod.BinaryQuadraticModel, Bits], Bits]
"""Takes a model and samples (samples, variables), returns samples of no higher energy."""


def descend(model: dimod.BinaryQuadraticModel, bits: Bits) -> Bits:
    """Steepest descent: flip the variable that lowers the energy most, until none does.

    numpy only; a compiled descent of the same kind is some ten times faster. Nothing to gain is
    left where sums of biases are exact, and else no more than a variable's own terms are rounded
    by.

    Args:
        model: to minimise.
        bits: 0/1, shape (samples, variables), columns in the model's order.
    """
    ising = model.change_vartype(dimod.SPIN, inplace=False)
    vectors: Any = ising.to_numpy_vectors(list(model.variables))
    fields, (heads, tails, biases), _ = vectors
    count = len(fields)
    ends = np.concatenate([heads, tails])
    order = np.argsort(ends, kind="stable")
    others = np.concatenate([tails, heads])[order]
    weights = np.concatenate([biases, biases])[order]
    ends = ends[order]
    starts = np.searchsorted(ends, np.arange(count + 1))
    exact = not sums_of([*fields.tolist(), *biases.tolist()]).off
    # Rounding must not make two flips undo each other for ever.
    own = np.abs(fields) + np.bincount(ends, weights=np.abs(weights), minlength=count)
    least = np.zeros(count) if exact else 4 * (count + 2) * UNIT * own
    polished = 2 * bits.astype(np.float64) - 1
    for spins in polished:
        flips = 0
        gains = _gains(spins, fields, ends, others, weights)
        while count and gains[best := int(np.argmax(gains - least))] > least[best]:
            around = slice(starts[best], starts[best + 1])
            near = others[around]
            # The energy of a pair changes by twice its bias when one of its ends flips.
            gains[near] -= 4 * spins[best] * spins[near] * weights[around]
            gains[best] = -gains[best]
            spins[best] = -spins[best]
            flips += 1
            if not exact and flips % count == 0:
                # Each flip added to the rounding errors of its neighbours.
                gains = _gains(spins, fields, ends, others, weights)
    return np.asarray((polished + 1) / 2, dtype=np.int8)


def energies(model: dimod.BinaryQuadraticModel, bits: Bits) -> Floats:
    """Energy of each sample. Columns are in the model's order; shape (samples,)."""
    values = bits if model.vartype is dimod.BINARY else 2 * bits - 1
    found = model.energies((values, list(model.variables)))
    return np.atleast_1d(np.asarray(found, dtype=np.float64))


def _gains(spins: Floats, fields: Floats, ends: Places, others: Places, weights: Floats) -> Floats:
    """What flipping each spin takes off the energy."""
    pull = np.bincount(ends, weights=weights * spins[others], minlength=len(fields))
    return np.asarray(2 * spins * (fields + pull), dtype=np.float64)
